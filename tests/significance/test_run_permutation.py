"""The permutation of run labels against scipy, its floors and its promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.run_permutation import run_permutation, smallest_p

SEEDED = st.integers(0, 2**32 - 1)


@settings(max_examples=25, deadline=None)
@given(SEEDED, st.integers(2, 5), st.integers(2, 5))
def test_equals_scipy(seed, ours, theirs):
    """scipy's two-sided p doubles the smaller tail; with as many runs on both sides that is the same."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(60, 72, ours + theirs) / 2  # with ties
    found = run_permutation(scores[:ours], scores[ours:])

    def statistic(x, y, axis):
        return np.mean(x, axis=axis) - np.mean(y, axis=axis)

    for name, alternative in (("p_greater", "greater"), ("p_less", "less"), ("p", "two-sided")):
        if alternative != "two-sided" or ours == theirs:
            groups, options = (scores[:ours], scores[ours:]), {"n_resamples": math.inf, "alternative": alternative}
            expected = scipy_stats.permutation_test(groups, statistic, vectorized=True, **options).pvalue
            assert getattr(found, name) == pytest.approx(expected)
    assert found.splits == math.comb(ours + theirs, ours)


@pytest.mark.parametrize(
    ("runs", "floor"), [(3, 0.1), (4, 0.0286), (5, 0.0079), (6, 0.0022), (8, 0.00016), (10, 0.00001)]
)
def test_smallest_p_is_attained_by_separated_scores(runs, floor):
    found = run_permutation(70 + np.arange(runs), np.arange(runs))
    assert found.p == pytest.approx(found.smallest_p)
    assert smallest_p(runs, runs) == found.smallest_p == pytest.approx(floor, rel=0.1)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 4), (2, 5), (3, 1)])
def test_smallest_p_of_unequal_numbers_of_runs(ours, theirs):
    rng = np.random.default_rng(0)
    least = min(run_permutation(rng.random(ours), rng.random(theirs)).p for _ in range(300))
    assert least == pytest.approx(smallest_p(ours, theirs))


@settings(max_examples=25, deadline=None)
@given(SEEDED)
def test_order_is_irrelevant_and_swapping_exchanges_the_tails(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(70, 1, 4), rng.normal(70, 1, 5)
    one, shuffled = run_permutation(ours, theirs), run_permutation(rng.permutation(ours), rng.permutation(theirs))
    other = run_permutation(theirs, ours)
    assert one == pytest.approx(shuffled)
    assert (one.difference, one.p, one.p_greater) == pytest.approx((-other.difference, other.p, other.p_less))


def test_equal_runs_do_not_differ():
    found = run_permutation(np.full(3, 71.3), np.full(3, 71.3))
    assert (found.difference, found.p, found.p_greater) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ([], [1.0], "at least one run"),
        ([np.nan], [1.0], "finite"),
        (np.arange(12), np.arange(12), "12 against 12 runs"),
    ],
)
def test_what_cannot_be_counted_is_refused(ours, theirs, message):
    with pytest.raises(XstiltsError, match=message):
        run_permutation(np.array(ours, float), np.array(theirs, float))


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(np.random.SeedSequence([17, 4]))
    repetitions = 1500
    p = np.array([run_permutation(*rng.standard_t(2, (2, 5))).p for _ in range(repetitions)])
    for level in (0.01, 0.05, 0.2):
        assert np.mean(p <= level) <= level + 3 * math.sqrt(level * (1 - level) / repetitions)
    assert np.mean(p <= 0.05) > 0.03
