"""The exact sign-flip test against enumeration, the binomial distribution, known figures and its promise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.sign_flip import differences, mcnemar, sign_flip, smallest_p

SEEDED = st.integers(0, 2**32 - 1)


def enumerated(values):
    """All sign patterns, one by one: p, p_greater, p_less."""
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    observed = sum(values)
    tails = ([abs(t) >= abs(observed) for t in sums], [t >= observed for t in sums], [t <= observed for t in sums])
    return tuple(sum(tail) / len(sums) for tail in tails)


# ------------------------------------------------------------------------------------------------------- oracles


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), st.sampled_from([1, 2, 15]))
def test_whole_numbers_equal_the_enumeration(values, unit):
    values = [unit * value for value in values]
    ours = sign_flip(np.array(values, float))
    assert (ours.p, ours.p_greater, ours.p_less) == pytest.approx(enumerated(values), rel=1e-10)
    assert ours.method == "convolved"
    assert ours.clusters == sum(value != 0 for value in values)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("denominator", [8, 1 / 3])
def test_fractions_equal_the_enumeration(seed, denominator):
    """Ties included: sums of eighths are exact, those of sevenths are equal only but for rounding."""
    whole = np.random.default_rng(seed).integers(-20, 21, 14)
    ours = sign_flip(np.append(whole / denominator, 0.0))
    assert ours.method == ("enumerated" if denominator == 8 else "convolved")
    assert (ours.p, ours.p_greater, ours.p_less) == pytest.approx(enumerated(whole.tolist()), rel=1e-10)
    assert sign_flip(whole / 7).p == pytest.approx(ours.p, rel=1e-10)


def test_discordant_examples_equal_the_binomial_test():
    ours = sign_flip(np.repeat([1.0, -1.0, 0.0], [40, 22, 500]))
    assert ours.p == pytest.approx(0.030015864349, abs=1e-12)
    assert (ours.clusters, ours.statistic) == (62, 18.0)


@pytest.mark.parametrize(("better", "worse"), [(400, 150), (5000, 3000), (62, 0), (31, 31), (1, 0), (1, 2)])
def test_p_is_exact_however_small_it_is(better, worse):
    """400 against 150 is 3e-27, which a plain FFT returns as rounding noise."""
    ours = sign_flip(np.repeat([1.0, -1.0], [better, worse]))
    for name, alternative in (("p", "two-sided"), ("p_greater", "greater"), ("p_less", "less")):
        theirs = scipy_stats.binomtest(better, better + worse, 0.5, alternative=alternative).pvalue
        assert getattr(ours, name) == pytest.approx(theirs, rel=1e-9)


def test_large_sums_equal_the_convolution_done_directly():
    """A thousand clusters of up to fifteen languages and five seeds, without FFT or tilt."""
    rng = np.random.default_rng(1)
    values = rng.integers(-75, 76, 1000) + 5
    direct = np.ones(1)
    for value in np.abs(values):
        direct = (np.append(direct, np.zeros(value)) + np.append(np.zeros(value), direct)) / 2
    place = (np.abs(values).sum() + abs(values.sum())) // 2
    assert sign_flip(values.astype(float)).p == pytest.approx(2 * direct[place:].sum(), rel=1e-9)


def test_samples_agree_with_the_exact_test():
    """Values that are whole but for a trifle cannot be convolved; they are sampled."""
    rng = np.random.default_rng(2)
    whole = rng.integers(-3, 4, 300) + (rng.random(300) < 0.06)
    sampled, exact = sign_flip(whole * math.pi, samples=40_000), sign_flip(whole.astype(float))
    assert (sampled.method, exact.method) == ("sampled", "convolved")
    for name in ("p", "p_greater", "p_less"):
        p = getattr(exact, name)
        assert getattr(sampled, name) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 40_000))


def test_a_sampled_p_is_never_zero():
    ours = sign_flip(np.linspace(1, 2, 200), samples=999)
    assert ours.p == ours.smallest_p == 1 / 1000


def test_mcnemar_of_the_approval_ratings():
    """Agresti's table of 1600 voters [[794, 150], [86, 570]]."""
    ours = mcnemar(86, 150)
    assert ours.chi2 == pytest.approx(16.8178, abs=5e-5)
    assert ours.p_chi2 == pytest.approx(4.1146e-5, abs=5e-10)
    assert ours.p_uncorrected == pytest.approx(3.0993e-5, abs=5e-10)
    assert ours.p == pytest.approx(3.7159e-5, abs=5e-10)
    assert ours.odds_ratio == pytest.approx(86 / 150)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binary_case(better, worse):
    ours = mcnemar(better, worse)
    assert ours.p == pytest.approx(sign_flip(np.repeat([1.0, -1.0], [better, worse])).p, rel=1e-9)
    assert ours.mid_p <= ours.p
    assert ours.p == pytest.approx(mcnemar(worse, better).p)


def test_mcnemar_of_nothing():
    ours = mcnemar(0, 0)
    assert (ours.p, ours.mid_p) == (1.0, 1.0)
    assert math.isnan(ours.chi2) and math.isnan(ours.odds_ratio)
    assert mcnemar(3, 0).odds_ratio == math.inf


