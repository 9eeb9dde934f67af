"""Pools and variance components against statsmodels."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("statsmodels")
import statsmodels.formula.api as smf
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.meta_analysis import combine_effects

from xstilts.significance.power import power_of_sign_test
from xstilts.significance.random_effects import pool
from xstilts.significance.two_way import linearise
from xstilts.significance.variance import noise


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("ours", "theirs"), [("paule-mandel", "iterated"), ("dersimonian-laird", "chi2")])
def test_pool_over_tasks(seed, ours, theirs):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.1, 2, 9)
    effects = rng.normal(3, np.sqrt(variances + rng.choice([0.0, 1.0, 6.0])))
    found, fit = pool(effects, variances, ours), combine_effects(effects, variances, method_re=theirs, atol=1e-10)
    tau2 = max(fit.tau2, 0.0)
    assert found.tau2 == pytest.approx(tau2, abs=1e-6)
    assert found.q == pytest.approx(fit.q)
    if tau2:
        assert (found.effect, found.se_plain) == pytest.approx((fit.mean_effect_re, fit.sd_eff_w_re), rel=1e-6)
        assert found.se == pytest.approx(max(fit.sd_eff_w_re_hksj, fit.sd_eff_w_re), rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_variance_components_are_those_of_a_mixed_model():
    """Two systems that vary alike, as the model has it: the means of our arms' components are its components."""
    rng = np.random.default_rng(3)
    seeds, items = 4, 25
    item, crossed = rng.normal(0, 0.15, items), rng.normal(0, 0.1, (2, 1, items))
    run = rng.normal(0, 0.06, (2, seeds, 1))
    y = 0.6 + np.array([0, 0.03])[:, None, None] + item + crossed + run + rng.normal(0, 0.2, (2, seeds, items))
    ours = noise(*(linearise(each, np.ones_like(each), np.arange(items)) for each in y))

    rows = [(m, f"{m}-{s}", i, f"{m}-{i}", y[m, s, i], 1) for m, s, i in np.ndindex(y.shape)]
    frame = pd.DataFrame(rows, columns=["m", "run", "item", "crossed", "y", "all"])
    parts = {name: f"0 + C({name})" for name in ("run", "item", "crossed")}
    fit = smf.mixedlm("y ~ m", frame, groups="all", vc_formula=parts).fit(reml=True)
    theirs = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True))
    assert np.mean(ours.crossed) == pytest.approx(1e4 * fit.scale / items, rel=5e-3)
    assert np.mean(ours.runs) == pytest.approx(1e4 * theirs["run"], rel=5e-3)
    assert ours.items == pytest.approx(2e4 * theirs["crossed"] / items, rel=5e-3)


def test_power_of_the_sign_test_is_the_rate_of_its_rejections():
    rng = np.random.default_rng(np.random.SeedSequence([2020]))
    tables = rng.multinomial(200, [0.15, 0.06, 0.79], 1000)
    found = [a > b and mcnemar([[0, a], [b, 0]], exact=True).pvalue <= 0.05 for a, b, _ in tables]
    assert np.mean(found) == pytest.approx(power_of_sign_test(0.15, 0.06, 200), abs=0.04)
