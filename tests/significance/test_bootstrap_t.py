"""The bootstrap-t interval: where it equals the two-way one, where it must be wider, and that it covers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.errors import XstiltsError
from xstilts.significance.bootstrap_t import Cell, bootstrap_t, is_needed
from xstilts.significance.two_way import combine, linearise, two_way


def draw(rng, clusters, chances, seeds=1, run=0.0, heavy=False):
    """Numerators of two systems, shared denominators, cluster codes; cluster sums are skewed near 0 and 1."""
    sizes = np.ceil(rng.lognormal(1, 1.2, clusters)) if heavy else rng.integers(1, 8, clusters)
    below = np.repeat(sizes[None].astype(float), seeds, axis=0)
    sides = []
    for chance in chances:
        base = rng.beta(6 * chance, 6 * (1 - chance), clusters).clip(1e-9, 1 - 1e-9)
        each = 1 / (1 + np.exp(-(np.log(base / (1 - base)) + rng.normal(0, run, (seeds, 1)))))
        sides.append(rng.binomial(below.astype(int), each).astype(float))
    return sides, below, np.arange(clusters)


def both(sides, below, codes, **options):
    ours = bootstrap_t(*([Cell(side, below, codes)] for side in sides), **options)
    return ours, two_way(*(linearise(side, below, codes) for side in sides))


@pytest.mark.parametrize(("seeds", "run"), [(1, 0.0), (4, 0.3)])
def test_with_many_clusters_it_is_the_two_way_interval(seeds, run):
    ours, closed = both(*draw(np.random.default_rng(3), 600, (0.6, 0.5), seeds, run))
    assert ours.difference == closed.difference and ours.scope == closed.scope
    assert (ours.high - ours.low) == pytest.approx(closed.high - closed.low, rel=0.04)
    assert ours.p == pytest.approx(closed.p, abs=0.02)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_it_is_never_narrower_and_does_not_depend_on_order(seed, seeds, paired):
    rng = np.random.default_rng(seed)
    sides, below, codes = draw(rng, 15, (0.7, 0.5), seeds, 0.2)
    ours = bootstrap_t(*([Cell(side, below, codes)] for side in sides), paired=paired, resamples=200)
    closed = two_way(*(linearise(side, below, codes) for side in sides), paired)
    assert ours.low <= max(closed.low, -100) + 1e-9 and ours.high >= min(closed.high, 100) - 1e-9
    assert closed.p - 1e-6 <= ours.p <= 1
    assert (ours.p < 0.05) == (not ours.low <= 0 <= ours.high) or ours.p == pytest.approx(0.05, abs=0.01)
    order = rng.permutation(15)
    shuffled = [[Cell(side[::-1][:, order], below[:, order], codes[order])] for side in sides]
    again = bootstrap_t(*shuffled, paired=paired, resamples=200)
    assert (again.difference, again.scope) == (pytest.approx(ours.difference), ours.scope)
    assert (again.low, again.high) == pytest.approx((ours.low, ours.high))


@pytest.mark.parametrize("chances", [(0.99, 0.9), (0.6, 0.5)])
def test_with_fifty_unlike_clusters_it_covers_what_the_two_way_interval_misses(chances):
    """Cluster sizes are log-normal and scores near 100, so that t is skewed; two particular models."""
    rng = np.random.default_rng(np.random.SeedSequence([50, int(100 * chances[0])]))
    truth, hits, repetitions = 100 * (chances[0] - chances[1]), np.zeros(2), 400
    for _ in range(repetitions):
        ours, closed = both(*draw(rng, 50, chances, heavy=True), resamples=500)
        hits += [ours.low <= truth <= ours.high, closed.low <= truth <= closed.high]
    assert 0.92 <= hits[0] / repetitions <= 0.98
    assert hits[1] < hits[0]


@pytest.mark.parametrize(("clusters", "chance"), [(10, 0.6), (50, 0.97)])
def test_with_seeds_false_alarms_stay_rare(clusters, chance):
    rng = np.random.default_rng(np.random.SeedSequence([clusters, 5]))
    alarms = sum(both(*draw(rng, clusters, (chance, chance), 5, 0.3), resamples=200)[0].p <= 0.05 for _ in range(300))
    assert alarms / 300 <= 0.065


def test_cells_share_draws_and_blocks_do_not():
    """Two languages of the same clusters that are copies of each other are one; other targets are strata."""
    sides, below, codes = draw(np.random.default_rng(4), 25, (0.8, 0.6))
    alone = bootstrap_t(*([Cell(side, below, codes)] for side in sides))
    twice = bootstrap_t(*([Cell(side, below, codes, 0.5)] * 2 for side in sides))
    assert (twice.low, twice.high, twice.p) == pytest.approx((alone.low, alone.high, alone.p))
    more, further, _ = draw(np.random.default_rng(5), 40, (0.8, 0.6))
    strata = [
        [Cell(side, below, codes, 0.5), Cell(other, further, np.arange(40) + 25, 0.5)]
        for side, other in zip(sides, more, strict=True)
    ]
    mixed = bootstrap_t(*strata)
    closed = two_way(*(combine([linearise(*cell[:3]) for cell in cells], [0.5, 0.5]) for cells in strata))
    assert mixed.difference == pytest.approx(closed.difference)
    assert mixed.low == pytest.approx(closed.low, abs=2) and mixed.low <= closed.low


def test_examples_inside_clusters_are_summed():
    sides, below, codes = draw(np.random.default_rng(6), 20, (0.8, 0.6))
    split = np.repeat(codes, 2)
    halves = [[Cell(np.repeat(side / 2, 2, axis=1), np.repeat(below / 2, 2, axis=1), split)] for side in sides]
    whole = bootstrap_t(*([Cell(side, below, codes)] for side in sides))
    assert bootstrap_t(*halves)[:4] == pytest.approx(whole[:4])


def test_it_ends_at_what_is_possible():
    sides, below, codes = draw(np.random.default_rng(0), 6, (0.97, 0.3), heavy=True)
    found = bootstrap_t(*([Cell(side, below, codes)] for side in sides))
    assert -100 <= found.low <= found.difference <= found.high <= 100


def test_where_nothing_varies_nothing_can_be_said():
    cells = [Cell(np.ones((2, 10)), np.ones((2, 10)), np.arange(10))]
    found = bootstrap_t(cells, [cells[0]._replace(numerator=np.zeros((2, 10)))])
    assert found.difference == 100 and math.isnan(found.low) and math.isnan(found.p)


def test_a_side_without_training_has_one_row():
    sides, below, codes = draw(np.random.default_rng(8), 20, (0.8, 0.6), 4, 0.3)
    bare = [Cell(sides[1][:1], below[:1], codes, deterministic=True)]
    found = bootstrap_t([Cell(sides[0], below, codes)], bare)
    assert found.scope == "procedure" and found.low < found.difference < found.high


def test_when_it_is_needed():
    rng = np.random.default_rng(0)
    few, near, fine = (
        [linearise(side, below, codes) for side in sides]
        for sides, below, codes in (draw(rng, 20, (0.6, 0.5)), draw(rng, 80, (0.99, 0.6)), draw(rng, 80, (0.6, 0.5)))
    )
    assert is_needed(*few) and is_needed(*near) and not is_needed(*fine)


def test_too_few_resamples_are_refused():
    sides, below, codes = draw(np.random.default_rng(0), 20, (0.6, 0.5))
    with pytest.raises(XstiltsError, match="100 resamples"):
        both(sides, below, codes, resamples=50)
    with pytest.raises(XstiltsError, match="same examples"):
        bootstrap_t([Cell(sides[0], below, codes)], [Cell(sides[1], below, codes + 1)])
