"""Joint bootstrap of seeds and clusters of examples: a cross-check of the two-way interval.

Every resample draws the runs of each system with replacement, and clusters with replacement inside each block (see
:mod:`~xstilts.significance.two_way`), the same ones for all languages, tasks, seeds and systems; the scores are then
recomputed as ratios of weighted sums (Sellam et al. 2022, arXiv 2106.16163, §3; as the *pigeonhole bootstrap*, Owen
2007, Ann. Appl. Stat. 1:386). Nothing is linearised and no distribution assumed. It counts the interaction of seeds and
examples twice, so its interval is wider than need be with five seeds and more; with few seeds that differ much it is
too narrow, because three runs drawn from three show two thirds of their variance. Therefore the closed form leads.

Numbers of draws are a matrix ``(resamples, clusters)``, and all sums one product with it in single precision, in blocks
of bounded memory: exact for counts, to about 1e-5 points for fractions. Sums that are alike in several seeds, languages
or systems are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, NOISE, Linear, Scope, combine, linearise

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Singles = NDArray[np.float32]

RESAMPLES = 10_000
HELD = 2**22  # numbers of draws held at a time: 16 MiB
DRAWN = 2**17  # of which so many are made at a time


class Sums(NamedTuple):
    """What one cell (task, language) of one system is scored from.

    Attributes:
        numerator: ``(seeds, examples)``.
        denominator: ``(seeds, examples)``.
        clusters: cluster code of each example ``(examples,)``; equal codes in different cells are the same cluster.
        deterministic: nothing was trained, so a single row is all there is and seeds are not drawn.
    """

    numerator: Floats
    denominator: Floats
    clusters: Integers
    deterministic: bool = False


class Bootstrap(NamedTuple):
    """A difference in points and its distribution over resamples; NaN where :func:`two_way` has no interval either.

    Attributes:
        difference: candidate − reference, as observed.
        low: lower end of the percentile interval.
        high: upper end.
        p: two-sided, of no difference: twice the share of resamples on the other side of zero.
        se: standard deviation over resamples.
        scope: ``artefact`` where a system was trained with a single seed; then only examples are drawn.
        resamples: number of resamples that could be scored; one without any denominator cannot.
    """

    difference: float
    low: float
    high: float
    p: float
    se: float
    scope: Scope
    resamples: int


def multi_bootstrap(
    systems: tuple[Sequence[Sums], Sequence[Sums]],
    weights: Sequence[float],
    paired: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bootstrap:
    """Compare two systems on a weighted sum of cells.

    Args:
        systems: cells of the candidate, then of the reference, the same cells in the same order.
        weights: weight of each cell, as in :func:`~xstilts.significance.two_way.combine`.
        paired: whether replicate s of both shares a random object; then both draw the same replicates.
        resamples: how many.
        seed: of the draws; the same seed gives the same result.

    Raises:
        XstiltsError: the systems were not scored on the same clusters, or are paired without as many seeds each.
    """
    means = [combine([linearise(*cell) for cell in cells], weights) for cells in systems]
    if not np.array_equal(means[0].clusters, means[1].clusters):
        raise fail("comparison", "the two systems were not scored on the same examples")
    rng = np.random.default_rng(seed)
    shares = _shares(means, paired, resamples, rng)
    scores = _scores(systems, means, weights, resamples, rng)
    drawn = [100.0 * (score * share).sum(axis=1) for score, share in zip(scores, shares, strict=True)]
    scope: Scope = "artefact" if _is_single(means) else "procedure"
    deltas = drawn[0] - drawn[1]
    deltas = deltas[np.isfinite(deltas)]
    difference = float(means[0].scores.mean() - means[1].scores.mean())
    spread = float(deltas.std(ddof=1)) if len(deltas) > 1 else math.nan
    if not spread > NOISE or np.bincount(means[0].blocks).min() < 2:
        return Bootstrap(difference, math.nan, math.nan, math.nan, math.nan, scope, len(deltas))
    low, high = np.quantile(deltas, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    beyond = 1 + min(int(np.count_nonzero(deltas <= 0)), int(np.count_nonzero(deltas >= 0)))
    p = min(1.0, 2 * beyond / (1 + len(deltas)))
    return Bootstrap(difference, low, high, p, spread, scope, len(deltas))


def _is_single(means: Sequence[Linear]) -> bool:
    """Whether a system was trained with a single seed."""
    return any(len(each.scores) == 1 and not each.deterministic for each in means)


def _shares(means: Sequence[Linear], paired: bool, resamples: int, rng: np.random.Generator) -> list[Floats]:
    """Share of each run in the mean of its system ``(resamples, seeds)`` or, where none are drawn, ``(1, seeds)``."""
    counts = [len(each.scores) for each in means]
    paired = paired and not any(each.deterministic for each in means)
    if paired and counts[0] != counts[1]:
        raise fail("comparison", "paired seeds need as many seeds on both sides")
    if _is_single(means):
        return [np.full((1, count), 1 / count) for count in counts]
    if paired:
        return [_draw(rng, resamples, counts[0])] * 2
    return [_draw(rng, resamples, count) for count in counts]


def _draw(rng: np.random.Generator, resamples: int, seeds: int) -> Floats:
    shares: Floats = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    return shares


def _scores(
    systems: tuple[Sequence[Sums], Sequence[Sums]],
    means: Sequence[Linear],
    weights: Sequence[float],
    resamples: int,
    rng: np.random.Generator,
) -> list[Floats]:
    """Score of every run in every resample ``(resamples, seeds)``, for both systems."""
    scores = [np.zeros((resamples, len(each.scores))) for each in means]
    for number in range(int(means[0].blocks.max()) + 1):
        codes = means[0].clusters[means[0].blocks == number]
        columns = _Columns(codes)
        inside = [place for place, cell in enumerate(systems[0]) if np.isin(cell.clusters[0], codes)]
        sides = [columns.side([cells[place] for place in inside]) for cells in systems]
        shares = np.array([weights[place] for place in inside])
        for rows, sums in _resampled(columns.table(), resamples, rng):
            for score, (above, below) in zip(scores, sides, strict=True):
                with np.errstate(invalid="ignore", divide="ignore"):  # an empty denominator: dropped later
                    score[rows] += np.einsum("rcs,c->rs", sums[:, above] / sums[:, below], shares)
    return scores


class _Columns:
    """Sums per cluster of one block, equal ones held once.

    Attributes:
        codes: of the block's clusters, ascending ``(clusters,)``.
    """

    def __init__(self, codes: Integers) -> None:
        self.codes = codes
        self._held: dict[bytes, int] = {}

    def side(self, cells: Sequence[Sums]) -> tuple[Integers, Integers]:
        """Columns of the numerators and denominators of one system ``(cells, seeds)``."""
        seeds = max(len(cell.numerator) for cell in cells)
        above = [np.broadcast_to(self._add(cell.numerator, cell.clusters), seeds) for cell in cells]
        below = [np.broadcast_to(self._add(cell.denominator, cell.clusters), seeds) for cell in cells]
        return np.stack(above), np.stack(below)

    def _add(self, values: Floats, clusters: Integers) -> Integers:
        where = np.searchsorted(self.codes, clusters)
        sums = [np.bincount(where, row, len(self.codes)).astype(np.float32).tobytes() for row in values]
        return np.array([self._held.setdefault(each, len(self._held)) for each in sums])

    def table(self) -> Singles:
        """All columns ``(clusters, columns)``."""
        return np.stack([np.frombuffer(each, np.float32) for each in self._held], axis=1)


def _resampled(table: Singles, resamples: int, rng: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
    """Sums of each column ``(rows, columns)`` over clusters drawn with replacement, some resamples at a time."""
    rows = max(1, HELD // len(table))
    for first in range(0, resamples, rows):
        times = np.empty((min(rows, resamples - first), len(table)), np.float32)
        _count(times, rng)
        yield slice(first, first + len(times)), (times @ table).astype(np.float64)


def _count(times: Singles, rng: np.random.Generator) -> None:
    """Fill in how often each cluster is drawn ``(resamples, clusters)``, few rows at a time, which fit the cache."""
    clusters = times.shape[1]
    whole = np.uint16 if clusters <= 2**16 else np.uint32
    step = max(1, DRAWN // clusters)
    starts = np.arange(0, step * clusters, clusters)[:, None]
    for first in range(0, len(times), step):
        rows = times[first : first + step]
        places = starts[: len(rows)] + rng.integers(0, clusters, rows.shape, dtype=whole)
        rows[:] = np.bincount(places.ravel(), minlength=rows.size).reshape(rows.shape)
