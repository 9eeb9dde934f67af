"""Difference of two systems when both the training seeds and the test examples are random.

A score is a ratio of sums, so its influence values are known in closed form: with ``r = Σnum / Σden`` an example moves
the score by ``(num_i − r·den_i) / Σden``. Influence values are summed inside clusters (examples that share text or a
translation source are not independent), weighted and added over the cells of an estimand. Cells that share a cluster,
directly or over others, are one block ``b``; blocks are independent strata, and one of few clusters must not borrow the
degrees of freedom of a large one. With ``C_b`` clusters, ``S`` seeds, scores ``θ`` and ``U = C_b · influence``:

    V_ex   = Σ_b V_b,  V_b = var_c(mean_s U₁ − mean_s U₀) / C_b      examples
    V_seed = var_s(θ₁)/S₁ + var_s(θ₀)/S₀                             seeds (paired: var_s(θ₁ − θ₀)/S)
    V_int  = Σ_m Σ_b MS_residual(m, b) / (S_m · C_b)                 in both of the above, so subtracted once
    V      = max(V_ex + V_seed − V_int, V_ex, V_seed)
    df     = V² / (Σ_b V_b²/(C_b−1) + Σ_m V_seed(m)²/(S_m−1))

and the interval is ``difference ± t_df · √V``. This is the two-way cluster variance of Cameron, Gelbach & Miller (2011,
JBES 29:238, §2.2) with Satterthwaite's (1946) degrees of freedom, and equals the REML fit of a model with crossed
random runs and items. The floor keeps a noisy ``V_int`` from promising more than either source of variance alone
allows; it makes the test conservative with two or three seeds.

The score of one system by itself (:func:`one_sample`) has the same variance with the other side's terms left out.

Resampling seeds and examples jointly is the alternative (Sellam et al. 2022, arXiv 2106.16163); it costs seconds where
this costs microseconds, and its percentile interval is less well calibrated at these numbers of seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from xstilts.errors import fail

Scope = Literal["procedure", "artefact"]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95

# Points. A smaller standard error is rounding noise: the data hold no variance to estimate.
NOISE = 1e-9


class Linear(NamedTuple):
    """A score and what each cluster of examples contributes to it, for every replicate of one system.

    Attributes:
        scores: in percent ``(seeds,)``.
        clusters: distinct cluster codes, ascending ``(clusters,)``.
        influence: influence of each cluster on the score, in points ``(seeds, clusters)``; a row sums to zero.
        blocks: number of each cluster's block, from 0 ``(clusters,)``; see the module.
        deterministic: nothing was trained, so a single row is all there is and seeds have no variance.
    """

    scores: Floats
    clusters: Integers
    influence: Floats
    blocks: Integers
    deterministic: bool = False


class Interval(NamedTuple):
    """A difference in points and how sure it is.

    Attributes:
        difference: candidate − reference.
        low: lower end of the interval.
        high: upper end of the interval.
        p: two-sided p-value of "no difference".
        df: Satterthwaite degrees of freedom.
        se: standard error, ``√V``; 0 where no variance at all was seen, and then there is no interval.
        se_examples: ``√V_ex``, the standard error if the seeds were fixed.
        se_seeds: ``√V_seed``, the standard error if the examples were fixed; NaN where it cannot be estimated.
        scope: ``procedure`` speaks of the way of training; ``artefact`` only of the very models compared, because one
            of the systems was trained with a single seed.
        clusters: number of clusters.
    """

    difference: float
    low: float
    high: float
    p: float
    df: float
    se: float
    se_examples: float
    se_seeds: float
    scope: Scope
    clusters: int


class Estimate(NamedTuple):
    """The score of one system and how sure it is, in percent and points; NaN as in :class:`Interval`.

    Attributes:
        score: mean over seeds.
    """

    score: float
    low: float
    high: float
    df: float
    se: float
    se_examples: float
    se_seeds: float
    scope: Scope
    clusters: int


def linearise(numerator: Floats, denominator: Floats, clusters: Integers, deterministic: bool = False) -> Linear:
    """Return the score of a ratio metric in one cell (task, language) and its influence values.

    Args:
        numerator: ``(seeds, examples)``.
        denominator: ``(seeds, examples)``.
        clusters: cluster code of each example ``(examples,)``; equal codes in different cells are the same cluster.
        deterministic: see :class:`Linear`.
    """
    codes, where = np.unique(clusters, return_inverse=True)
    total = denominator.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # an empty denominator: not scored, NaN
        ratio = numerator.sum(axis=1, keepdims=True) / total
        moves = 100.0 * (numerator - ratio * denominator) / total
    influence = np.array([np.bincount(where, weights=row, minlength=len(codes)) for row in moves])
    return Linear(100.0 * ratio[:, 0], codes, influence, np.zeros(len(codes), np.int64), deterministic)


def combine(parts: Sequence[Linear], weights: Sequence[float]) -> Linear:
    """Return the weighted sum of scores over cells, on the union of their clusters.

    Args:
        parts: cells of one system with the same seeds in the same order; a deterministic one counts for every seed.
        weights: weight of each cell in the estimand, e.g. 1/L each for the mean over L languages.
    """
    random = [part for part in parts if not part.deterministic]
    seeds = len((random or parts)[0].scores)
    codes = np.unique(np.concatenate([part.clusters for part in parts]))
    scores = np.zeros(seeds)
    influence = np.zeros((seeds, len(codes)))
    for part, weight in zip(parts, weights, strict=True):
        scores += weight * part.scores
        influence[:, np.searchsorted(codes, part.clusters)] += weight * part.influence
    return Linear(scores, codes, influence, _blocks(parts, codes), deterministic=not random)


def _blocks(cells: Sequence[Linear], codes: Integers) -> Integers:
    """Number of the block of each of ``codes``: a cell's clusters are one block, and cells that share one are too."""
    found = np.full(len(codes), -1)
    for number, cell in enumerate(cells):
        where = np.searchsorted(codes, cell.clusters)
        first, *others = [*(each for each in np.unique(found[where]) if each >= 0), number]
        for other in others:
            found[found == other] = first
        found[where] = first
    return np.unique(found, return_inverse=True)[1]


