"""Probability of improvement: the printed value, scipy's statistic, coverage, and invariances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.improvement import improvement


def test_the_printed_value():
    x, y = np.array([[1.0, 2], [2, 2], [1, 1], [2, 1]]), np.array([[1.0, 1], [2, 2], [3, 3]])
    found = improvement(x, y)
    assert found.probability == pytest.approx(1 / 3) and found.by_task == pytest.approx([1 / 3, 1 / 3])
    assert 0 < found.low < found.probability < found.high < 1


def matrices():
    values = st.integers(0, 4)
    return st.integers(1, 4).flatmap(
        lambda tasks: st.tuples(
            *(st.lists(st.lists(values, min_size=tasks, max_size=tasks), min_size=2, max_size=6) for _ in range(2))
        )
    )


@settings(max_examples=60, deadline=None)
@given(matrices(), st.randoms())
def test_it_is_scipys_statistic_and_does_not_depend_on_order_or_scale(both, random):
    x, y = (np.array(each, dtype=float) for each in both)
    found = improvement(x, y)
    counts = [scipy_stats.mannwhitneyu(x[:, k], y[:, k]).statistic / (len(x) * len(y)) for k in range(x.shape[1])]
    assert found.by_task == pytest.approx(counts)
    assert 0 <= found.low <= found.probability <= found.high <= 1 and found.low < found.high
    order = random.sample(range(x.shape[1]), x.shape[1])
    again = improvement(np.exp(x[::-1][:, order]), np.exp(y[::-1][:, order]))
    assert again[:3] == pytest.approx(found[:3])
    swapped = improvement(y, x)
    assert (swapped.probability, swapped.low, swapped.high) == pytest.approx(
        (1 - found.probability, 1 - found.high, 1 - found.low), abs=1e-9
    )
    copies = improvement(np.repeat(x[:, :1], 3, axis=1), np.repeat(y[:, :1], 3, axis=1))
    alone = improvement(x[:, :1], y[:, :1])
    assert copies.low >= alone.low - 1e-9 and copies.high <= alone.high + 1e-9


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("runs", "tasks"), [(3, 1), (5, 1), (5, 9), (10, 9)])
def test_the_interval_covers_the_truth(runs, tasks, shared):
    """``shared`` is the part of a run's variance that all tasks have in common; effects of up to 2.5 of its SDs."""
    rng = np.random.default_rng(np.random.SeedSequence([runs, tasks, round(10 * shared)]))
    for effect in (0.0, 1.0, 2.5):
        truth, hits = scipy_stats.norm.cdf(effect / math.sqrt(2)), 0
        for _ in range(250):
            sides = [
                math.sqrt(shared) * rng.normal(size=(runs, 1)) + math.sqrt(1 - shared) * rng.normal(size=(runs, tasks))
                for _ in range(2)
            ]
            found = improvement(sides[0] + effect, sides[1])
            hits += found.low <= truth <= found.high
        assert hits / 250 >= 0.91


def test_a_clean_sweep_is_not_certainty():
    found = improvement(np.arange(5.0)[:, None] + 10, np.arange(5.0)[:, None])
    assert (found.probability, found.high) == (1.0, 1.0)
    assert 0.4 < found.low < 0.8


def test_a_single_run_has_no_interval():
    found = improvement(np.ones((1, 3)), np.zeros((4, 3)))
    assert found.probability == 1.0 and math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("other", [np.ones((3, 2)), np.ones(3), np.full((3, 3), np.nan), np.ones((0, 3))])
def test_what_cannot_be_compared_is_refused(other):
    with pytest.raises(XstiltsError, match="probability of improvement"):
        improvement(np.ones((3, 3)), other)
