"""The parts of a variance: they add up to the two-way one, are what was put in, and have honest intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.errors import XstiltsError
from xstilts.significance.two_way import combine, linearise, one_sample, two_way
from xstilts.significance.variance import decompose, noise


def cell(scores, first=0, deterministic=False):
    """Plain per-example scores ``(seeds, examples)`` in [0, 1]; every example a cluster, numbered from ``first``."""
    scores = np.asarray(scores, dtype=float)
    return linearise(scores, np.ones_like(scores), np.arange(scores.shape[1]) + first, deterministic)


def draw(rng, seeds=(4, 4), examples=50, run=0.01, own=0.15, rest=0.25):
    """Two systems whose examples are hard for each by itself, with own runs and noise: a list of two."""
    return [
        0.6 + rng.normal(0, own, examples) + rng.normal(0, run, (count, 1)) + rng.normal(0, rest, (count, examples))
        for count in seeds
    ]


SEEDED = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(SEEDED, st.booleans(), st.integers(1, 3))
def test_parts_add_up_to_the_two_way_variance(seed, paired, blocks):
    """Where no part is cut off at zero, they are the variance; what contains both of two parts is their sum."""
    rng = np.random.default_rng(seed)
    systems = draw(rng, examples=20 * blocks, run=0.05)
    sides = [
        combine([cell(s[:, 20 * b : 20 * b + 20], 100 * b) for b in range(blocks)], [1 / blocks] * blocks)
        for s in systems
    ]
    whole, parts = two_way(*sides, paired), decompose(*sides, paired)
    seeds, examples, interaction = (part.variance for part in parts)
    assert seeds == pytest.approx(max(whole.se_seeds**2 - interaction, 0))
    assert examples == pytest.approx(max(whole.se_examples**2 - interaction, 0))
    assert sum(part.share for part in parts) == pytest.approx(1)
    if seeds and examples:
        assert seeds + examples + interaction == pytest.approx(whole.se**2)
    ahead = noise(*sides, paired)
    predicted = ahead.items + sum(
        (run + rest) / count for run, rest, count in zip(ahead.runs, ahead.crossed, ahead.seeds, strict=True)
    )
    if all(ahead.runs) and ahead.items:
        assert predicted == pytest.approx(whole.se**2)


@settings(max_examples=20, deadline=None)
@given(SEEDED)
def test_order_and_side_are_irrelevant(seed):
    rng = np.random.default_rng(seed)
    one, other = draw(rng, (3, 5))
    expected = np.array(decompose(cell(one), cell(other)))
    order = rng.permutation(50)
    assert np.array(decompose(cell(other), cell(one))) == pytest.approx(expected)
    assert np.array(decompose(cell(one[::-1][:, order]), cell(other[:, order]))) == pytest.approx(expected)


def test_what_was_put_in_is_found_on_average():
    """Points: a run's SD is 10, that of an example 15 for each system, the rest 25; 4 and 6 runs on 80 examples."""
    rng = np.random.default_rng(np.random.SeedSequence([4, 80]))
    found = [noise(*(cell(s) for s in draw(rng, (4, 6), 80, run=0.1))) for _ in range(300)]
    assert np.mean([each.runs for each in found], axis=0) == pytest.approx([100, 100], rel=0.1)
    assert np.mean([each.crossed for each in found], axis=0) == pytest.approx([625 / 80] * 2, rel=0.03)
    assert np.mean([each.items for each in found]) == pytest.approx(2 * 225 / 80, rel=0.05)
    assert found[0].clusters == pytest.approx(80)
    assert found[0].seeds == (4, 6)


def test_intervals_of_the_parts_cover_them():
    rng = np.random.default_rng(np.random.SeedSequence([5, 60]))
    truth, hits = (4 / 5, 225 / 60, 625 / (5 * 60)), np.zeros(3)
    for _ in range(500):
        parts = decompose(cell(draw(rng, (5,), 60, run=0.02)[0]))
        hits += [part.low <= value <= part.high for part, value in zip(parts, truth, strict=True)]
    assert (hits / 500 >= 0.92).all() and (hits / 500 <= 0.99).all()


def test_one_score_by_itself():
    scores = draw(np.random.default_rng(0), (5,), run=0.1)[0]
    parts, whole = decompose(cell(scores)), one_sample(cell(scores))
    assert sum(part.variance for part in parts) == pytest.approx(whole.se**2)
    assert all(part.low <= part.variance <= part.high for part in parts)


def test_a_single_seed_leaves_it_unknown():
    one, other = draw(np.random.default_rng(0), (1, 4))
    assert all(math.isnan(value) for part in decompose(cell(one), cell(other)) for value in part)
    assert not noise(cell(one), cell(other)).is_known


def test_what_is_not_trained_has_no_runs():
    one, bare = draw(np.random.default_rng(0), (4, 1), run=0.1)
    ahead = noise(cell(one), cell(bare, deterministic=True))
    assert ahead.seeds == (4,) and ahead.is_known
    nothing = noise(cell(bare, deterministic=True), cell(one[:1], deterministic=True))
    parts = decompose(cell(bare, deterministic=True), cell(one[:1], deterministic=True))
    assert nothing.seeds == () and parts.seeds == (0, 0, 0, 0) and parts.examples.share == 1


def test_a_plan_scales_what_it_should():
    ahead = noise(*(cell(s) for s in draw(np.random.default_rng(0), run=0.1)))
    plan = ahead.at(seeds=9, data=2.0)
    assert (plan.runs, plan.seeds) == (ahead.runs, (9, 9))
    assert (plan.items, plan.clusters) == (ahead.items / 2, 2 * ahead.clusters)
    assert ahead.at() == ahead


def test_no_variance_is_no_share():
    assert math.isnan(decompose(cell(np.ones((3, 10)))).seeds.share)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(XstiltsError, match="same examples"):
        decompose(cell(np.ones((3, 10))), cell(np.ones((3, 9))))
    with pytest.raises(XstiltsError, match="paired seeds"):
        noise(cell(np.ones((3, 10))), cell(np.ones((2, 10))), paired=True)