@pytest.mark.parametrize(
    ("runs", "floor"), [(1, 1.0), (3, 0.25), (4, 0.125), (5, 0.0625), (6, 0.03125), (10, 0.001953125)]
)
def test_smallest_p(runs, floor):
    assert smallest_p(runs) == floor
    assert sign_flip(np.arange(1.0, runs + 1)).p == pytest.approx(floor)


def test_nothing_differs():
    assert sign_flip(np.zeros(9)) == (0.0, 1.0, 1.0, 1.0, 1.0, 0, "convolved")


def test_what_is_no_number_is_refused():
    with pytest.raises(XstiltsError, match="finite"):
        sign_flip(np.array([1.0, np.nan]))


# --------------------------------------------------------------------------------------------------- differences


@settings(max_examples=30, deadline=None)
@given(SEEDED)
def test_exchanging_the_systems_changes_the_sign_of_every_cluster(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.integers(1, 9, (2, 2, 30)).astype(float)
    clusters = rng.integers(0, 7, 30)
    there = differences((ours[0], ours[1]), (theirs[0], theirs[1]), clusters)
    assert there == pytest.approx(-differences((theirs[0], theirs[1]), (ours[0], ours[1]), clusters))


def test_differences_of_accuracy_are_whole():
    rng = np.random.default_rng(0)
    right, ones, clusters = rng.integers(0, 2, (2, 90)), np.ones(90), np.arange(90) // 3
    each = differences((right[0].astype(float), ones), (right[1].astype(float), ones), clusters)
    assert np.array_equal(each, np.add.reduceat(right[0] - right[1], np.arange(0, 90, 3)))


def test_a_ratio_is_tested_by_exchanging_its_sums():
    """Entity F1: against recomputing the ratio after exchanging the systems in random clusters."""
    rng = np.random.default_rng(3)
    gold = rng.integers(1, 6, 60)
    found = rng.binomial(gold, [[0.75], [0.65]]).astype(float)
    above, below = 2 * found, found + rng.poisson(0.7, found.shape) + gold
    clusters = np.arange(60)
    each = differences((above[0], below[0]), (above[1], below[1]), clusters)
    total = above.sum(axis=1) / below.sum(axis=1)
    factor = below.sum() / (2 * below.sum(axis=1).prod())
    assert each.sum() * factor == pytest.approx(total[0] - total[1])
    swap = rng.integers(0, 2, (20_000, 60))
    kept, other = (np.stack([swap @ part[m] + (1 - swap) @ part[1 - m] for m in (0, 1)]) for part in (above, below))
    redone = np.abs(kept[0] / other[0] - kept[1] / other[1])
    assert sign_flip(each).p == pytest.approx(np.mean(redone >= abs(total[0] - total[1])), abs=0.015)


def test_nothing_scored_is_refused():
    nothing = (np.zeros(3), np.zeros(3))
    with pytest.raises(XstiltsError, match="nothing was scored"):
        differences(nothing, nothing, np.arange(3))


# --------------------------------------------------------------------------------------------------- invariances


@settings(max_examples=30, deadline=None)
@given(SEEDED, st.sampled_from([1.0, 0.37]))
def test_order_is_irrelevant_and_swapping_exchanges_the_tails(seed, unit):
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, 18) * unit
    one, shuffled, other = sign_flip(values), sign_flip(rng.permutation(values)), sign_flip(-values)
    assert one[:4] == pytest.approx(shuffled[:4])
    assert (one.p, one.p_greater, one.p_less) == pytest.approx((other.p, other.p_less, other.p_greater))


@settings(max_examples=20, deadline=None)
@given(SEEDED, st.integers(2, 5))
def test_copies_of_examples_inside_their_cluster_prove_nothing(seed, copies):
    rng = np.random.default_rng(seed)
    right, ones, clusters = rng.integers(0, 2, (2, 40)).astype(float), np.ones(40), np.arange(40) // 2
    one = differences((right[0], ones), (right[1], ones), clusters)
    many = np.repeat(right, copies, axis=1)
    ones, clusters = np.repeat(ones, copies), np.repeat(clusters, copies)
    several = differences((many[0], ones), (many[1], ones), clusters)
    assert sign_flip(several).p == pytest.approx(sign_flip(one).p)


# --------------------------------------------------------------------------------------------------- simulations


def test_false_alarms_are_as_rare_as_promised():
    """p is at least as large as uniform everywhere, and clusters of three are needed for that."""
    rng = np.random.default_rng(np.random.SeedSequence([17, 3]))
    clustered, naive, repetitions = [], [], 2000
    for _ in range(repetitions):
        each = np.repeat(rng.choice([-1.0, 0.0, 1.0], 40, p=[0.2, 0.6, 0.2]), 3)  # three examples rise or fall as one
        each[rng.random(120) < 0.2] = 0.0
        clustered.append(sign_flip(each.reshape(40, 3).sum(axis=1)).p)
        naive.append(sign_flip(each).p)
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        assert np.mean(np.array(clustered) <= level) <= level + 3 * math.sqrt(level * (1 - level) / repetitions)
    assert np.mean(np.array(clustered) <= 0.05) > 0.02  # not merely asleep
    assert np.mean(np.array(naive) <= 0.05) > 0.15  # the guard against someone simplifying the clusters away
