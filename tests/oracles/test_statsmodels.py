import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from xstilts.significance.two_way import linearise, two_way


@pytest.mark.filterwarnings("ignore")
def test_standard_error_is_that_of_a_mixed_model_with_crossed_runs_and_items():
    rng = np.random.default_rng(3)
    seeds, items = 4, 25
    item, crossed = rng.normal(0, 0.15, items), rng.normal(0, 0.1, (2, 1, items))
    run = rng.normal(0, 0.06, (2, seeds, 1))
    y = 0.6 + np.array([0, 0.03])[:, None, None] + item + crossed + run + rng.normal(0, 0.2, (2, seeds, items))
    reference, candidate = (linearise(each, np.ones_like(each), np.arange(items)) for each in y)
    ours = two_way(candidate, reference)

    rows = [(m, f"{m}-{s}", i, f"{m}-{i}", y[m, s, i], 1) for m, s, i in np.ndindex(y.shape)]
    frame = pd.DataFrame(rows, columns=["m", "run", "item", "crossed", "y", "all"])
    parts = {name: f"0 + C({name})" for name in ("run", "item", "crossed")}
    fit = smf.mixedlm("y ~ m", frame, groups="all", vc_formula=parts).fit(reml=True)
    assert ours.difference == pytest.approx(100 * fit.params["m"], rel=1e-6)
    assert ours.se == pytest.approx(100 * fit.bse["m"], rel=1e-3)
