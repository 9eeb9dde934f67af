"""What an experiment can show: the power of the two-way test, and what more seeds or more data would buy.

The test is that of :mod:`~xstilts.significance.two_way`, and its power is *simulated*: with few seeds its own variance
and degrees of freedom scatter, which the textbook formula ``(t_.975 + t_.80)·SE`` leaves out; what it promises as 80 %
is 64 % with three seeds. Under the normal model of :mod:`~xstilts.significance.variance` the mean squares of a balanced
layout are independent chi-squared variables (Scheffé 1959, *The Analysis of Variance*), so a draw is three or
four numbers and no examples. The draws are stratified and always the same ones; given a draw, the chance that the
interval excludes zero is exact. So power is a smooth and monotone function of the effect and of the number of seeds.

Power is the probability of a significant result *in the direction of the effect*. The lower end of a 95 % interval
passing a margin is the same event, so the power of a non-inferiority test at margin m is that of the effect ``true
difference + m``. None of this is to be computed at the difference that was observed (Hoenig & Heisey 2001, The American
Statistician 55:19): such "power" only restates the p-value.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, stdtrit
from scipy.stats import binom

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats
from xstilts.significance.variance import Noise

POWER = 0.8
MOST_SEEDS = 200  # beyond it, more seeds are no plan
MOST_DATA = 1000.0  # times the data there are

DRAWS = 500
_ENTROPY = 20060107


def power(noise: Noise, effect: float, level: float = LEVEL) -> float:
    """Return the probability that the interval excludes zero on the side of the effect.

    Args:
        noise: of the experiment; :meth:`~xstilts.significance.variance.Noise.at` plans another one.
        effect: the true difference, in points; its sign does not matter. For non-inferiority add the margin.
        level: of the interval.

    Returns:
        A probability; NaN where the noise is not known.
    """
    if not noise.is_known:
        return math.nan
    return float(ndtr((abs(effect) - _reaches(noise, level)) / math.sqrt(_variance(noise))).mean())


def minimum_detectable(noise: Noise, wanted: float = POWER, level: float = LEVEL) -> float:
    """Return the smallest true difference, in points, that is found with probability ``wanted``.

    Args:
        noise: of the experiment.
        wanted: power, between (1 − level)/2 and 1.
        level: of the interval.

    Returns:
        Points; NaN where the noise is not known.

    Raises:
        XstiltsError: a power that no effect has.
    """
    if not (1 - level) / 2 < wanted < 1:
        raise fail("power", f"must be between {(1 - level) / 2:g} and 1", str(wanted))
    if not noise.is_known:
        return math.nan
    above = float(np.max(_reaches(noise, level))) + 10 * math.sqrt(_variance(noise))
    return float(brentq(lambda effect: power(noise, effect, level) - wanted, 0.0, above, xtol=1e-6))


def seeds_to_settle(noise: Noise, effect: float, wanted: float = POWER, level: float = LEVEL) -> int | None:
    """Return how many seeds each system needs to find a preset effect with probability ``wanted``.

    Args:
        noise: of the experiment.
        effect: the smallest difference of interest in points, set before the experiment.
        wanted: power.
        level: of the interval.

    Returns:
        A number of seeds from 2; None where :data:`MOST_SEEDS` are not enough, since the examples stay the same ones,
        where nothing is trained, or where the noise is not known.
    """
    if not noise.is_known or not noise.seeds:
        return None
    counts = range(2, MOST_SEEDS + 1)
    place = bisect_left(counts, True, key=lambda count: power(noise.at(count), effect, level) >= wanted)
    return counts[place] if place < len(counts) else None


def data_to_settle(noise: Noise, effect: float, wanted: float = POWER, level: float = LEVEL) -> float | None:
    """Return how many times the test data it takes to find a preset effect with as many seeds as there are.

    Args:
        noise: of the experiment.
        effect: the smallest difference of interest in points, set before the experiment.
        wanted: power.
        level: of the interval.

    Returns:
        A factor from 1; None where :data:`MOST_DATA` is not enough, since the seeds stay as few, or where the noise is
        not known.
    """

    def lack(logarithm: float) -> float:
        return wanted - power(noise.at(data=math.exp(logarithm)), effect, level)

    return _factor(lack) if noise.is_known else None


# ------------------------------------------------------------------------------------------------- seeds or data?


def half_widths(noise: Noise, seeds: Sequence[int], data: Sequence[float], level: float = LEVEL) -> Floats:
    """Return the half-width to expect of the interval, over numbers of seeds and amounts of data.

    Args:
        noise: of the experiment.
        seeds: numbers of seeds of each system, at least 2.
        data: amounts of test data, as multiples of what there is.
        level: of the interval.

    Returns:
        Medians, in points ``(len(seeds), len(data))``; NaN where the noise is not known.
    """
    return np.array([[half_width(noise.at(count, factor), level) for factor in data] for count in seeds])


def half_width(noise: Noise, level: float = LEVEL) -> float:
    """Return the median half-width of the interval, in points; NaN where the noise is not known."""
    return float(np.median(_reaches(noise, level))) if noise.is_known else math.nan


class Exchange(NamedTuple):
    """What one more seed is worth in data.

    Attributes:
        now: half-width to expect of the interval, in points.
        one_more_seed: the same with one more seed of each system.
        data: factor on the test data that narrows the interval as much; None where no amount of data does.
    """

    now: float
    one_more_seed: float
    data: float | None


def exchange(noise: Noise, level: float = LEVEL) -> Exchange:
    """Return what one more seed of each system buys, and how much more data would buy the same.

    Whichever of the two costs less is the next thing to pay for.
    """
    more = noise._replace(seeds=tuple(count + 1 for count in noise.seeds))
    now, wanted = half_width(noise, level), half_width(more, level)

    def lack(logarithm: float) -> float:
        return half_width(noise.at(data=math.exp(logarithm)), level) - wanted

    return Exchange(now, wanted, _factor(lack) if noise.is_known else None)


def _factor(lack: Callable[[float], float]) -> float | None:
    """The factor on the data, from 1, at whose logarithm nothing is lacking any more."""
    if lack(0.0) <= 0:
        return 1.0
    most = math.log(MOST_DATA)
    return None if lack(most) > 0 else math.exp(brentq(lack, 0.0, most, xtol=1e-4))


# ---------------------------------------------------------------------------------------------- particular models


def power_of_sign_test(gain: float, loss: float, examples: int, level: float = LEVEL) -> float:
    """Return the power of the exact McNemar test of two particular models (Card et al. 2020, arXiv 2010.06595).

    This is about the very models compared, as on test sets of other sizes; it knows nothing of seeds.

    Args:
        gain: probability that only the better model is right on an example.
        loss: probability that only the other is; at most ``gain``.
        examples: number of independent test examples.
        level: 1 − α of the two-sided test.

    Returns:
        Probability of a significant result in favour of the better model.

    Raises:
        XstiltsError: probabilities that do not make a table.
    """
    if not (0 <= loss <= gain and 0 < gain + loss <= 1 and examples > 0):
        raise fail("power", "needs 0 ≤ loss ≤ gain, gain + loss ≤ 1 and examples", f"{gain}, {loss}, {examples}")
    unlike = np.arange(1, examples + 1)
    enough = binom.isf((1 - level) / 2, unlike, 0.5)  # more wins than this are significant
    return float(binom.pmf(unlike, examples, gain + loss) @ binom.sf(enough, unlike, gain / (gain + loss)))


# ---------------------------------------------------------------------------------------------------------- draws


def _variance(noise: Noise) -> float:
    """The true variance of the difference."""
    return noise.items + sum(
        (run + rest) / count for run, rest, count in zip(noise.runs, noise.crossed, noise.seeds, strict=True)
    )


def _reaches(noise: Noise, level: float) -> Floats:
    """Half-widths of the interval in :data:`DRAWS` experiments, in points ``(draws,)``."""
    dimensions = iter(_strata(2 * len(noise.seeds) + 1))
    rest = [value / count for value, count in zip(noise.crossed, noise.seeds, strict=True)]
    items = noise.clusters - 1
    examples = _drawn(noise.items + sum(rest), items, next(dimensions))
    terms, both = examples**2 / items, examples
    floor = examples
    seeds = np.zeros(DRAWS)
    for run, crossed, count in zip(noise.runs, rest, noise.seeds, strict=True):
        own = _drawn(run / count + crossed, count - 1, next(dimensions))
        both = both + own - _drawn(crossed, (count - 1) * items, next(dimensions))
        seeds = seeds + own
        terms = terms + own**2 / (count - 1)
    both = np.maximum(np.maximum(both, floor), seeds)
    reaches: Floats = np.sqrt(both) * stdtrit(both**2 / terms, (1 + level) / 2)
    return reaches


def _drawn(mean: float, df: float, uniform: Floats) -> Floats:
    """Estimates of a variance: ``mean`` × chi-squared / df ``(draws,)``."""
    drawn: Floats = mean * gammaincinv(df / 2, uniform) / (df / 2)
    return drawn


@lru_cache(maxsize=8)
def _strata(dimensions: int) -> tuple[Floats, ...]:
    """A Latin hypercube: in each dimension one point in the middle of each of :data:`DRAWS` equal strata."""
    rng = np.random.default_rng(np.random.SeedSequence(_ENTROPY))
    return tuple((rng.permutation(DRAWS) + 0.5) / DRAWS for _ in range(dimensions))