def two_way(candidate: Linear, reference: Linear, paired: bool = False) -> Interval:
    """Compare two systems on the same examples.

    Args:
        candidate: every replicate of the one system.
        reference: every replicate of the other.
        paired: whether replicate s of both shares a random object, not merely an integer called seed.

    Returns:
        The interval; NaN where nothing was scored, where a block is one cluster, and where the data show no variance at
        all (two systems that answer alike always, or one all right against one all wrong): no variance seen is not
        certainty.

    Raises:
        XstiltsError: the systems were not scored on the same clusters, or are paired without as many seeds each.
    """
    if not np.array_equal(candidate.clusters, reference.clusters):
        raise fail("comparison", "the two systems were not scored on the same examples")
    arms = [_arm(_differences(candidate, reference))] if paired else [_arm(candidate), _arm(reference)]
    difference = float(candidate.scores.mean() - reference.scores.mean())
    spread = candidate.influence.mean(axis=0) - reference.influence.mean(axis=0)
    found = _variance(spread, candidate.blocks, arms)
    bounds = _bounds(difference, found)
    return Interval(difference, *bounds, *found.errors, found.scope, len(candidate.clusters))


def one_sample(system: Linear) -> Estimate:
    """Return the score of one system with its interval.

    Two such intervals say little of a difference: the systems are tested on the same examples, whose luck cancels when
    they are compared (:func:`two_way`).
    """
    score = float(system.scores.mean())
    found = _variance(system.influence.mean(axis=0), system.blocks, [_arm(system)])
    low, high, _, df, error = _bounds(score, found)
    return Estimate(score, low, high, df, error, *found.errors, found.scope, len(system.clusters))


