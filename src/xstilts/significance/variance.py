"""What makes a score uncertain: the seeds, the test examples, or that every run does well on other examples.

With one value per run ``s`` and cluster ``c``, ``y_sc = μ + run_s + cluster_c + rest_sc``, the three variances of
:mod:`~xstilts.significance.two_way` estimate (Searle, Casella & McCulloch 1992, *Variance Components*, ch. 4)

    V_seed = (σ²_run + σ²_rest/C) / S      V_ex = (σ²_cluster + σ²_rest/S) / C      V_int = σ²_rest / (S·C)

so that ``V_seed − V_int`` is due to seeds alone, ``V_ex − V_int`` to examples alone, and ``V_int``, which the others
contain, to both at once. They add up to the variance of the score. A negative remainder is noise around zero, and zero
is what is reported. Intervals of the remainders are those of Williams (1962, Biometrika 49:278) and Tukey (1951); with
five seeds they span a factor of about ten, which is what five seeds say of their own variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, f

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats, Integers, Linear


class Part(NamedTuple):
    """One source's share in the variance of a mean over seeds, or of a difference of two such means.

    Attributes:
        variance: in points², at the seeds and examples there are.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval; infinite where there are no degrees of freedom.
        share: of the sum of all three, in [0, 1]; NaN where nothing varies.
    """

    variance: float
    low: float
    high: float
    share: float


class Decomposition(NamedTuple):
    """Where the variance comes from; NaN throughout where a single seed or cluster leaves it unknown.

    Attributes:
        seeds: a fresh training, scored on these examples.
        examples: a fresh test set, for these trainings.
        interaction: that another run is right on other examples.
    """

    seeds: Part
    examples: Part
    interaction: Part


class Noise(NamedTuple):
    """What a future experiment of the same kind has to expect, as planning needs it (:mod:`.power`).

    An *arm* is a system that is trained; paired seeds make one arm of two systems. All variances in points².

    Attributes:
        runs: variance of a single run's score, from its seed alone ``(arms,)``.
        crossed: variance of a single run's score because it is right on other examples than other runs ``(arms,)``.
        items: variance of the difference from the choice of examples, however many seeds there are.
        clusters: clusters of examples; with blocks of unlike size, the degrees of freedom they are worth, plus 1.
        seeds: number of each arm's runs ``(arms,)``.
    """

    runs: tuple[float, ...]
    crossed: tuple[float, ...]
    items: float
    clusters: float
    seeds: tuple[int, ...]

    def at(self, seeds: int | None = None, data: float = 1.0) -> Noise:
        """The same with as many ``seeds`` in every arm (None: as many as there are) and ``data`` times the examples."""
        counts = self.seeds if seeds is None else (seeds,) * len(self.seeds)
        crossed = tuple(value / data for value in self.crossed)
        return Noise(self.runs, crossed, self.items / data, self.clusters * data, counts)

    @property
    def is_known(self) -> bool:
        """Whether every variance could be estimated, and there is any."""
        total = self.items + sum(self.runs) + sum(self.crossed)
        return math.isfinite(total) and total > 0 and self.clusters > 1 and min(self.seeds, default=2) > 1


def decompose(candidate: Linear, reference: Linear | None = None, paired: bool = False) -> Decomposition:
    """Split the variance of one system's score, or of the difference of two, by its sources.

    Args:
        candidate: every replicate of the one system.
        reference: every replicate of the other, on the same clusters; None for a score by itself.
        paired: as in :func:`~xstilts.significance.two_way.two_way`.

    Raises:
        XstiltsError: the systems were not scored on the same clusters, or are paired without as many seeds each.
    """
    sources = _sources(candidate, reference, paired)
    seeds, examples, interaction = (
        _Square.of([each for arm in sources.arms for each in arm.seeds]),
        _Square.of(sources.examples),
        _Square.of([each for arm in sources.arms for each in arm.interaction]),
    )
    values = [max(seeds.value - interaction.value, 0.0), max(examples.value - interaction.value, 0.0)]
    values.append(interaction.value)
    bounds = [_bounds_of_remainder(each, interaction) for each in (seeds, examples)] + [_bounds(interaction)]
    total = sum(values)
    shares = [value / total if total > 0 else math.nan for value in values]
    if math.isnan(total):
        return Decomposition(*(Part(*[math.nan] * 4) for _ in values))
    return Decomposition(
        *(Part(value, *ends, share) for value, ends, share in zip(values, bounds, shares, strict=True))
    )


def noise(candidate: Linear, reference: Linear, paired: bool = False) -> Noise:
    """Estimate what a future comparison of the same two systems has to expect.

    Args:
        candidate: every replicate of the one system.
        reference: every replicate of the other, on the same clusters.
        paired: as in :func:`~xstilts.significance.two_way.two_way`.

    Returns:
        The noise; NaN where an arm has a single seed or a block a single cluster.

    Raises:
        XstiltsError: the systems were not scored on the same clusters, or are paired without as many seeds each.
    """
    sources = _sources(candidate, reference, paired)
    examples = _Square.of(sources.examples)
    seeds = [_Square.of(arm.seeds).value for arm in sources.arms]
    crossed = [_Square.of(arm.interaction).value for arm in sources.arms]
    return Noise(
        runs=tuple(
            arm.runs * _positive(both - rest) for arm, both, rest in zip(sources.arms, seeds, crossed, strict=True)
        ),
        crossed=tuple(arm.runs * rest for arm, rest in zip(sources.arms, crossed, strict=True)),
        items=_positive(examples.value - sum(crossed)),
        clusters=examples.df + 1,
        seeds=tuple(arm.runs for arm in sources.arms),
    )


# -------------------------------------------------------------------------------------------------------- sources


class _Square(NamedTuple):
    """A mean square on the scale of the variance of a mean, and its degrees of freedom."""

    value: float
    df: float

    @classmethod
    def of(cls, parts: Sequence[_Square]) -> _Square:
        """The sum of independent ones, with Satterthwaite's degrees of freedom."""
        value = sum((part.value for part in parts), 0.0)
        weighed = sum(part.value**2 / part.df if part.df else math.nan for part in parts)
        return cls(value, value**2 / weighed if weighed else sum(part.df for part in parts))


