"""Simultaneous intervals of a panel of languages: their extremes, their invariances and their coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.simultaneous import simultaneous
from xstilts.significance.two_way import linearise, two_way

SEEDED = st.integers(0, 2**32 - 1)


def cell(scores, first=0, deterministic=False):
    return linearise(scores, np.ones_like(scores), np.arange(scores.shape[1]) + first, deterministic)


def panel(data, apart=False):
    """Languages of both systems, candidate first, from ``(systems, seeds, languages, items)``."""
    languages, items = data.shape[2:]
    return tuple([cell(data[m][:, k], items * k * apart) for k in range(languages)] for m in (1, 0))


def languages(rng, shared=0.5, seeds=5, count=6, items=80):
    """Two systems without a true difference; ``shared`` is what languages have in common of examples and runs."""

    def mixed(scale, shape):
        common = rng.normal(0, scale, [2, shape[0], 1, shape[1]])
        own = rng.normal(0, scale, [2, shape[0], count, shape[1]])
        return math.sqrt(shared) * common + math.sqrt(1 - shared) * own

    return 0.6 + mixed(0.2, (1, items)) + mixed(0.01, (seeds, 1)) + rng.normal(0, 0.1, (2, seeds, count, items))


# ------------------------------------------------------------------------------------------------------ extremes


def test_one_language_has_its_own_interval():
    data = languages(np.random.default_rng(0), count=1)
    found, alone = simultaneous(*panel(data)), two_way(cell(data[1][:, 0]), cell(data[0][:, 0]))
    assert found.single == (alone,)
    assert found.tail == pytest.approx(0.05, abs=0.003)
    assert (found.low[0], found.high[0]) == pytest.approx((alone.low, alone.high), rel=0.03, abs=0.05)
    assert found.p[0] == alone.p


@pytest.mark.parametrize("paired", [False, True])
def test_identical_languages_are_one(paired):
    data = np.repeat(languages(np.random.default_rng(1), count=1), 9, axis=2)
    found = simultaneous(*panel(data), paired)
    assert found.tail == pytest.approx(0.05, abs=0.003)
    assert found.p == pytest.approx(np.full(9, found.single[0].p), abs=0.01)


def test_independent_languages_are_corrected_in_full():
    """Nothing in common, many runs: Šidák's correction, which is nearly Bonferroni's."""
    data = languages(np.random.default_rng(2), shared=0.0, seeds=60, count=10, items=60)
    assert simultaneous(*panel(data, apart=True)).tail == pytest.approx(1 - 0.95**0.1, rel=0.15)


@pytest.mark.parametrize(("common", "low", "high"), [(1.0, 0.035, 0.05), (0.0, 0.005, 0.008)])
@pytest.mark.parametrize("paired", [False, True])
def test_runs_that_languages_share_tie_them_together(common, low, high, paired):
    """Languages without a common example, nearly all variance from runs; .0051 would be Šidák's."""
    rng = np.random.default_rng(7)
    run = rng.normal(0, 0.05, (2, 60, 1 if common else 10, 1))
    data = 0.6 + run + rng.normal(0, 0.01, (2, 60, 10, 40))
    assert low <= simultaneous(*panel(data, apart=True), paired).tail <= high


def test_what_pairs_of_runs_share_ties_no_languages_together():
    """A run is good or bad in all languages, with both systems: paired, that cancels."""
    rng = np.random.default_rng(8)
    run, own = rng.normal(0, 0.2, (1, 60, 1, 1)), rng.normal(0, 0.02, (2, 60, 10, 1))
    data = 0.6 + run + own + rng.normal(0, 0.01, (2, 60, 10, 40))
    assert simultaneous(*panel(data, apart=True), paired=True).tail <= 0.008
    assert simultaneous(*panel(data, apart=True), paired=False).tail >= 0.02


@pytest.mark.parametrize("correlation", [0.3, 0.8])
def test_two_languages_are_corrected_by_their_correlation(correlation):
    """One model each, so the covariance is that of examples alone; against the bivariate normal integral."""
    rng = np.random.default_rng(3)
    items = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], 4000).T
    seen = np.corrcoef(items)[0, 1]
    found = simultaneous([cell(row[None]) for row in items], [cell(np.zeros((1, 4000)))] * 2)
    critical = scipy_stats.norm.isf(found.tail / 2)
    normal = scipy_stats.multivariate_normal([0, 0], [[1, seen], [seen, 1]])
    inside = normal.cdf([critical] * 2, lower_limit=[-critical] * 2)
    assert inside == pytest.approx(0.95, abs=0.004)
    assert found.single[0].scope == "artefact"


# ------------------------------------------------------------------------------------------------------- algebra


