"""Power, detectable effects and plans: printed tables, simulation through the real test, and monotony."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from xstilts.errors import XstiltsError
from xstilts.significance import power as power_module
from xstilts.significance.power import (
    data_to_settle,
    exchange,
    half_width,
    half_widths,
    minimum_detectable,
    power,
    power_of_sign_test,
    seeds_to_settle,
)
from xstilts.significance.two_way import linearise, two_way
from xstilts.significance.variance import Noise


def setup(examples, run, seeds):
    """Points: a run's SD ``run``, 15 for the difference on an example, 25 for the rest; two unpaired systems."""
    return Noise((run**2,) * 2, (625 / examples,) * 2, 225 / examples, float(examples), (seeds,) * 2)


def by_formula(noise):
    """The textbook value: ``(t_.975 + t_.80)·SE``, with Satterthwaite's degrees of freedom at the true variances."""
    items = noise.items + sum(rest / count for rest, count in zip(noise.crossed, noise.seeds, strict=True))
    arms = [run / count for run, count in zip(noise.runs, noise.seeds, strict=True)]
    whole = items + sum(arms)
    terms = [arm**2 / (count - 1) for arm, count in zip(arms, noise.seeds, strict=True)]
    df = whole**2 / (items**2 / (noise.clusters - 1) + sum(terms))
    return float(scipy_stats.t.ppf([0.975, 0.8], df).sum() * math.sqrt(whole))


PRINTED = {  # examples → run SD .2 / .5 / 1.0 for 2, 3, 5, 10, 20 seeds
    5010: (
        (1.31, 2.20, 4.71),
        (1.11, 1.65, 3.02),
        (0.94, 1.28, 2.14),
        (0.78, 0.98, 1.50),
        (0.69, 0.81, 1.12),
    ),
    1190: ((2.44, 2.85, 4.41), (2.11, 2.39, 3.33), (1.81, 1.99, 2.58), (1.54, 1.65, 1.99), (1.39, 1.45, 1.64)),
    500: ((3.70, 3.95, 4.94), (3.21, 3.39, 4.03), (2.76, 2.88, 3.29), (2.36, 2.43, 2.67), (2.14, 2.17, 2.31)),
}


@pytest.mark.parametrize("examples", PRINTED)
def test_the_formula_gives_the_printed_table_and_simulation_what_it_lacks(examples):
    """The formula is 10 to 25 % too small with three seeds, and right with twenty."""
    excess = {}
    for (place, seeds), (column, run) in itertools.product(enumerate((2, 3, 5, 10, 20)), enumerate((0.2, 0.5, 1.0))):
        plan = setup(examples, run, seeds)
        assert by_formula(plan) == pytest.approx(PRINTED[examples][place][column], abs=0.006)
        excess.setdefault(seeds, []).append(minimum_detectable(plan) / by_formula(plan))
    assert all(0.97 < ratio < 1.05 for ratio in (*excess[10], *excess[20]))
    assert all(1.05 < ratio < 1.3 for ratio in excess[3])


def found(noise, effect, repetitions, seed):
    """Share of experiments, with all their examples, in which the two-way test finds the effect."""
    rng = np.random.default_rng(np.random.SeedSequence([2006, seed]))
    examples, hits, ones = int(noise.clusters), 0, {}
    for _ in range(repetitions):
        sides = []
        for arm, count in enumerate(noise.seeds):
            item = rng.normal(0, math.sqrt(noise.items * examples / 2), examples)
            run = rng.normal(0, math.sqrt(noise.runs[arm]), (count, 1))
            rest = rng.normal(0, math.sqrt(noise.crossed[arm] * examples), (count, examples))
            scores = (60 + item + run + rest + (0 if arm else effect)) / 100
            whole = ones.setdefault(scores.shape, np.ones_like(scores))
            sides.append(linearise(scores, whole, np.arange(examples)))
        hits += two_way(*sides).low > 0
    return hits / repetitions


@pytest.mark.parametrize(("seeds", "run"), [(3, 0.5), (5, 0.3), (5, 1.5), (10, 0.6)])
def test_the_detectable_effect_is_detected_as_often_as_promised(seeds, run):
    noise = setup(300, run, seeds)
    assert 0.76 <= found(noise, minimum_detectable(noise), 1200, seeds) <= 0.84


def test_the_formula_promises_too_much_with_three_seeds():
    noise = setup(300, 0.5, 3)
    assert found(noise, by_formula(noise), 1200, 3) < 0.74


def test_unlike_arms_and_power_at_another_effect():
    noise = Noise((0.2, 1.5), (1.0, 2.0), 0.8, 250.0, (3, 6))
    assert found(noise, 2.0, 1200, 7) == pytest.approx(power(noise, 2.0), abs=0.04)


def test_power_at_no_effect_is_no_more_than_a_false_alarm():
    assert all(power(setup(300, run, s), 0.0) <= 0.0275 for s in (2, 3, 5, 10) for run in (0.2, 1.5))


VARIANCE = st.floats(0.001, 4.0)


