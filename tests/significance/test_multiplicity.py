"""Holm, Benjamini-Hochberg and the partial conjunction: known figures, algebra, and what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.multiplicity import benjamini_hochberg, holm
from xstilts.significance.partial_conjunction import partial_conjunction

DATASETS = (0.168, 0.297, 0.357, 0.019, 0.218, 0.001)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def fisher_count(p, level=0.05):
    """Fisher's variant, for independent tests only: kept as the reason against it."""
    logs = -2 * np.log(np.sort(p))
    combined = scipy_stats.chi2.sf(np.cumsum(logs[::-1])[::-1], 2 * np.arange(len(p), 0, -1))
    return int(np.sum(np.maximum.accumulate(combined) <= level))


# ------------------------------------------------------------------------------------------------------- oracles


def test_holm_of_six_datasets():
    assert holm(DATASETS) == pytest.approx([0.672, 0.672, 0.672, 0.095, 0.672, 0.006])


def test_benjamini_hochberg_of_six_datasets():
    assert benjamini_hochberg(DATASETS) == pytest.approx([0.327, 0.3564, 0.357, 0.057, 0.327, 0.006])


def test_partial_conjunction_of_six_datasets():
    found = partial_conjunction(DATASETS)
    assert (found.at_least, found.tested, found.named) == (1, 6, (5,))
    assert found.p_at_least[:2] == pytest.approx([6 * 0.001, 5 * 0.019])
    assert fisher_count(DATASETS) == 2


def test_adjusted_values_keep_the_order_of_the_raw_ones():
    """A correction that is not monotone would turn these into .04, .033, .024, .2."""
    assert holm([0.01, 0.011, 0.012, 0.2]) == pytest.approx([0.04, 0.04, 0.04, 0.2])


# ------------------------------------------------------------------------------------------------------- algebra


@settings(max_examples=60, deadline=None)
@given(P_VALUES, st.floats(0.001, 0.3))
def test_holm_rejects_what_its_steps_reject(p, level):
    """Step down: reject the smallest while it is at most level / (number that is left)."""
    rejected, left = set(), sorted(range(len(p)), key=lambda place: p[place])
    while left and p[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    assert {place for place, value in enumerate(holm(p)) if value <= level} == rejected


@settings(max_examples=60, deadline=None)
@given(P_VALUES, st.floats(0.001, 0.3))
def test_the_count_is_the_largest_whose_partial_conjunctions_are_all_rejected(p, level):
    ordered = np.sort(p)
    single = [(len(p) - u + 1) * ordered[u - 1] for u in range(1, len(p) + 1)]
    expected = next((u for u, value in enumerate(single) if value > level), len(p))
    found = partial_conjunction(p, level)
    assert found.at_least == expected == len(found.named)


@settings(max_examples=60, deadline=None)
@given(P_VALUES, st.randoms(use_true_random=False))
@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_order_is_irrelevant_and_values_only_grow(adjust, p, random):
    order = random.sample(range(len(p)), len(p))
    adjusted = adjust(p)
    assert adjust([p[place] for place in order]) == pytest.approx(adjusted[order])
    assert np.all(adjusted >= np.array(p) - 1e-15) and np.all(adjusted <= 1)
    assert np.all(adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_what_was_not_tested_has_no_part(adjust):
    gapped = adjust([0.01, math.nan, 0.2])
    assert math.isnan(gapped[1])
    assert gapped[[0, 2]] == pytest.approx(adjust([0.01, 0.2]))
    assert np.isnan(adjust([math.nan])).all() and len(adjust([])) == 0


def test_a_language_that_was_not_tested_is_not_counted():
    found = partial_conjunction([math.nan, 0.001, 0.9])
    assert (found.at_least, found.tested, found.named) == (1, 2, (1,))
    assert partial_conjunction([]).at_least == 0


@pytest.mark.parametrize("value", [-0.01, 1.01, math.inf])
@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, partial_conjunction])
def test_what_is_no_probability_is_refused(adjust, value):
    with pytest.raises(XstiltsError, match="between 0 and 1"):
        adjust([0.5, value])


# --------------------------------------------------------------------------------------------------- simulations


def one_sided(rng, shared, effects, repetitions=4000):
    """p-values of "no better" ``(repetitions, tests)``, correlated by what the tests share."""
    common = rng.normal(size=(repetitions, 1)) * math.sqrt(shared)
    own = rng.normal(size=(repetitions, len(effects))) * math.sqrt(1 - shared)
    return scipy_stats.norm.sf(common + own + np.array(effects))


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_holm_keeps_the_probability_of_any_false_rejection(shared):
    rng = np.random.default_rng(np.random.SeedSequence([19, round(10 * shared)]))
    p = one_sided(rng, shared, [0] * 6 + [4] * 3)
    adjusted = np.array([holm(row) for row in p])
    bound = 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(p))
    assert np.mean((adjusted[:, :6] <= 0.05).any(axis=1)) <= bound
    assert np.mean((p[:, :6] <= 0.05).any(axis=1)) > bound + 0.02  # uncorrected
    assert np.mean(adjusted[:, 6:] <= 0.05) > 0.85


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_benjamini_hochberg_keeps_the_share_of_false_rejections(shared):
    rng = np.random.default_rng(np.random.SeedSequence([20, round(10 * shared)]))
    p = one_sided(rng, shared, [0] * 30 + [3] * 10, 1500)
    rejected = np.array([benjamini_hochberg(row) for row in p]) <= 0.05
    false = rejected[:, :30].sum(axis=1) / np.maximum(1, rejected.sum(axis=1))
    assert false.mean() <= 0.05
    assert rejected[:, 30:].mean() > 0.4


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_the_count_is_seldom_too_large_whatever_the_languages_share(shared):
    """Nine languages that share seeds, four of which gain."""
    rng = np.random.default_rng(np.random.SeedSequence([21, round(10 * shared)]))
    p = one_sided(rng, shared, [3.5] * 4 + [0] * 5, 2000)
    counts = np.array([partial_conjunction(row).at_least for row in p])
    fisher = np.array([fisher_count(row) for row in p])
    assert np.mean(counts > 4) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(p))
    assert np.mean(counts) > 2
    if shared:  # the guard against someone taking the stronger variant
        assert np.mean(fisher > 4) > 0.1
