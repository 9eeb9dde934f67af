"""The two-way interval against naive re-computation, a bootstrap, a mixed model, and its invariances."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.two_way import combine, linearise, one_sample, two_way


def cell(scores, clusters=None, deterministic=False):
    """A cell of plain per-example scores ``(seeds, examples)`` in [0, 1]."""
    scores = np.asarray(scores, dtype=float)
    codes = np.arange(scores.shape[1]) if clusters is None else np.asarray(clusters)
    return linearise(scores, np.ones_like(scores), codes, deterministic)


def draw(rng, seeds=3, examples=60, run_sd=0.01):
    """Two systems: shared items, own runs, own noise ``(2, seeds, examples)``; no true difference."""
    item = rng.normal(0, 0.15, examples)
    run = rng.normal(0, run_sd, (2, seeds, 1))
    return 0.6 + item + run + rng.normal(0, 0.25, (2, seeds, examples))


def close(one, other):
    numbers = [value for value in one if isinstance(value, float)]
    return numbers == pytest.approx(
        [value for value in other if isinstance(value, float)], rel=1e-9, abs=1e-9, nan_ok=True
    )


# ------------------------------------------------------------------------------------------------------- oracles


def naive(candidate, reference, clusters, paired):
    """The formulas, cluster by cluster and seed by seed, for one cell of plain means."""
    codes = sorted(set(clusters))
    count, u, theta = len(codes), [], []
    for scores in (reference, candidate):
        means = [100 * np.mean(row) for row in scores]
        theta.append(means)
        u.append(
            [
                [
                    count * sum(100 * y - mean for y, c in zip(row, clusters, strict=True) if c == code) / len(row)
                    for code in codes
                ]
                for row, mean in zip(scores, means, strict=True)
            ]
        )
    average = [np.mean(each, axis=0) for each in u]
    v_ex = np.var(average[1] - average[0], ddof=1) / count
    if paired:
        arms = [(np.subtract(theta[1], theta[0]), np.subtract(u[1], u[0]))]
    else:
        arms = [(np.array(theta[m]), np.array(u[m])) for m in range(2)]
    v_seed, v_int = [], 0.0
    for scores, table in arms:
        n = len(scores)
        residual = sum((table[s, c] - table[:, c].mean()) ** 2 for s in range(n) for c in range(count))
        v_seed.append((np.var(scores, ddof=1) / n, n - 1))
        v_int += residual / ((n - 1) * (count - 1)) / (n * count)
    seeds = sum(v for v, _ in v_seed)
    v = max(v_ex + seeds - v_int, v_ex, seeds)
    df = v**2 / (v_ex**2 / (count - 1) + sum(part**2 / k for part, k in v_seed))
    difference = np.mean(theta[1]) - np.mean(theta[0])
    reach = scipy_stats.t.ppf(0.975, df) * math.sqrt(v)
    p = 2 * scipy_stats.t.sf(abs(difference) / math.sqrt(v), df)
    return difference, difference - reach, difference + reach, p, df, math.sqrt(v), math.sqrt(v_ex), math.sqrt(seeds)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_formulas_computed_naively(seed, paired):
    rng = np.random.default_rng(seed)
    reference, candidate = draw(rng, seeds=2 + seed % 3, examples=30)
    clusters = rng.integers(0, 9, 30)
    ours = two_way(cell(candidate, clusters), cell(reference, clusters), paired)
    assert ours[:8] == pytest.approx(naive(candidate, reference, clusters.tolist(), paired), rel=1e-9)
    assert (ours.scope, ours.clusters) == ("procedure", len(set(clusters.tolist())))


def test_standard_error_is_that_of_a_mixed_model():
    """REML of statsmodels 0.15 on these data, frozen; the live comparison is in ``tests/oracles``."""
    rng = np.random.default_rng(3)
    item, crossed = rng.normal(0, 0.15, 25), rng.normal(0, 0.1, (2, 1, 25))
    run = rng.normal(0, 0.06, (2, 4, 1))
    y = 0.6 + np.array([0, 0.03])[:, None, None] + item + crossed + run + rng.normal(0, 0.2, (2, 4, 25))
    ours = two_way(cell(y[1]), cell(y[0]))
    assert ours.difference == pytest.approx(-0.28794422)
    assert ours.se == pytest.approx(7.3205459, rel=1e-4)


def test_linearised_error_of_a_ratio_equals_a_cluster_bootstrap():
    """F1-like ratio, unequal clusters, examples only: two models, 4 000 resamples of whole clusters."""
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(150), rng.integers(1, 8, 150))
    gold = rng.integers(1, 6, len(clusters))
    hard = rng.beta(4, 2, 150)[clusters]
    found = rng.binomial(gold, np.stack([hard, hard * 0.9]))
    guessed = found + rng.poisson(0.7, found.shape)
    above, below = 2.0 * found, (guessed + gold).astype(float)
    ours = two_way(*(linearise(above[m : m + 1], below[m : m + 1], clusters) for m in range(2)))
    sums = np.stack([[np.bincount(clusters, part[m]) for part in (above, below)] for m in range(2)])  # (2, 2, 150)
    weights = rng.multinomial(150, np.full(150, 1 / 150), size=4000)
    totals = np.einsum("mpc,bc->mpb", sums, weights)
    resampled = 100 * (totals[0, 0] / totals[0, 1] - totals[1, 0] / totals[1, 1])
    assert ours.scope == "artefact"
    assert ours.se == pytest.approx(resampled.std(ddof=1), rel=0.04)


@pytest.mark.parametrize("run_sd", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_interval_of_one_score_is_that_of_an_analysis_of_variance(seed, run_sd):
    """Runs × items without replication: Var(mean) = (MS_runs + MS_items − MS_rest) / (runs · items), by hand."""
    y = 100 * draw(np.random.default_rng(seed), seeds=4, examples=25, run_sd=run_sd)[0]
    runs, items = y.shape
    by_run, by_item, mean = y.mean(axis=1), y.mean(axis=0), y.mean()
    rest = sum((y[s, i] - by_run[s] - by_item[i] + mean) ** 2 for s in range(runs) for i in range(items))
    ms_runs = items * sum((by_run - mean) ** 2) / (runs - 1)
    ms_items = runs * sum((by_item - mean) ** 2) / (items - 1)
    ms_rest = rest / ((runs - 1) * (items - 1))
    both = max(ms_runs + ms_items - ms_rest, ms_items, ms_runs)
    df = both**2 / (ms_runs**2 / (runs - 1) + ms_items**2 / (items - 1))
    error = math.sqrt(both / y.size)
    reach = scipy_stats.t.ppf(0.975, df) * error
    ours = one_sample(cell(y / 100))
    assert ours[:5] == pytest.approx((mean, mean - reach, mean + reach, df, error))
    assert ours[5:7] == pytest.approx([math.sqrt(ms / y.size) for ms in (ms_items, ms_runs)])
    assert (ours.scope, ours.clusters) == ("procedure", items)


def test_interval_of_one_score_of_one_model_equals_a_cluster_bootstrap():
    """Clusters of unequal size, examples only, 4 000 resamples of whole clusters."""
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(150), rng.integers(1, 8, 150))
    right = (rng.random(len(clusters)) < rng.beta(4, 2, 150)[clusters]).astype(float)
    ours = one_sample(cell(right[None], clusters))
    sums = np.stack([np.bincount(clusters, right), np.bincount(clusters)])
    totals = sums @ rng.multinomial(150, np.full(150, 1 / 150), size=4000).T
    resampled = 100 * totals[0] / totals[1]
    assert (ours.scope, ours.df) == ("artefact", 149) and math.isnan(ours.se_seeds)
    assert ours.se == pytest.approx(resampled.std(ddof=1), rel=0.04)
    assert (ours.low, ours.high) == pytest.approx(np.percentile(resampled, (2.5, 97.5)), abs=0.5)


def test_a_score_against_a_constant_has_the_error_of_the_score():
    """What is known exactly adds nothing: the difference from it is as sure as the score."""
    scores, known = draw(np.random.default_rng(2))[0], cell(np.zeros((1, 60)), deterministic=True)
    alone, against = one_sample(cell(scores)), two_way(cell(scores), known)
    assert alone[:3] == pytest.approx(against[:3]) and alone[3:8] == against[4:9]


def test_a_score_without_variance_or_with_one_cluster_has_no_interval():
    flat, alone = one_sample(cell(np.ones((3, 10)))), one_sample(cell(np.random.default_rng(0).random((3, 8)), [0] * 8))
    assert flat.score == 100.0 and flat.se == 0.0 and math.isnan(flat.low)
    assert not math.isnan(alone.score) and math.isnan(alone.low) and math.isnan(alone.se)


# -------------------------------------------------------------------------------------------------- edge of data


def test_equal_scores_are_no_proof_of_equal_systems():
    """Two trainings can score alike by chance; their seeds still scatter."""
    scores = draw(np.random.default_rng(0))[0]
    result = two_way(cell(scores), cell(scores))
    assert (result.difference, result.p) == (0.0, 1.0)
    assert result.low == -result.high < 0
    assert result.se == pytest.approx(math.sqrt(2 * (100 * scores.mean(axis=1)).var(ddof=1) / 3))


@pytest.mark.parametrize("other", [0.0, 1.0])
def test_where_nothing_varies_nothing_can_be_estimated(other):
    result = two_way(cell(np.ones((3, 10))), cell(np.full((2, 10), other)))
    assert result.difference == 100.0 * (1 - other)
    assert all(math.isnan(value) for value in (result.low, result.high, result.p, result.df))
    assert (result.se, result.se_examples, result.se_seeds) == (0.0, 0.0, 0.0)


def test_one_cluster_gives_no_interval():
    rng = np.random.default_rng(0)
    result = two_way(cell(rng.random((3, 8)), np.zeros(8, int)), cell(rng.random((3, 8)), np.zeros(8, int)))
    assert all(math.isnan(value) for value in (result.low, result.p, result.se, result.se_examples))
    assert not math.isnan(result.difference)


def test_nothing_scored_is_nan_and_never_zero():
    empty = linearise(np.zeros((2, 5)), np.zeros((2, 5)), np.arange(5))
    result = two_way(empty, empty)
    assert all(math.isnan(value) for value in (result.difference, result.low, result.p))


def test_one_seed_speaks_of_the_artefact_only():
    reference, candidate = draw(np.random.default_rng(1), seeds=3)
    single = two_way(cell(candidate[:1]), cell(reference))
    assert single.scope == "artefact"
    assert math.isnan(single.se_seeds)
    assert (single.se, single.df) == (single.se_examples, 59)


def test_a_side_without_training_has_no_seed_variance_but_keeps_the_scope():
    reference, candidate = draw(np.random.default_rng(1), seeds=4)
    bare = cell(reference[:1], deterministic=True)
    ours = two_way(cell(candidate), bare)
    copies = two_way(cell(candidate), cell(np.repeat(reference[:1], 4, axis=0)))
    assert ours.scope == "procedure"
    assert close(ours[:8], copies[:8])


def test_other_examples_are_refused():
    with pytest.raises(XstiltsError, match="same examples"):
        two_way(cell(np.ones((2, 5))), cell(np.ones((2, 6))))


def test_pairing_needs_as_many_seeds():
    with pytest.raises(XstiltsError, match="paired seeds"):
        two_way(cell(np.ones((2, 5))), cell(np.ones((3, 5))), paired=True)


# --------------------------------------------------------------------------------------------------- invariances

SEEDED = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(SEEDED, st.booleans())
def test_order_of_examples_seeds_and_languages_is_irrelevant(seed, paired):
    rng = np.random.default_rng(seed)
    systems = rng.random((2, 3, 4, 20))  # (systems, seeds, languages, examples)
    clusters = rng.integers(0, 8, 20)

    def compare(data, codes, languages):
        parts = [combine([cell(data[m][:, k], codes) for k in languages], [0.25] * 4) for m in (1, 0)]
        return two_way(*parts, paired)

    expected = compare(systems, clusters, range(4))
    examples, seeds = rng.permutation(20), rng.permutation(3)
    assert close(compare(systems[..., examples], clusters[examples], range(4)), expected)
    assert close(compare(systems[:, seeds], clusters, range(4)), expected)
    assert close(compare(systems, clusters, (2, 0, 3, 1)), expected)


@settings(max_examples=30, deadline=None)
@given(SEEDED)
def test_swapping_the_systems_flips_the_sign(seed):
    reference, candidate = draw(np.random.default_rng(seed))
    one, other = two_way(cell(candidate), cell(reference)), two_way(cell(reference), cell(candidate))
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert (one.p, one.df, one.se) == pytest.approx((other.p, other.df, other.se))


@settings(max_examples=30, deadline=None)
@given(SEEDED, st.integers(2, 5))
def test_copies_of_an_example_inside_its_cluster_prove_nothing(seed, copies):
    reference, candidate = draw(np.random.default_rng(seed))
    clusters = np.arange(60) // 2
    repeated = [np.repeat(each, copies, axis=1) for each in (candidate, reference)]
    many = two_way(*(cell(each, np.repeat(clusters, copies)) for each in repeated))
    assert close(many, two_way(cell(candidate, clusters), cell(reference, clusters)))


@settings(max_examples=20, deadline=None)
@given(SEEDED, st.integers(2, 6))
def test_languages_that_are_copies_of_one_have_its_error(seed, languages):
    reference, candidate = draw(np.random.default_rng(seed))
    mean = [combine([cell(each)] * languages, [1 / languages] * languages) for each in (candidate, reference)]
    assert close(two_way(*mean), two_way(cell(candidate), cell(reference)))


def test_a_deterministic_part_counts_for_every_seed():
    rng = np.random.default_rng(0)
    trained, bare = cell(rng.random((3, 10))), cell(rng.random((1, 6)), np.arange(10, 16), deterministic=True)
    mixed = combine([trained, bare], [0.5, 0.5])
    assert mixed.scores == pytest.approx(0.5 * trained.scores + 0.5 * bare.scores[0])
    assert not mixed.deterministic
    assert combine([bare, bare], [0.5, 0.5]).deterministic
    assert mixed.influence.shape == (3, 16)
    assert mixed.influence.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-9)


# -------------------------------------------------------------------------------------------------------- blocks


def pool(system, counts, weights=None):
    """One cell per entry of ``counts``, on clusters of its own, taken from ``system`` ``(seeds, examples)``."""
    bounds = np.cumsum([0, *counts])
    parts = [cell(system[:, a:b], np.arange(a, b)) for a, b in itertools.pairwise(bounds)]
    return combine(parts, weights or [1 / len(parts)] * len(parts))


@pytest.mark.parametrize(
    ("clusters", "blocks"),
    [
        ([[0, 1, 2], [0, 1, 2]], [0, 0, 0]),
        ([[0, 1], [2, 3]], [0, 0, 1, 1]),
        ([[0, 1], [4, 5], [1, 4]], [0, 0, 0, 0]),  # the third links the first two
        ([[2, 3], [0, 1], [3, 4]], [0, 0, 1, 1, 1]),
    ],
)
def test_cells_that_share_a_cluster_are_one_block(clusters, blocks):
    parts = [cell(np.ones((2, len(codes))), codes) for codes in clusters]
    found = combine(parts, [1 / len(parts)] * len(parts)).blocks
    pairs = list(itertools.combinations(range(len(blocks)), 2))
    assert [found[a] == found[b] for a, b in pairs] == [blocks[a] == blocks[b] for a, b in pairs]
    assert set(found) == set(range(len(set(blocks))))


@pytest.mark.parametrize("paired", [False, True])
def test_blocks_add_their_variances_and_keep_their_degrees_of_freedom(paired):
    counts, weights = (6, 40), (0.3, 0.7)
    systems = draw(np.random.default_rng(4), 3, sum(counts))
    pooled = two_way(*(pool(each, counts, weights) for each in systems[::-1]), paired)
    alone = [two_way(cell(systems[1][:, part]), cell(systems[0][:, part]), paired) for part in (slice(6), slice(6, 46))]
    errors = [(weight * each.se_examples) ** 2 for weight, each in zip(weights, alone, strict=True)]
    assert pooled.se_examples**2 == pytest.approx(sum(errors))
    assert pooled.clusters == 46
    assert_df_of_examples(systems, counts, weights)


def assert_df_of_examples(systems, counts, weights):
    """With one seed only the examples are random, so their degrees of freedom are all there are."""
    single = two_way(*(pool(each[:1], counts, weights) for each in systems[::-1]))
    parts = np.split(systems[:, :1], np.cumsum(counts)[:-1], axis=2)
    errors = [
        (weight * two_way(cell(part[1]), cell(part[0])).se) ** 2 for weight, part in zip(weights, parts, strict=True)
    ]
    weighed = sum(error**2 / (count - 1) for error, count in zip(errors, counts, strict=True))
    assert single.df == pytest.approx(sum(errors) ** 2 / weighed)


def test_a_block_of_one_cluster_leaves_the_mean_without_an_interval():
    systems = draw(np.random.default_rng(4), 3, 21)
    result = two_way(*(pool(each, (1, 20)) for each in systems))
    assert math.isnan(result.low) and not math.isnan(result.difference)


# ---------------------------------------------------------------------------------------------------------- speed


def test_xnli_sized_means_take_milliseconds():
    """15 languages × 5 seeds × 5010 examples and their macro; the reference prototype took 5 ms, this bound is lax."""
    rng = np.random.default_rng(0)
    data = (rng.random((2, 5, 15, 5010)) < 0.7).astype(float)
    clusters = np.repeat(np.arange(1670), 3)
    began = time.perf_counter()
    parts = [[cell(system[:, k], clusters) for k in range(15)] for system in data]
    for k in range(15):
        two_way(parts[1][k], parts[0][k])
    two_way(*(combine(each, [1 / 15] * 15) for each in (parts[1], parts[0])))
    assert time.perf_counter() - began < 1.0