class _Arm(NamedTuple):
    """Mean squares of one system's runs, and the number of runs."""

    seeds: list[_Square]
    interaction: list[_Square]
    runs: int


class _Sources(NamedTuple):
    examples: list[_Square]
    arms: list[_Arm]


def _sources(candidate: Linear, reference: Linear | None, paired: bool) -> _Sources:
    """The mean squares of :mod:`~xstilts.significance.two_way`, one by one."""
    systems = [candidate] if reference is None else [candidate, reference]
    if any(not np.array_equal(candidate.clusters, each.clusters) for each in systems):
        raise fail("comparison", "the two systems were not scored on the same examples")
    spread = candidate.influence.mean(axis=0)
    if reference is not None:
        spread = spread - reference.influence.mean(axis=0)
    if paired and reference is not None:
        systems = [_differences(candidate, reference)]
    arms = [_arm(each) for each in systems if not each.deterministic]
    return _Sources(_squares(spread[None], candidate.blocks, 1), arms)


def _differences(candidate: Linear, reference: Linear) -> Linear:
    """Replicate-wise differences, for paired seeds."""
    deterministic = candidate.deterministic and reference.deterministic
    if not (candidate.deterministic or reference.deterministic) and len(candidate.scores) != len(reference.scores):
        raise fail("comparison", "paired seeds need as many seeds on both sides")
    scores, influence = candidate.scores - reference.scores, candidate.influence - reference.influence
    return Linear(scores, candidate.clusters, influence, candidate.blocks, deterministic)


def _arm(system: Linear) -> _Arm:
    count = len(system.scores)
    if count == 1:
        return _Arm([_Square(math.nan, 0.0)], [_Square(math.nan, 0.0)], count)
    rest = system.influence - system.influence.mean(axis=0)
    interaction = [
        _Square(each.value / ((count - 1) * count), each.df) for each in _squares(rest, system.blocks, count - 1)
    ]
    return _Arm([_Square(float(system.scores.var(ddof=1)) / count, count - 1.0)], interaction, count)


def _squares(influence: Floats, blocks: Integers, rows: int) -> list[_Square]:
    """Sums of squares × C/(C−1) of each block, with ``rows``·(C−1) degrees of freedom; NaN for a single cluster."""
    sums = np.bincount(blocks, weights=np.sum(influence**2, axis=0))
    return [
        _Square(float(total * size / (size - 1)) if size > 1 else math.nan, rows * (size - 1.0))
        for total, size in zip(sums, np.bincount(blocks), strict=True)
    ]


# ------------------------------------------------------------------------------------------------------ intervals


def _bounds(square: _Square) -> tuple[float, float]:
    """The chi-squared interval of a variance."""
    return _bounds_of_remainder(square, _Square(0.0, 1.0))


def _bounds_of_remainder(both: _Square, rest: _Square) -> tuple[float, float]:
    """The Williams-Tukey interval of ``both − rest``; of a variance that is known to be zero, zero."""
    if both.df == 0 or both.value == 0:
        return 0.0, 0.0
    ends = []
    for quantile in ((1 + LEVEL) / 2, (1 - LEVEL) / 2):
        subtract = rest.value * float(f.ppf(quantile, both.df, rest.df)) if rest.value else 0.0
        ends.append(_positive(both.value - subtract) * both.df / float(chi2.ppf(quantile, both.df)))
    return ends[0], ends[1]


def _positive(value: float) -> float:
    return math.nan if math.isnan(value) else max(value, 0.0)
