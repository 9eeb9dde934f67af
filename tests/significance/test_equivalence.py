"""Claims about a margin: known figures, agreement with intervals, and their error at the boundary."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.equivalence import (
    equivalence,
    independent_samples,
    no_gain,
    non_inferiority,
    paired_samples,
)
from xstilts.significance.two_way import linearise, two_way

CANDIDATE, REFERENCE = np.array([4.0, 7, 8, 6, 3, 2]), np.array([6.0, 8, 7, 10, 11, 9])
POINTS = st.floats(-5, 5)
ERRORS = st.floats(0.01, 3)
DEGREES = st.floats(1, 200)
MARGINS = st.floats(0.05, 4)


# ------------------------------------------------------------------------------------------------------- oracles


def test_equivalence_of_two_small_samples():
    assert equivalence(*independent_samples(CANDIDATE, REFERENCE), 1.0).p == pytest.approx(0.965097, abs=5e-7)
    paired = equivalence(*paired_samples(CANDIDATE, REFERENCE), 0.5)
    assert paired.p == pytest.approx(0.9548543554, abs=5e-11)
    assert not paired.holds


def test_equivalence_of_the_clinic_data():
    """R's ``equivalence::tost``, paired, with ε = .6."""
    found = equivalence(0.5626667, 0.2478276, 14, 0.6)
    assert found.p == pytest.approx(0.4412034046, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.12617, 0.99917), abs=1e-5)
    assert not found.holds


def test_samples_have_the_statistics_of_scipy():
    for ours, theirs in (
        (paired_samples(CANDIDATE, REFERENCE), scipy_stats.ttest_rel(CANDIDATE, REFERENCE)),
        (independent_samples(CANDIDATE, REFERENCE[:4]), scipy_stats.ttest_ind(CANDIDATE, REFERENCE[:4])),
    ):
        assert ours.difference / ours.se == pytest.approx(theirs.statistic)
        assert ours.df == theirs.df


# ------------------------------------------------------------------------------------------------------- algebra


@settings(max_examples=80, deadline=None)
@given(POINTS, ERRORS, DEGREES, MARGINS)
def test_a_claim_holds_where_its_interval_says_so(difference, se, df, margin):
    inferior = non_inferiority(difference, se, df, margin)
    gain = no_gain(difference, se, df, margin)
    both = equivalence(difference, se, df, margin)
    near = pytest.approx(margin, abs=1e-7)
    for found, ends in ((inferior, [-inferior.low]), (gain, [gain.high]), (both, [-both.low, both.high])):
        if all(end != near for end in ends):
            assert found.holds == all(end < margin for end in ends)
    reach = se * scipy_stats.t.ppf(0.975, df)
    assert (inferior.low, gain.high) == pytest.approx((difference - reach, difference + reach), rel=1e-6, abs=1e-7)


@settings(max_examples=50, deadline=None)
@given(POINTS, ERRORS, DEGREES, MARGINS)
def test_swapping_the_systems_exchanges_the_claims(difference, se, df, margin):
    one, other = non_inferiority(difference, se, df, margin), no_gain(-difference, se, df, margin)
    assert (one.p, one.low) == pytest.approx((other.p, -other.high))
    there, back = equivalence(difference, se, df, margin), equivalence(-difference, se, df, margin)
    assert (there.p, there.low, there.high) == pytest.approx((back.p, -back.high, -back.low))
    assert there.p == pytest.approx(max(one.p, no_gain(difference, se, df, margin).p))


@pytest.mark.parametrize("claim", [non_inferiority, no_gain, equivalence])
@pytest.mark.parametrize("se", [0.0, math.nan])
def test_without_an_error_nothing_is_shown(claim, se):
    found = claim(0.0, se, math.nan, 1.0)
    assert math.isnan(found.p) and not found.holds


@pytest.mark.parametrize("claim", [non_inferiority, no_gain, equivalence])
@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_must_be_positive(claim, margin):
    with pytest.raises(XstiltsError, match="positive"):
        claim(0.0, 1.0, 5, margin)


# --------------------------------------------------------------------------------------------------- simulations


def systems(rng, seeds, examples, shift):
    """Two systems of which the candidate is truly better by ``shift`` points ``(2, seeds, examples)``."""
    item, run = rng.normal(0, 0.15, (2, 1, examples)), rng.normal(0, 0.004, (2, seeds, 1))
    return 0.6 + np.array([[[0.0]], [[shift / 100]]]) + item + run + rng.normal(0, 0.25, (2, seeds, examples))


def cell(scores):
    return linearise(scores, np.ones_like(scores), np.arange(scores.shape[1]))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_parity_is_seldom_declared_at_the_boundary(seeds):
    """600 examples, run SD .4, the truth on the margin of 1 point: seeds alone declare parity ever more often."""
    rng = np.random.default_rng(np.random.SeedSequence([23, seeds]))
    repetitions, inferior, equal, gain, naive = 1500, 0, 0, 0, 0
    for _ in range(repetitions):
        reference, candidate = systems(rng, seeds, 600, -1.0)
        found = two_way(cell(candidate), cell(reference))
        inferior += non_inferiority(found.difference, found.se, found.df, 1.0).holds
        gain += no_gain(-found.difference, found.se, found.df, 1.0).holds
        equal += equivalence(found.difference, found.se, found.df, 1.0).holds
        scores = [100 * each.mean(axis=1) for each in (candidate, reference)]
        naive += non_inferiority(*independent_samples(*scores), 1.0).holds
    assert inferior == gain
    assert inferior / repetitions <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / repetitions)
    assert equal / repetitions <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repetitions)
    if seeds == 10:  # the guard against someone dropping the examples
        assert naive / repetitions > 0.06


def test_parity_is_declared_where_it_is_true():
    rng = np.random.default_rng(np.random.SeedSequence([24]))
    shown = 0
    for _ in range(200):
        reference, candidate = systems(rng, 5, 5000, 0.0)
        found = two_way(cell(candidate), cell(reference))
        shown += equivalence(found.difference, found.se, found.df, 2.0).holds
    assert shown / 200 > 0.9