class _Variance(NamedTuple):
    """Variance of a mean over seeds, or of a difference of two, in points².

    Attributes:
        both: ``V``.
        examples: ``V_ex``.
        seeds: ``V_seed``; NaN where it cannot be estimated.
        sources: (variance, degrees of freedom), which Satterthwaite's formula weighs.
    """

    both: float
    examples: float
    seeds: float
    sources: list[tuple[float, float]]
    scope: Scope

    @property
    def errors(self) -> tuple[float, float]:
        return math.sqrt(self.examples), math.sqrt(self.seeds)


def _variance(spread: Floats, blocks: Integers, arms: Sequence[_Arm]) -> _Variance:
    """Add up the variances of examples, by the ``spread`` of clusters ``(clusters,)``, and of the arms' seeds."""
    parts = _variances(spread**2, blocks)
    examples = float(parts.sum())
    sources = list(zip(parts.tolist(), (np.bincount(blocks) - 1.0).tolist(), strict=True))
    if not all(arm.df for arm in arms):
        return _Variance(examples, examples, math.nan, sources, "artefact")
    seeds = sum(arm.seeds for arm in arms)
    sources += [(arm.seeds, arm.df) for arm in arms]
    both = examples + seeds - sum(arm.interaction for arm in arms)
    return _Variance(float(np.max([both, examples, seeds])), examples, seeds, sources, "procedure")


class _Arm(NamedTuple):
    """Variance of one system's mean score that its seeds bring in, in points².

    Attributes:
        seeds: ``V_seed``.
        interaction: ``V_int``, which ``V_ex`` and ``V_seed`` both contain.
        df: degrees of freedom of ``seeds``; infinite where nothing is random, 0 where one seed leaves it unknown.
    """

    seeds: float
    interaction: float
    df: float


def _arm(system: Linear) -> _Arm:
    if system.deterministic:
        return _Arm(0.0, 0.0, math.inf)
    count = len(system.scores)
    if count == 1:
        return _Arm(math.nan, math.nan, 0.0)
    residual = system.influence - system.influence.mean(axis=0)
    interaction = float(_variances(np.sum(residual**2, axis=0), system.blocks).sum()) / ((count - 1) * count)
    return _Arm(float(system.scores.var(ddof=1)) / count, interaction, count - 1.0)


def _variances(squares: Floats, blocks: Integers) -> Floats:
    """Sum of each block's squares × C/(C−1) ``(blocks,)``; NaN for a block of one cluster."""
    sizes = np.bincount(blocks).astype(float)
    scales = np.divide(sizes, sizes - 1, out=np.full(len(sizes), np.nan), where=sizes > 1)
    variances: Floats = scales * np.bincount(blocks, weights=squares)
    return variances


def _differences(candidate: Linear, reference: Linear) -> Linear:
    """Replicate-wise differences, for paired seeds."""
    deterministic = candidate.deterministic and reference.deterministic
    if not (candidate.deterministic or reference.deterministic) and len(candidate.scores) != len(reference.scores):
        raise fail("comparison", "paired seeds need as many seeds on both sides")
    scores = candidate.scores - reference.scores
    influence = candidate.influence - reference.influence
    return Linear(scores, candidate.clusters, influence, candidate.blocks, deterministic)


class _Bounds(NamedTuple):
    low: float
    high: float
    p: float
    df: float
    se: float


def _bounds(value: float, variance: _Variance) -> _Bounds:
    """The t interval around a value, and the p-value of 0."""
    error = math.sqrt(variance.both)
    if math.isnan(error) or error < NOISE:
        return _Bounds(math.nan, math.nan, math.nan, math.nan, math.nan if math.isnan(error) else 0.0)
    df = variance.both**2 / sum(part**2 / df for part, df in variance.sources)
    reach = error * float(stdtrit(df, (1 + LEVEL) / 2))
    p = 2 * float(stdtr(df, -abs(value) / error))
    return _Bounds(value - reach, value + reach, p, df, error)
