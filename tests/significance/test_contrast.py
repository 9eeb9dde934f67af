"""Linear contrasts, against the two-arm engine, written-out sums and simulation; what shared trainings do to them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.contrast import Arm, contrast
from xstilts.significance.two_way import linearise, two_way
from xstilts.significance.variance import noise


def cell(scores, clusters=None, deterministic=False):
    """A cell of plain per-example scores ``(seeds, examples)`` in [0, 1]."""
    scores = np.asarray(scores, dtype=float)
    codes = np.arange(scores.shape[1]) if clusters is None else np.asarray(clusters)
    return linearise(scores, np.ones_like(scores), codes, deterministic)


def own(name, seeds):
    """Objects of an arm that shares nothing with another."""
    return tuple(frozenset({f"{name}{seed}"}) for seed in range(seeds))


def draw(rng, arms=2, seeds=3, examples=60, run_sd=0.01):
    """Systems without a true difference ``(arms, seeds, examples)``: shared items, own runs, own noise."""
    item, run = rng.normal(0, 0.15, examples), rng.normal(0, run_sd, (arms, seeds, 1))
    return 0.6 + item + run + rng.normal(0, 0.25, (arms, seeds, examples))


def same(one, other):
    numbers = [[value for value in each if isinstance(value, float)] for each in (one, other)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-9, nan_ok=True)
    assert (one.scope, one.clusters) == (other.scope, other.clusters)


# ------------------------------------------------------------------------------------------------- two arms


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_two_arms_that_share_nothing_are_the_unpaired_comparison(seed, ours, theirs, size):
    rng = np.random.default_rng(seed)
    clusters = np.arange(60) // size
    a, b = cell(draw(rng, 1, ours)[0], clusters), cell(draw(rng, 1, theirs)[0], clusters)
    found = contrast([Arm(a, 1.0, own("a", ours)), Arm(b, -1.0, own("b", theirs))])
    same(found.interval, two_way(a, b))
    assert not found.shared
    assert np.allclose(flat(found.noise), flat(noise(a, b)), equal_nan=True)


def flat(noise):
    return [*noise.runs, *noise.crossed, noise.items, noise.clusters, *noise.seeds]


@pytest.mark.parametrize("how", ["declared", "by what they share"])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_replicates_that_are_shared_one_by_one_are_the_paired_comparison(seeds, how):
    rng = np.random.default_rng(seeds)
    a, b = (cell(each) for each in draw(rng, 2, seeds))
    keys = [frozenset({f"source{seed}"}) for seed in range(seeds)]
    objects = [tuple(key | {f"{name}{n}"} for n, key in enumerate(keys)) for name in "ab"]
    if how == "declared":
        found = contrast([Arm(a, 1.0, own("a", seeds)), Arm(b, -1.0, own("b", seeds))], paired=True)
    else:
        found = contrast([Arm(a, 1.0, objects[0]), Arm(b, -1.0, objects[1])])
    same(found.interval, two_way(a, b, paired=True))
    assert found.shared


def test_the_order_of_seeds_does_not_matter_to_what_they_share():
    rng = np.random.default_rng(3)
    scores = draw(rng, 2, 4)
    keys = tuple(frozenset({f"source{seed}"}) for seed in range(4))
    turned = [2, 0, 3, 1]
    straight = contrast([Arm(cell(scores[0]), 1.0, keys), Arm(cell(scores[1]), -1.0, keys)])
    other = Arm(cell(scores[1][turned]), -1.0, tuple(keys[place] for place in turned))
    same(straight.interval, contrast([Arm(cell(scores[0]), 1.0, keys), other]).interval)


def test_a_training_behind_all_seeds_of_an_arm_joins_nothing():
    """Its luck cannot be estimated; the result is conditional on it."""
    rng = np.random.default_rng(4)
    a, b = (cell(each) for each in draw(rng, 2, 3))
    fixed = [tuple(each | {"one for all"} for each in own(name, 3)) for name in "ab"]
    found = contrast([Arm(a, 1.0, fixed[0]), Arm(b, -1.0, fixed[1])])
    same(found.interval, two_way(a, b))


@pytest.mark.parametrize("count", [1, 3])
def test_an_arm_without_training_has_no_seeds(count):
    rng = np.random.default_rng(5)
    a, bare = cell(draw(rng, 1, count)[0]), cell(draw(rng, 1, 1)[0], deterministic=True)
    found = contrast([Arm(a, 1.0, own("a", count)), Arm(bare, -1.0)])
    same(found.interval, two_way(a, bare))
    alone = contrast([Arm(bare, 1.0), Arm(bare, -0.5)])
    assert alone.interval.scope == "procedure" and alone.noise.seeds == ()


# ------------------------------------------------------------------------------------------------- several arms


def test_four_arms_against_sums_written_out():
    """Retention: unlike weights, two of the arms share their sources, the others nothing."""
    rng = np.random.default_rng(6)
    seeds, examples, weights = 3, 60, (1.0, -1.0, -0.9, 0.9)
    scores = draw(rng, 4, seeds, examples)
    keys = [own("x", seeds), own("b", seeds), own("x", seeds), own("d", seeds)]
    arms = [Arm(cell(each), weight, key) for each, weight, key in zip(scores, weights, keys, strict=True)]
    found = contrast(arms).interval

    means = 100 * scores.mean(axis=2)
    u = 100 * scores - means[:, :, None]  # (arms, seeds, examples), examples × influence
    v_ex = np.tensordot(weights, u.mean(axis=1), 1).var(ddof=1) / examples
    combined = [(np.array(each), value) for each, value in ((means[0] - 0.9 * means[2], u[0] - 0.9 * u[2]),)]
    combined += [(weights[m] * means[m], weights[m] * u[m]) for m in (1, 3)]
    v_seed = [each.var(ddof=1) / seeds for each, _ in combined]
    v_int = [
        ((table - table.mean(axis=0)) ** 2).sum() / ((seeds - 1) * (examples - 1)) / (seeds * examples)
        for _, table in combined
    ]
    v = max(v_ex + sum(v_seed) - sum(v_int), v_ex, sum(v_seed))
    df = v**2 / (v_ex**2 / (examples - 1) + sum(each**2 / (seeds - 1) for each in v_seed))
    assert found.difference == pytest.approx(np.dot(weights, means.mean(axis=1)))
    assert found.se == pytest.approx(math.sqrt(v))
    assert found.df == pytest.approx(df)
    assert found.high - found.low == pytest.approx(2 * scipy_stats.t.ppf(0.975, df) * math.sqrt(v))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(4)), st.floats(0.1, 5))
def test_the_order_of_arms_does_not_matter_and_scale_is_scale(seed, order, scale):
    rng = np.random.default_rng(seed)
    weights = (0.5, 0.5, -0.3, -0.7)
    keys = [own("x", 3), own("y", 3), own("y", 3), own("z", 3)]
    arms = [Arm(cell(e), w, k) for e, w, k in zip(draw(rng, 4), weights, keys, strict=True)]
    found, turned = contrast(arms).interval, contrast([arms[place] for place in order]).interval
    same(found, turned)
    scaled = contrast([arm._replace(weight=arm.weight * scale) for arm in arms]).interval
    assert (scaled.difference, scaled.se) == pytest.approx((scale * found.difference, scale * found.se))
    assert (scaled.df, scaled.p) == pytest.approx((found.df, found.p))


def test_an_arm_in_two_halves_is_the_arm():
    """What the same runs add in two places is added before it is squared."""
    rng = np.random.default_rng(8)
    a, b = (cell(each) for each in draw(rng, 2))
    whole = contrast([Arm(a, 1.0, own("a", 3)), Arm(b, -1.0, own("b", 3))])
    halves = [Arm(a, 0.5, own("a", 3)), Arm(a, 0.5, own("a", 3)), Arm(b, -1.0, own("b", 3))]
    same(whole.interval, contrast(halves).interval)


def test_what_is_subtracted_from_itself_has_no_variance():
    a = cell(draw(np.random.default_rng(9), 1)[0])
    found = contrast([Arm(a, 1.0, own("a", 3)), Arm(a, -1.0, own("a", 3))]).interval
    assert found.difference == 0 and found.se == 0 and math.isnan(found.p)


def test_seeds_that_are_shared_in_part_count_as_the_fewest():
    rng = np.random.default_rng(10)
    a, b = cell(draw(rng, 1, 5)[0]), cell(draw(rng, 1, 3)[0])
    found = contrast([Arm(a, 1.0, own("s", 5)), Arm(b, -1.0, own("s", 3))])
    assert found.shared and found.noise.seeds == (3,)
    single = contrast([Arm(a, 1.0, own("s", 5)), Arm(cell(draw(rng, 1, 1)[0]), -1.0, own("s", 1))])
    assert single.interval.scope == "artefact"


def test_bad_arms_are_refused():
    rng = np.random.default_rng(11)
    a, b = cell(draw(rng, 1)[0]), cell(draw(rng, 1, 2)[0])
    other = cell(draw(rng, 1)[0], np.arange(60) + 1)
    with pytest.raises(XstiltsError, match="not scored on the same examples"):
        contrast([Arm(a, 1.0, own("a", 3)), Arm(other, -1.0, own("b", 3))])
    with pytest.raises(XstiltsError, match="as many seeds"):
        contrast([Arm(a, 1.0, own("a", 3)), Arm(b, -1.0, own("b", 2))], paired=True)


# ------------------------------------------------------------------------------------------------- simulation


@pytest.mark.parametrize("detected", [True, False])
def test_a_sum_over_arms_that_share_their_sources_is_covered_only_if_that_is_seen(detected):
    """Mean of three systems that build on the same intermediate run of a seed, against one of its own.

    The negative control takes them for independent, and promises too much.
    """
    rng = np.random.default_rng(np.random.SeedSequence([20, detected]))
    repetitions, seeds, examples, covered = 600, 5, 150, 0
    for _ in range(repetitions):
        source = rng.normal(0, 0.08, (seeds, 1))
        scores = draw(rng, 4, seeds, examples, 0.004)
        scores[:3] += source
        arms = [Arm(cell(scores[m]), 1 / 3, own("source" if detected else f"source of {m}: ", seeds)) for m in range(3)]
        found = contrast([*arms, Arm(cell(scores[3]), -1.0, own("reference", seeds))]).interval
        covered += found.low <= 0 <= found.high
    rate = covered / repetitions
    assert (0.93 <= rate <= 0.985) if detected else rate < 0.85