@settings(max_examples=30, deadline=None)
@given(VARIANCE, VARIANCE, VARIANCE, st.integers(20, 3000), st.integers(3, 12))
def test_power_grows_with_the_effect_and_the_seeds(run, rest, items, clusters, seeds):
    noise = Noise((run,) * 2, (rest,) * 2, items, float(clusters), (seeds,) * 2)
    chances = [power(noise, effect) for effect in np.linspace(0, 10, 6)]
    assert chances == sorted(chances)
    assert power(noise, 1.5) <= power(noise.at(seeds=seeds + 1), 1.5) + 1e-3
    assert power(noise, -1.5) == power(noise, 1.5)
    least = minimum_detectable(noise)
    assert power(noise, least) == pytest.approx(0.8, abs=1e-3)
    doubled = noise._replace(runs=(4 * run,) * 2, crossed=(4 * rest,) * 2, items=4 * items)
    assert minimum_detectable(doubled) == pytest.approx(2 * least, rel=1e-4), "in proportion to the unit"


def test_the_number_of_seeds_that_settles_is_the_smallest():
    noise = setup(5010, 0.5, 5)
    count = seeds_to_settle(noise, 1.0)
    assert power(noise.at(count), 1.0) >= 0.8 > power(noise.at(count - 1), 1.0)
    assert seeds_to_settle(setup(500, 0.5, 5), 1.0) is None, "the examples alone are too few"
    factor = data_to_settle(setup(500, 0.2, 5), 1.0)
    assert power(setup(500, 0.2, 5).at(data=factor), 1.0) == pytest.approx(0.8, abs=1e-3)
    assert data_to_settle(setup(500, 2.0, 3), 1.0) is None, "the seeds alone are too few"
    assert data_to_settle(setup(5010, 0.2, 20), 2.0) == 1.0


def test_seeds_or_data_depends_on_which_is_noisier():
    many_seeds, noisy_seeds = exchange(setup(500, 0.1, 10)), exchange(setup(5010, 2.0, 3))
    assert many_seeds.data < 1.1
    assert noisy_seeds.data is None and noisy_seeds.one_more_seed < noisy_seeds.now
    widths = half_widths(setup(1190, 0.5, 5), (3, 5, 10), (1.0, 2.0, 4.0))
    assert widths.shape == (3, 3) and (np.diff(widths, axis=0) < 0).all() and (np.diff(widths, axis=1) < 0).all()
    assert widths[1, 0] == half_width(setup(1190, 0.5, 5))


def test_half_width_is_the_median_of_real_intervals():
    rng = np.random.default_rng(np.random.SeedSequence([1, 2]))
    noise, widths = setup(200, 0.5, 5), []
    for _ in range(400):
        y = 0.6 + rng.normal(0, 0.15 / math.sqrt(2), (2, 1, 200)) + rng.normal(0, 0.005, (2, 5, 1))
        y = y + rng.normal(0, 0.25, (2, 5, 200))
        result = two_way(*(linearise(each, np.ones_like(each), np.arange(200)) for each in y))
        widths.append((result.high - result.low) / 2)
    assert np.median(widths) == pytest.approx(half_width(noise), rel=0.03)


def test_power_of_the_sign_test_is_the_published_one():
    """Card et al. 2020: the printed values are simulated, those in brackets summed."""
    assert power_of_sign_test(0.30, 0.28, 1000) == pytest.approx(0.1207, abs=5e-5)
    assert power_of_sign_test(0.0225, 0.0025, 500) == pytest.approx(0.7976, abs=5e-5)


def test_power_of_the_sign_test_equals_plain_enumeration():
    n, gain, loss, total = 12, 0.4, 0.1, 0.0
    for wins, losses in itertools.product(range(n + 1), repeat=2):
        if 0 < wins + losses <= n and wins > losses and scipy_stats.binomtest(wins, wins + losses).pvalue <= 0.05:
            table = [wins, losses, n - wins - losses]
            total += scipy_stats.multinomial.pmf(table, n, [gain, loss, 1 - gain - loss])
    assert power_of_sign_test(gain, loss, n) == pytest.approx(total)


def test_a_plan_takes_less_than_half_a_second():
    began = time.perf_counter()
    minimum_detectable(setup(5010, 0.7, 5))
    assert time.perf_counter() - began < 0.5


def test_unknown_noise_is_no_number():
    unknown = Noise((math.nan,), (math.nan,), 1.0, 100.0, (1,))
    assert (
        math.isnan(power(unknown, 1.0)) and math.isnan(minimum_detectable(unknown)) and math.isnan(half_width(unknown))
    )
    assert seeds_to_settle(unknown, 1.0) is None and data_to_settle(unknown, 1.0) is None
    assert seeds_to_settle(Noise((), (), 1.0, 100.0, ()), 1.0) is None, "nothing is trained"


def test_nothing_trained_leaves_the_examples():
    noise = Noise((), (), 4.0, 101.0, ())
    expected = scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, 100), 100, 3.0)
    assert power(noise, 6.0) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: minimum_detectable(setup(500, 0.5, 5), wanted=1.0),
        lambda: power_of_sign_test(0.1, 0.2, 100),
        lambda: power_of_sign_test(0.0, 0.0, 100),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(XstiltsError):
        call()


def test_draws_are_a_stratified_sample():
    for column in power_module._strata(5):
        assert sorted(column) == pytest.approx((np.arange(power_module.DRAWS) + 0.5) / power_module.DRAWS)
