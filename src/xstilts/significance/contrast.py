"""Linear contrasts of several systems, where some of them may share what was random in their training.

``Σ_a w_a · θ̄_a`` over arms ``a`` is a difference (+1, −1), a mean over intermediates (1/n each, −1), or the part of a
gain that is kept (+1, −1, −share, +share). Examples enter as in :mod:`~xstilts.significance.two_way`: the weighted
influences of all arms are added before they are squared, so what two arms have in common cancels or adds up by itself.

Seeds need more care. Replicates that share a random object (a stack and a fusion that build on the same intermediate
training) are not independent, so their deviations have to be added before they are squared, too. Replicates are
therefore joined into *units* by what they share; units are independent. With ``n_a`` replicates of arm ``a``:

    g_k    = Σ_{(a,s) in unit k} w_a · (θ_as − θ̄_a) / n_a
    V_seed = Σ_k g_k² · n/(n−1)           n: the fewest units that an arm of the group has; df = n − 1

once for every group of arms that units join, and likewise for the interaction of seeds and examples. That is the
cluster-robust variance with units as clusters (Cameron, Gelbach & Miller 2011, JBES 29:238, §2.1). Arms that share
nothing give the unpaired variance of ``two_way``, arms whose replicates are shared one by one the paired one.

An object that is in *every* replicate of an arm (all seeds build on one intermediate training) joins nothing: its luck
cannot be estimated, and the result is conditional on it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from xstilts.errors import fail
from xstilts.significance.two_way import Integers, Interval, Linear, _Arm, _bounds, _Variance, _variance, _variances
from xstilts.significance.variance import Noise


class Arm(NamedTuple):
    """One system in a contrast.

    Attributes:
        linear: its replicates; all arms are scored on the same clusters.
        weight: in the contrast.
        objects: what was random in each replicate, such as the keys of its trainings; none if it is deterministic.
    """

    linear: Linear
    weight: float
    objects: tuple[frozenset[str], ...] = ()


class Contrast(NamedTuple):
    """A contrast with its interval, and what a further experiment of the kind has to expect.

    Attributes:
        interval: ``difference`` is the contrast.
        noise: with a group of arms that share random objects in the place of an arm.
        shared: whether replicates of different arms share random objects.
    """

    interval: Interval
    noise: Noise
    shared: bool


Row = tuple[int, int]  # number of the arm, number of its replicate


def contrast(arms: Sequence[Arm], paired: bool = False) -> Contrast:
    """Estimate a weighted sum of scores.

    Args:
        arms: the systems.
        paired: whether replicate s of all arms shares a random object that no key tells of, such as the order of data.

    Returns:
        The contrast; NaN as in :func:`~xstilts.significance.two_way.two_way`, and ``artefact`` scope where the
        variance of seeds cannot be estimated.

    Raises:
        XstiltsError: arms that were not scored on the same clusters, or are paired without as many seeds each.
    """
    first = arms[0].linear
    if not all(np.array_equal(arm.linear.clusters, first.clusters) for arm in arms):
        raise fail("contrast", "the systems were not scored on the same examples")
    counts = {len(arm.linear.scores) for arm in arms if not arm.linear.deterministic}
    if paired and len(counts) > 1:
        raise fail("contrast", "paired seeds need as many seeds on all sides")
    estimate = sum(arm.weight * float(arm.linear.scores.mean()) for arm in arms)
    spread = np.sum([arm.weight * arm.linear.influence.mean(axis=0) for arm in arms], axis=0)
    units = _units(arms, paired)
    groups = [_group(arms, rows) for rows in _joined(units)]
    found = _variance(spread, first.blocks, groups)
    low, high, p, df, error = _bounds(estimate, found)
    interval = Interval(estimate, low, high, p, df, error, *found.errors, found.scope, len(first.clusters))
    shared = any(len({arm for arm, _ in unit}) > 1 for unit in units)
    return Contrast(interval, _noise(found, first.blocks, groups), shared)


def _units(arms: Sequence[Arm], paired: bool) -> list[list[Row]]:
    """Replicates that share a random object, directly or over others."""
    shared = {thing for arm in arms if len(arm.objects) > 1 for thing in frozenset.intersection(*arm.objects)}
    units: list[tuple[set[Hashable], list[Row]]] = []
    for number, arm in enumerate(arms):
        for row in range(0 if arm.linear.deterministic else len(arm.linear.scores)):
            things: set[Hashable] = set(arm.objects[row] - shared) if arm.objects else set()
            if paired:
                things.add(row)
            met = [unit for unit in units if unit[0] & things]
            units = [unit for unit in units if not unit[0] & things]
            units.append(
                (things.union(*(each for each, _ in met)), [*(r for _, rows in met for r in rows), (number, row)])
            )
    return [rows for _, rows in units]


def _joined(units: list[list[Row]]) -> list[list[list[Row]]]:
    """Units by groups of arms that they join; groups are independent."""
    groups: list[tuple[set[int], list[list[Row]]]] = []
    for unit in units:
        numbers = {arm for arm, _ in unit}
        met = [group for group in groups if group[0] & numbers]
        groups = [group for group in groups if not group[0] & numbers]
        groups.append((numbers.union(*(each for each, _ in met)), [*(u for _, each in met for u in each), unit]))
    return [each for _, each in groups]


def _group(arms: Sequence[Arm], units: list[list[Row]]) -> _Arm:
    """Variance that the units of one group of arms bring in."""
    present = {arm for unit in units for arm, _ in unit}
    fewest = min(sum(any(arm == number for arm, _ in unit) for unit in units) for number in present)
    if fewest == 1:
        return _Arm(math.nan, math.nan, 0.0)
    scores, influences = [], []
    for unit in units:
        score, influence = 0.0, np.zeros(len(arms[0].linear.clusters))
        for number, row in unit:
            linear = arms[number].linear
            share = arms[number].weight / len(linear.scores)
            score += share * float(linear.scores[row] - linear.scores.mean())
            influence += share * (linear.influence[row] - linear.influence.mean(axis=0))
        scores.append(score)
        influences.append(influence)
    scale = fewest / (fewest - 1)
    squares = np.sum(np.square(influences), axis=0)
    interaction = scale * float(_variances(squares, arms[0].linear.blocks).sum())
    return _Arm(scale * float(np.sum(np.square(scores))), interaction, fewest - 1.0)


def _noise(found: _Variance, blocks: Integers, groups: Sequence[_Arm]) -> Noise:
    """The same as :func:`~xstilts.significance.variance.noise`, for groups of arms."""
    counts = tuple(round(each.df) + 1 for each in groups)
    crossed = tuple(each.interaction * count for each, count in zip(groups, counts, strict=True))
    runs = tuple((each.seeds - each.interaction) * count for each, count in zip(groups, counts, strict=True))
    items = found.examples - sum(each.interaction for each in groups)
    examples = found.sources[: int(blocks.max()) + 1]
    below = sum(variance**2 / df if df else math.nan for variance, df in examples)
    df = found.examples**2 / below if below else sum(df for _, df in examples)
    return Noise(tuple(map(_positive, runs)), crossed, _positive(items), df + 1, counts)


def _positive(variance: float) -> float:
    """A variance that came out below zero is zero; NaN stays NaN."""
    return variance if math.isnan(variance) else max(variance, 0.0)
