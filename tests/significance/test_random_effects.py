"""Pools over tasks and shrunken effects: printed values, rules known in closed form, coverage, the winner's curse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance.random_effects import pool, shrink

EFFECTS = np.array([61.00, 61.40, 62.21, 62.30, 62.34, 62.60, 62.70, 62.84, 65.90])
VARIANCES = np.array([0.2025, 1.2100, 0.0900, 0.2025, 0.3844, 0.5625, 0.0676, 0.0225, 1.8225])


def test_the_printed_pools():
    ours = pool(EFFECTS, VARIANCES)
    assert (ours.effect, ours.se, ours.tau2) == pytest.approx((62.407620, 0.338030, 0.705394), abs=2e-6)
    other = pool(EFFECTS, VARIANCES, "dersimonian-laird")
    assert (other.effect, other.se_plain, other.tau2) == pytest.approx((62.390139, 0.245750, 0.288049), abs=1e-6)
    assert (other.se, other.i2, other.q) == pytest.approx((0.294776, 0.6774, 24.8019), abs=5e-5)
    assert other.p_q == pytest.approx(scipy_stats.chi2.sf(24.8019, 8), rel=1e-4)


def test_eight_schools():
    """Rubin (1981): no spread beyond the errors, mean 7.7, standard error 4.1."""
    errors = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    found = pool(np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), errors**2)
    assert (found.tau2, found.i2) == (0.0, 0.0)
    assert (found.effect, found.se) == pytest.approx((7.69, 4.07), abs=0.005), "never narrower than without spread"


def test_of_equal_variances_the_pool_is_a_t_test():
    effects = np.array([1.0, 2.5, -0.5, 4.0, 3.0])
    for method in ("paule-mandel", "dersimonian-laird"):
        found, test = pool(effects, np.full(5, 0.1), method), scipy_stats.ttest_1samp(effects, 0)
        assert (found.p, found.low) == pytest.approx((test.pvalue, test.confidence_interval().low))
        assert found.tau2 == pytest.approx(effects.var(ddof=1) - 0.1)


def test_the_prediction_interval_is_that_of_a_simulation_of_what_is_not_known():
    """With equal variances Q is a sum of squares over ``v + τ²``, so that τ² can be drawn without solving for it."""
    effects, rng = np.array([1.0, 2.5, -0.5, 4.0, 3.0]), np.random.default_rng(0)
    found = pool(effects, np.full(5, 0.5))
    tau2 = np.maximum(np.sum((effects - 2) ** 2) / rng.chisquare(4, 400_000) - 0.5, 0)
    further = rng.normal(2, np.sqrt(tau2 + (tau2 + 0.5) / 5))
    expected = np.quantile(further, (0.025, 0.975))
    assert (found.low_predicted, found.high_predicted) == pytest.approx(expected, rel=0.03)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 10), st.floats(0, 5))
def test_order_shift_scale_and_weights(seed, count, spread):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.1, 2, count)
    effects = rng.normal(0, np.sqrt(variances + spread))
    found, order = pool(effects, variances), rng.permutation(count)
    again = pool(effects[order], variances[order])
    assert again.weights == pytest.approx(found.weights[order])
    assert again[:-1] == pytest.approx(found[:-1], abs=1e-7, nan_ok=True)
    moved = pool(-2 * effects + 5, 4 * variances)
    assert (moved.effect, moved.high) == pytest.approx((-2 * found.effect + 5, -2 * found.low + 5), abs=1e-6)
    assert found.weights.sum() == pytest.approx(1)
    if found.tau2:
        rest = (effects - found.effect) ** 2 / (variances + found.tau2)
        assert rest.sum() == pytest.approx(count - 1), "the equation that defines it"
    assert math.isnan(found.high_predicted) == (count == 2)


@pytest.mark.parametrize("spread", [0.0, 1.0, 9.0])
def test_intervals_cover_the_mean_and_the_next_task(spread):
    rng = np.random.default_rng(np.random.SeedSequence([3, int(spread)]))
    hits, repetitions = np.zeros(2), 400
    for _ in range(repetitions):
        variances = rng.uniform(0.2, 2, 9)
        found = pool(rng.normal(2, np.sqrt(variances + spread)), variances)
        further = rng.normal(2, math.sqrt(spread))
        hits += [found.low <= 2 <= found.high, found.low_predicted <= further <= found.high_predicted]
    assert hits[0] / repetitions >= 0.92 and hits[1] / repetitions >= 0.9


# ------------------------------------------------------------------------------------------------------ shrinkage


def test_of_equal_variances_shrinkage_is_efron_and_morris_rule():
    """Towards the mean by ``1 − (K−3)·v/S``, S the sum of squares around it (1975, JASA 70:311)."""
    effects, variance = np.array([4.0, 1.0, -1.0, 6.0, 2.0, 0.0]), 1.5
    spread = float(np.sum((effects - effects.mean()) ** 2))
    rule = effects.mean() + (1 - 3 * variance / spread) * (effects - effects.mean())
    found = shrink(effects[:, None], np.full((6, 1), variance))
    assert found.effects[:, 0] == pytest.approx(rule)
    assert found.towards == pytest.approx([effects.mean()])


def test_columns_are_shrunken_by_themselves_and_missing_cells_stay_missing():
    rng = np.random.default_rng(0)
    effects, variances = rng.normal([0, 40, 3], [1, 2, 1], (9, 3)), np.full((9, 3), 0.5)
    effects[3:, 2] = np.nan
    effects[0, 0] = variances[0, 0] = np.nan
    found = shrink(effects, variances)
    alone = shrink(effects[:, 1:2], variances[:, 1:2])
    assert found.effects[:, 1] == pytest.approx(alone.effects[:, 0]), "a target of large effects does not spread"
    assert np.isnan(found.effects[0, 0]) and np.isnan(found.kept[0, 0])
    assert found.effects[:3, 2] == pytest.approx(effects[:3, 2]) and math.isnan(found.towards[2])
    inside = np.abs(found.effects - found.towards) <= np.abs(effects - found.towards) + 1e-12
    assert inside[1:, :2].all()
    assert (found.errors[1:, :2] < math.sqrt(0.5) + 0.2).all()


def test_the_winners_curse_and_what_helps():
    """Nine intermediates without any effect, standard error .5: the best of nine gains .74 points by luck alone.

    Chosen on other data than it is scored on it gains nothing, which is the honest answer; shrinkage takes most of it.
    """
    rng = np.random.default_rng(np.random.SeedSequence([9, 5]))
    dev, test = rng.normal(0, 0.5, (2, 4000, 9))
    naive = test.max(axis=1).mean()
    honest = np.take_along_axis(test, dev.argmax(axis=1)[:, None], axis=1).mean()
    shrunken = shrink(test[:600].T, np.full((9, 600), 0.25)).effects.max(axis=0).mean()
    assert naive == pytest.approx(0.74, abs=0.02)
    assert abs(honest) < 0.05
    assert shrunken < 0.3


def test_shrunken_effects_are_nearer_to_the_truth_and_their_errors_honest():
    rng = np.random.default_rng(np.random.SeedSequence([9, 6]))
    truth, variances = rng.normal(3, 1, (9, 400)), rng.uniform(0.3, 3, (9, 400))
    measured = rng.normal(truth, np.sqrt(variances))
    found = shrink(measured, variances)
    assert np.mean((found.effects - truth) ** 2) < 0.75 * np.mean((measured - truth) ** 2)
    assert np.mean(np.abs(found.effects - truth) < 1.96 * found.errors) > 0.9


@pytest.mark.parametrize(
    "call",
    [
        lambda: pool(np.ones(1), np.ones(1)),
        lambda: pool(np.ones(3), np.array([1.0, 0.0, 1.0])),
        lambda: pool(np.array([1.0, np.nan]), np.ones(2)),
        lambda: shrink(np.ones((3, 2)), np.ones((2, 3))),
        lambda: shrink(np.ones((5, 1)), np.zeros((5, 1))),
    ],
)
def test_what_cannot_be_pooled_is_refused(call):
    with pytest.raises(XstiltsError, match="needs"):
        call()
