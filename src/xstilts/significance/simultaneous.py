"""Intervals for a panel of languages that hold all at once.

Of fifteen 95 % intervals, one or the other misses its language more often than not. Widening each to
``1 − .05 / languages`` (Bonferroni) is always enough, and more than is needed where languages rise and fall together
because they share seeds and parallel examples. Here the joint covariance of all differences is taken from the influence
values,

    V_jk = Σ_c u_jc · u_kc  (examples)  +  Σ_m cov_s(θ_mj, θ_mk) / S_m  (seeds; paired: of the differences)

normal vectors with its correlation are drawn, and the tail probability that their largest ``|z|`` exceeds with
probability .05 becomes that of every language's own t interval (single-step max-|t|; Hothorn, Bretz & Westfall 2008,
§4). The vectors are normal, the margins t: every language has a variance and degrees of freedom of its own, so the
common denominator of the classical multivariate t, which would give shorter intervals, is not there.

What seeds and examples have in common is in both terms and not subtracted here. It is hardly shared between languages,
so correlations come out a little low and the intervals a little wide, never too short; and the matrix stays positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Interval, Linear, two_way

Floats = NDArray[np.float64]

DRAWS = 50_000


class Simultaneous(NamedTuple):
    """Intervals of a panel, all of which hold with probability .95.

    Attributes:
        low: lower ends, in points ``(languages,)``; NaN where the language has no interval.
        high: upper ends.
        p: p-values of "no difference", adjusted for the panel.
        tail: probability outside each language's own interval; .05 for one language, at least .05 / languages.
        single: the intervals of the languages by themselves.
    """

    low: Floats
    high: Floats
    p: Floats
    tail: float
    single: tuple[Interval, ...]


def simultaneous(
    candidate: Sequence[Linear], reference: Sequence[Linear], paired: bool = False, draws: int = DRAWS, seed: int = 0
) -> Simultaneous:
    """Compare two systems in every language at once.

    Args:
        candidate: the one system in each language, with the same seeds in the same order ``(languages,)``.
        reference: the other.
        paired: as in :func:`~xstilts.significance.two_way.two_way`.
        draws: normal vectors.
        seed: of these draws.

    Raises:
        XstiltsError: the systems differ in languages, examples or, if paired, in their number of seeds.
    """
    if len(candidate) != len(reference) or not candidate:
        raise fail("comparison", "the two systems were not scored in the same languages")
    single = tuple(two_way(ours, theirs, paired) for ours, theirs in zip(candidate, reference, strict=True))
    errors, alone = (np.array([getattr(each, name) for each in single]) for name in ("se", "p"))
    low, high, p = (np.full(len(single), np.nan) for _ in range(3))
    known = np.flatnonzero(~np.isnan(alone)).tolist()
    if not known:
        return Simultaneous(low, high, p, np.nan, single)
    factor = _factor([candidate[place] for place in known], [reference[place] for place in known], paired)
    largest = _largest(factor, draws, seed)
    tail = float(np.clip(2 * ndtr(-np.quantile(largest, LEVEL)), (1 - LEVEL) / len(known), 1 - LEVEL))
    own = alone[known]
    exceeded = draws - np.searchsorted(largest, -ndtri(own / 2))
    p[known] = np.clip((1 + exceeded) / (1 + draws), own, np.minimum(1.0, len(known) * own))
    centre = np.array([each.difference for each in single])
    reach = errors * stdtrit([each.df for each in single], 1 - tail / 2)
    low[known], high[known] = (centre - reach)[known], (centre + reach)[known]
    return Simultaneous(low, high, p, tail, single)


def _largest(factor: Floats, draws: int, seed: int) -> Floats:
    """Largest ``|z|`` of normal vectors with the correlation of the rows of ``factor``, ascending ``(draws,)``."""
    rows = factor / np.linalg.norm(factor, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    root = (vectors * np.sqrt(np.maximum(0.0, values))) @ vectors.T  # symmetric: does not depend on eigenvectors' signs
    normal = np.random.default_rng(seed).standard_normal((draws, len(root)))
    largest: Floats = np.sort(np.abs(normal @ root).max(axis=1))
    return largest


def _factor(candidate: Sequence[Linear], reference: Sequence[Linear], paired: bool) -> Floats:
    """Rows whose inner products are the covariances ``V_jk`` ``(languages, clusters + seeds)``."""
    sides = [candidate, reference]
    spreads = [ours.influence.mean(axis=0) - theirs.influence.mean(axis=0) for ours, theirs in zip(*sides, strict=True)]
    codes = np.unique(np.concatenate([each.clusters for each in candidate]))
    examples = np.zeros((len(candidate), len(codes)))
    for row, spread, each in zip(examples, spreads, candidate, strict=True):
        sizes = np.bincount(each.blocks)[each.blocks]
        row[np.searchsorted(codes, each.clusters)] = spread * np.sqrt(sizes / (sizes - 1))
    sided = [_scores(side) for side in sides]
    if any(scores.shape[1] == 1 and not side[0].deterministic for scores, side in zip(sided, sides, strict=True)):
        return examples  # a single seed: this speaks of the very models, as the intervals do
    arms = [sided[0] - sided[1]] if paired else sided
    return np.hstack([examples, *(_seeds(arm) for arm in arms)])


def _scores(side: Sequence[Linear]) -> Floats:
    """Scores of one system ``(languages, seeds)``; what was not trained scores alike with every seed."""
    counts = {len(each.scores) for each in side if not each.deterministic} or {1}
    if len(counts) > 1:
        raise fail("comparison", "a system needs the same seeds in all languages", ", ".join(map(str, sorted(counts))))
    return np.stack([np.broadcast_to(each.scores, max(counts)) for each in side])


def _seeds(scores: Floats) -> Floats:
    """Deviations of ``(languages, seeds)`` whose inner products are the covariances of the means over seeds."""
    count = scores.shape[1]
    deviations: Floats = (scores - scores.mean(axis=1, keepdims=True)) / np.sqrt(max(1, count * (count - 1)))
    return deviations
