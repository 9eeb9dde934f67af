"""What the two-way interval promises, kept in simulation: rare false alarms and honest coverage.

Simulations have fixed seeds, so they always pass or always fail; their bounds leave room for the Monte-Carlo error of
the number of repetitions.
"""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from xstilts.significance.two_way import combine, linearise, two_way


def cell(scores, first=0):
    """Plain per-example scores ``(seeds, examples)`` in [0, 1]; every example a cluster, numbered from ``first``."""
    return linearise(scores, np.ones_like(scores), np.arange(scores.shape[1]) + first)


def draw(rng, seeds=3, examples=60, run_sd=0.01):
    """Two systems: shared items, own runs, own noise ``(2, seeds, examples)``; no true difference."""
    item = rng.normal(0, 0.15, examples)
    run = rng.normal(0, run_sd, (2, seeds, 1))
    return 0.6 + item + run + rng.normal(0, 0.25, (2, seeds, examples))


@pytest.mark.parametrize("run_sd", [0.002, 0.006, 0.015])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_false_alarms_are_as_rare_as_promised(seeds, run_sd):
    rng = np.random.default_rng(np.random.SeedSequence([seeds, round(run_sd * 1000)]))
    repetitions = 1500
    alarms = sum(
        two_way(cell(b), cell(a)).p <= 0.05 for a, b in (draw(rng, seeds, 300, run_sd) for _ in range(repetitions))
    )
    assert 0.01 <= alarms / repetitions <= 0.065


@pytest.mark.parametrize("shared", [0.0, 0.2, 0.4])
def test_the_interval_of_a_mean_over_parallel_languages_covers_the_truth(shared):
    """``shared`` is the correlation between languages of the per-item differences."""
    rng = np.random.default_rng(np.random.SeedSequence([7, round(shared * 10)]))
    clustered, independent, repetitions = 0, 0, 300
    for _ in range(repetitions):
        systems = parallel_languages(rng, shared)
        clustered += covers(systems, parallel=True)
        independent += covers(systems, parallel=False)
    assert 0.92 <= clustered / repetitions <= 0.98
    if shared == 0.2:  # the guard against someone simplifying the clusters away
        assert independent / repetitions < 0.85


def parallel_languages(rng, shared, languages=15, items=200, seeds=5):
    """Two systems without a true difference ``(systems, seeds, languages, items)``."""
    item = rng.normal(0, 1, (2, 1, 1, items)) * math.sqrt(shared) + rng.normal(
        0, 1, (2, 1, languages, items)
    ) * math.sqrt(1 - shared)
    run = rng.normal(0, 0.002, (2, seeds, 1, 1))
    return 0.6 + 0.2 * item + run + rng.normal(0, 0.1, (2, seeds, languages, items))


def covers(systems, parallel):
    _, _, languages, items = systems.shape
    means = []
    for system in (systems[1], systems[0]):
        offsets = [0 if parallel else items * language for language in range(languages)]
        parts = [cell(system[:, k], offsets[k]) for k in range(languages)]
        means.append(combine(parts, [1 / languages] * languages))
    result = two_way(*means)
    return result.low <= 0 <= result.high


@pytest.mark.parametrize("few", [5, 20, 48])
def test_a_target_of_few_clusters_does_not_borrow_the_certainty_of_a_large_one(few):
    """Two targets, equal weights, 1000 clusters in the other; all clusters as one block cover .84 with 5.

    Items are harder for one system than for the other whatever the seed, so the examples bring in most of the variance.
    """
    rng = np.random.default_rng(np.random.SeedSequence([11, few]))
    blocks, single, repetitions = 0, 0, 1000
    for _ in range(repetitions):
        systems = parallel_languages(rng, 1.0, languages=1, items=few + 1000)[:, :, 0]
        sides = [combine([cell(each[:, :few]), cell(each[:, few:], few)], [0.5, 0.5]) for each in systems]
        result = two_way(*sides)
        blocks += result.low <= 0 <= result.high
        naive = two_way(*(side._replace(blocks=np.zeros_like(side.blocks)) for side in sides))
        single += naive.low <= 0 <= naive.high
    assert 0.92 <= blocks / repetitions <= 0.98
    if few == 5:  # the guard against someone simplifying the blocks away
        assert single / repetitions < 0.9


def test_pooling_seeds_and_examples_would_not_cover():
    """What a reader without this module might do; kept as the reason for it."""
    rng = np.random.default_rng(5)
    pooled, ours, repetitions = 0, 0, 300
    for _ in range(repetitions):
        reference, candidate = draw(rng, 5, 1200, 0.015)
        ours += two_way(cell(candidate), cell(reference)).p > 0.05
        pooled += scipy_stats.ttest_rel(candidate.ravel(), reference.ravel()).pvalue > 0.05
    assert ours / repetitions > 0.92
    assert pooled / repetitions < 0.75