@settings(max_examples=25, deadline=None)
@given(SEEDED, st.booleans(), st.sampled_from([1, 2, 4]))
def test_intervals_lie_between_single_ones_and_bonferroni(seed, paired, seeds):
    data = languages(np.random.default_rng(seed), seeds=seeds, items=30)
    found = simultaneous(*panel(data), paired, draws=2000)
    single = found.single
    bonferroni = [each.se * scipy_stats.t.isf(0.05 / 12, each.df) for each in single]
    assert 0.05 / 6 <= found.tail <= 0.05
    assert np.all(found.low <= [each.low + 1e-9 for each in single])
    assert np.all((found.high - found.low) / 2 <= np.array(bonferroni) * (1 + 1e-9))
    assert np.all(found.p >= [each.p for each in single]) and np.all(found.p <= 1)
    centre = [each.difference for each in single]
    assert (found.high + found.low) / 2 == pytest.approx(centre, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDED)
def test_order_and_swapping(seed):
    rng = np.random.default_rng(seed)
    data, order = languages(rng), rng.permutation(6)
    one = simultaneous(*panel(data))
    shuffled = simultaneous(*panel(data[:, :, order][:, rng.permutation(5)]))
    other = simultaneous(*panel(data[::-1]))
    assert one.tail == pytest.approx(shuffled.tail, rel=0.15)  # other draws
    middles = [(each.low + each.high) / 2 for each in (one, shuffled)]
    assert middles[0][order] == pytest.approx(middles[1])
    assert (one.low, one.high, one.p) == tuple(map(pytest.approx, (-other.high, -other.low, other.p)))


def test_a_language_without_an_interval_stays_out():
    data = languages(np.random.default_rng(4))
    ours, theirs = panel(data)
    empty = linearise(np.zeros((5, 80)), np.zeros((5, 80)), np.arange(80))
    found = simultaneous([*ours, empty], [*theirs, empty])
    assert math.isnan(found.low[6]) and math.isnan(found.p[6])
    assert found.low[:6] == pytest.approx(simultaneous(ours, theirs).low)
    assert math.isnan(simultaneous([empty], [empty]).tail)


def test_a_side_without_training_has_no_seed_variance():
    data = languages(np.random.default_rng(5))
    ours, _ = panel(data)
    bare = [cell(data[0][:1, k], deterministic=True) for k in range(6)]
    copies = [cell(np.repeat(data[0][:1, k], 5, axis=0)) for k in range(6)]
    assert simultaneous(ours, bare).low == pytest.approx(simultaneous(ours, copies).low)
    assert simultaneous(ours, bare, paired=True).low == pytest.approx(simultaneous(ours, copies, paired=True).low)
    assert not math.isnan(simultaneous(bare, bare[::-1]).tail)


def test_other_languages_or_seeds_are_refused():
    ours, theirs = panel(languages(np.random.default_rng(6)))
    with pytest.raises(XstiltsError, match="same languages"):
        simultaneous(ours, theirs[:5])
    fewer = cell(np.random.default_rng(0).random((3, 80)))
    with pytest.raises(XstiltsError, match="same seeds"):
        simultaneous([*ours[:5], fewer], theirs)


# --------------------------------------------------------------------------------------------------- simulations


def answers(rng, seeds, count=15, items=250):
    """0/1 answers like XNLI's: item + language + item × language + run + run × language, on the logit scale."""
    item, language = rng.normal(0, 1, (1, 1, 1, items)), rng.normal(0, 0.4, (1, 1, count, 1))
    both, own = rng.normal(0, 0.8, (1, 1, count, items)), rng.normal(0, 0.5, (2, 1, 1, items))
    run, run_language = rng.normal(0, 0.03, (2, seeds, 1, 1)), rng.normal(0, 0.05, (2, seeds, count, 1))
    odds = 1 + item + language + both + own + run + run_language
    return (rng.random((2, seeds, count, items)) < 1 / (1 + np.exp(-odds))).astype(float)


@pytest.mark.parametrize("seeds", [3, 5])
def test_all_intervals_hold_at_once(seeds):
    """Fifteen parallel languages; .976 and .966 were measured for Bonferroni's intervals."""
    rng = np.random.default_rng(np.random.SeedSequence([31, seeds]))
    repetitions, joint, single, ratios = 200, 0, 0, []
    for _ in range(repetitions):
        found = simultaneous(*panel(answers(rng, seeds)), draws=4000)
        joint += bool(np.all((found.low <= 0) & (found.high >= 0)))
        single += all(each.low <= 0 <= each.high for each in found.single)
        ratios.append(found.tail * 15 / 0.05)
        assert (found.p.min() <= 0.05) == bool(np.any((found.low > 0) | (found.high < 0))) or found.p.min() > 0.04
    assert joint / repetitions >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / repetitions)
    assert single / repetitions < 0.85  # the guard against someone taking the single intervals for it
    assert np.mean(ratios) > 1.02  # and something is gained over Bonferroni
