"""Interquartile means: printed values, scipy's trimmed mean, coverage, and one task that carries a mean."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.iqm import interquartile_mean, iqm, iqm_of_gains


def test_the_printed_values():
    x, y = np.array([[1.0, 2], [2, 2], [1, 1], [2, 1]]), np.array([[1.0, 1], [2, 2], [3, 3]])
    assert (iqm(x).value, iqm(y).value) == (1.5, 2.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_it_is_scipys_trimmed_mean(values):
    assert interquartile_mean(np.array(values)) == pytest.approx(scipy_stats.trim_mean(values, 0.25), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 9))
def test_order_shift_and_scale(seed, runs, tasks):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(50, 5, (2, runs, tasks))
    found, order = np.hstack(iqm_of_gains(x, y)), rng.permutation(tasks)
    again = np.hstack(iqm_of_gains(x[::-1][:, order], y[:, order]))
    assert again[:5] == pytest.approx(found[:5], nan_ok=True)
    swapped = iqm_of_gains(y, x)
    assert [swapped.value, swapped.high, swapped.low] == pytest.approx(-found[:3])
    assert np.hstack(iqm(3 * x + 7)) == pytest.approx(3 * np.hstack(iqm(x)) + 7, nan_ok=True)


def draw(rng, effects, runs=5, sd=0.5, shared=0.5):
    """Scores ``(systems, runs, tasks)``; ``shared`` is the part of a run's variance that all tasks have in common."""
    common = rng.normal(0, sd * math.sqrt(shared), (2, runs, 1))
    scores = common + rng.normal(0, sd * math.sqrt(1 - shared), (2, runs, len(effects)))
    scores[0] += effects
    return scores


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_intervals_for_these_tasks_and_for_others_cover_the_truth(spread):
    rng = np.random.default_rng(np.random.SeedSequence([9, round(10 * spread)]))
    these, hits, repetitions = rng.normal(0, spread, 9), np.zeros(4), 400
    truth = interquartile_mean(these)
    for _ in range(repetitions):
        x, y = draw(rng, these)
        fixed, alone = iqm_of_gains(x, y), iqm(x)
        others = draw(rng, rng.normal(0, spread, 9))
        fresh, fresh_alone = iqm_of_gains(*others), iqm(others[0])
        hits += [
            fixed.low <= truth <= fixed.high,
            alone.low <= truth <= alone.high,
            fresh.low_over_tasks <= 0 <= fresh.high_over_tasks,
            fresh_alone.low_over_tasks <= 0 <= fresh_alone.high_over_tasks,
        ]
    assert (hits / repetitions >= 0.9).all() and (hits / repetitions <= 0.99).all()


def test_one_task_cannot_carry_it():
    """Nine targets of which one gains forty points: the mean is 4.9, the interquartile mean the others' half point."""
    rng = np.random.default_rng(0)
    x, y = draw(rng, np.array([0.5] * 8 + [40.0]), sd=0.1)
    found = iqm_of_gains(x, y)
    assert (x - y).mean() > 4.5
    assert found.value == pytest.approx(0.5, abs=0.2)
    assert found.without[8] == pytest.approx(found.value, abs=0.1)
    few = iqm_of_gains(x[:, 6:], y[:, 6:])
    assert np.ptp(few.without) > 10, "of three tasks nothing is trimmed, and one carries the mean"


def test_paired_runs_cancel():
    rng = np.random.default_rng(1)
    common = rng.normal(0, 3, (5, 1))
    x, y = 1 + common + rng.normal(0, 0.1, (5, 9)), common + rng.normal(0, 0.1, (5, 9))
    apart, together = iqm_of_gains(x, y), iqm_of_gains(x, y, paired=True)
    assert apart.value == together.value
    assert together.high - together.low < 0.2 * (apart.high - apart.low)


def test_what_is_unknown_is_nan():
    one = iqm_of_gains(np.ones((1, 9)), np.zeros((3, 9)))
    assert one.value == 1.0 and math.isnan(one.low) and math.isnan(one.low_over_tasks)
    assert math.isnan(iqm(np.arange(9.0)[None]).low)
    few = iqm(np.random.default_rng(0).random((4, 3)))
    assert few.low < few.high and math.isnan(few.low_over_tasks)
    assert math.isnan(iqm(np.array([[1.0], [2.0]])).without[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: iqm(np.ones(3)),
        lambda: iqm(np.array([[1.0, np.nan]])),
        lambda: iqm_of_gains(np.ones((3, 2)), np.ones((3, 3))),
        lambda: iqm_of_gains(np.ones((3, 2)), np.ones((2, 2)), paired=True),
    ],
)
def test_what_cannot_be_averaged_is_refused(call):
    with pytest.raises(XstiltsError, match="interquartile mean"):
        call()
