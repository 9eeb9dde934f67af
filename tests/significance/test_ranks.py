"""Mean ranks as in the paper that recommends them, and rank intervals that hold all at once."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.ranks import friedman, rank_intervals

# Demšar (2006), table 6: AUC of C4.5, with m, with cf, with both. The paper's ranks need 0.975|01 in the last but one.
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_printed_ranks():
    found = friedman(AUC)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert (found.chi2, found.f) == pytest.approx((9.28, 3.69), abs=5e-3)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.p == pytest.approx(scipy_stats.f.sf(found.f, 3, 39))
    assert found.groups == ((3, 1, 2, 0),), "by this test none of them differ"
    tied = friedman(np.where(AUC == 0.97501, 0.975, AUC))
    assert (tied.chi2, tied.f) == pytest.approx((9.86, 3.99), abs=5e-3)


def test_without_ties_it_is_scipys_statistic():
    scores = np.random.default_rng(0).random((9, 5))
    assert friedman(scores).chi2 == pytest.approx(scipy_stats.friedmanchisquare(*scores.T).statistic)


def test_groups_are_the_largest_sets_within_the_critical_difference():
    """Ten tasks that agree: ranks 1 to 6, CD 2.38."""
    found = friedman(np.tile(np.arange(6.0), (10, 1)) * -1)
    assert found.ranks == pytest.approx(np.arange(1, 7)) and found.critical_difference == pytest.approx(2.38, abs=5e-3)
    assert found.groups == ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5))
    assert (found.f, found.p) == (float("inf"), 0.0)
    assert friedman(np.ones((5, 3))).groups == ((0, 1, 2),) and friedman(np.ones((5, 3))).p == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(5, 12))
def test_order_and_scale_are_irrelevant(seed, systems, tasks):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (tasks, systems)).astype(float)
    found, order = friedman(scores), rng.permutation(systems)
    again = friedman(np.exp(scores[rng.permutation(tasks)][:, order]))
    assert again.ranks == pytest.approx(found.ranks[order])
    assert (again.chi2, again.critical_difference) == pytest.approx((found.chi2, found.critical_difference), abs=1e-9)
    assert {each for group in found.groups for each in group} == set(range(systems))
    for one, other in itertools.combinations(range(systems), 2):
        near = abs(found.ranks[one] - found.ranks[other]) <= found.critical_difference
        assert near == any({one, other} <= set(group) for group in found.groups)


@pytest.mark.parametrize("shape", [(4, 3), (9, 2), (9,)])
def test_too_few_tasks_or_systems_are_refused(shape):
    with pytest.raises(XstiltsError, match="at least 5 tasks × 3 systems"):
        friedman(np.ones(shape))


def test_missing_scores_are_refused():
    with pytest.raises(XstiltsError, match="missing"):
        friedman(np.where(AUC == 0.763, np.nan, AUC))


# -------------------------------------------------------------------------------------------------- rank intervals


def pairwise(scores, error):
    """Differences and p-values of scores with a known standard error of each difference."""
    differences = scores[:, None] - scores[None]
    return differences, 2 * scipy_stats.norm.sf(np.abs(differences) / error)


def test_clear_differences_give_clear_ranks():
    found = rank_intervals(*pairwise(np.array([10.0, 5.0, 20.0, 4.9]), 0.1))
    assert found.best.tolist() == [2, 3, 1, 3] and found.worst.tolist() == [2, 4, 1, 4]
    assert found.are_top([2]) == found.are_top([0, 2]) == "yes"
    assert found.are_top([0]) == found.are_top([2, 1]) == "no"
    assert found.are_top([0, 2, 1]) == "unknown"
    vague = rank_intervals(*pairwise(np.array([10.0, 5.0, 20.0, 4.9]), 50))
    assert vague.best.tolist() == [1] * 4 and vague.worst.tolist() == [4] * 4 and vague.are_top([2]) == "unknown"


def test_what_was_not_tested_separates_no_one():
    differences, p = pairwise(np.array([10.0, 5.0, 0.0]), 0.1)
    p[0, 1] = p[1, 0] = np.nan
    found = rank_intervals(differences, p)
    assert found.best.tolist() == [1, 1, 3] and found.worst.tolist() == [2, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_order_is_irrelevant_and_the_observed_rank_is_inside(seed, count):
    rng = np.random.default_rng(seed)
    scores, order = rng.normal(0, 2, count), rng.permutation(count)
    found, again = rank_intervals(*pairwise(scores, 1)), rank_intervals(*pairwise(scores[order], 1))
    assert (again.best == found.best[order]).all() and (again.worst == found.worst[order]).all()
    ranks = scipy_stats.rankdata(-scores)
    assert (found.best <= ranks).all() and (ranks <= found.worst).all()
    flipped = rank_intervals(*pairwise(-scores, 1))
    assert (flipped.best == count + 1 - found.worst).all()


@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
def test_all_rank_intervals_hold_at_once(gap):
    """Nine candidates in steps of ``gap`` standard errors against one shared reference; rank 1 is the last."""
    rng = np.random.default_rng(np.random.SeedSequence([9, int(10 * gap)]))
    truth, held, repetitions = gap * np.arange(9), 0, 1000
    ranks = np.arange(9, 0, -1)
    for _ in range(repetitions):
        found = rank_intervals(*pairwise(truth + rng.normal(0, 1, 9), np.sqrt(2)))
        certain = (found.best == 1).all() and (found.worst == 9).all()
        held += certain if gap == 0 else ((found.best <= ranks) & (ranks <= found.worst)).all()
    assert held / repetitions >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / repetitions)


@pytest.mark.parametrize(
    ("differences", "p"),
    [(np.ones((3, 3)), np.ones((3, 3))), (np.zeros((3, 3)), np.ones((2, 2))), (np.zeros((1, 1)), np.ones((1, 1)))],
)
def test_what_are_no_pairs_is_refused(differences, p):
    with pytest.raises(XstiltsError, match="all pairs"):
        rank_intervals(differences, p)
