"""Exact nearest neighbours by cosine, in blocks: memory is bounded, and the answer does not depend on who computed it.

A block of queries meets a block of candidates in single precision, through FAISS (``IndexFlatIP``) where it is
installed and through numpy otherwise. The two round differently, so that only makes a shortlist. The shortlist is
scored again in double precision, straight from the vectors as they were given, and rounded to ``DIGITS``: scores that
agree so far are *equal*, and of equal ones the first candidate wins. Where the shortlist may have missed somebody,
because more candidates than it holds are too close to the last place, that query is compared with all candidates in
double precision. Both engines therefore give the same rows and scores, bit for bit.

Vectors are an array, a memory map (single or half precision) or a file that is read in blocks; only blocks are copied.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]
Block: TypeAlias = NDArray[np.floating[Any]]
Engine: TypeAlias = Callable[[Floats, Floats, int], tuple[Floats, Rows]]

NEIGHBOURS = 4  # of the margin criterion
QUERY_BLOCK = 1024
CANDIDATE_BLOCK = 16384  # with the block of queries: 64 MiB of scores
SPARE = 16  # places of the shortlist beyond those asked for
DIGITS = 9  # of a cosine; scores that agree to so many decimals are equal
TOLERANCE = 2e-5  # twice what the single-precision cosine of two vectors of 1,024 numbers may be off by
WHOLE_QUERIES = 256  # compared with all candidates in double precision at a time
WHOLE_CANDIDATES = 4096  # 32 MiB of vectors of 1,024 numbers


class Vectors(Protocol):
    """Rows of equal size, ``(rows, hidden)``, of which only blocks need be in memory; every array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Rows, /) -> Block: ...


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Some rows of other vectors, by number ``(rows,)``; they are taken when they are asked for."""

    vectors: Vectors
    numbers: Rows

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | Rows, /) -> Block:
        return self.vectors[self.numbers[rows]]


class Found(NamedTuple):
    """The best candidates of each query, best first; of equal ones the first.

    Attributes:
        rows: rows of the candidates ``(queries, k)``.
        scores: cosines, or what was made of them ``(queries, k)``.
    """

    rows: Rows
    scores: Scores


class Pairs(NamedTuple):
    """Pairs that were mined, best first.

    Attributes:
        sources: row of the source of each pair ``(pairs,)``; none occurs twice.
        targets: row of its target ``(pairs,)``; none occurs twice.
        scores: margin of each pair ``(pairs,)``.
    """

    sources: Rows
    targets: Rows
    scores: Scores


def nearest(queries: Vectors, candidates: Vectors) -> Rows:
    """Row of the candidate with the highest cosine, for each query ``(queries,)``; of equal ones the first."""
    return top_k(queries, candidates, 1).rows[:, 0]


def top_k(queries: Vectors, candidates: Vectors, k: int, engine: Engine | None = None) -> Found:
    """The ``k`` candidates with the highest cosine, for each query; all of them where there are fewer than ``k``.

    A vector of zeros has cosine 0 with every other.

    Args:
        queries: ``(queries, hidden)``.
        candidates: ``(candidates, hidden)``, at least one.
        k: at least 1.
        engine: what makes the shortlist; None = FAISS where it is installed, otherwise numpy.
    """
    k = min(k, len(candidates))
    listed, scores = _shortlist(queries, candidates, min(k + SPARE, len(candidates)), engine or default_engine())
    rows = np.empty((len(queries), k), np.int64)
    exact = np.empty((len(queries), k), np.float64)
    for part in _blocks(len(queries), QUERY_BLOCK):
        rows[part], exact[part] = _rescore(queries[part], candidates, listed[part], k)
    unsure = np.flatnonzero(scores[:, k - 1] - scores[:, -1] <= TOLERANCE)
    if listed.shape[1] < len(candidates):
        for part in _blocks(len(unsure), WHOLE_QUERIES):
            rows[unsure[part]], exact[unsure[part]] = _whole(queries[unsure[part]], candidates, k)
    return Found(rows, exact)


def margins(sources: Vectors, targets: Vectors, k: int = NEIGHBOURS) -> tuple[Found, Found]:
    """Neighbours in both directions, scored by the ratio margin.

    The cosine of a pair, divided by the mean cosine of both sides to their ``k`` nearest neighbours on the other side
    (Artetxe and Schwenk 2019, arXiv 1811.01136, §3, "ratio"). What a vector is close to anyway counts for less.

    Args:
        sources: ``(sources, hidden)``.
        targets: ``(targets, hidden)``.
        k: neighbours.

    Returns:
        The ``k`` nearest targets of each source and the ``k`` nearest sources of each target, nearest first by cosine,
        with their margins.
    """
    forward, backward = top_k(sources, targets, k), top_k(targets, sources, k)
    of_sources, of_targets = forward.scores.mean(axis=1), backward.scores.mean(axis=1)
    return (
        Found(forward.rows, _ratio(forward.scores, of_sources[:, None] + of_targets[forward.rows])),
        Found(backward.rows, _ratio(backward.scores, of_targets[:, None] + of_sources[backward.rows])),
    )


def nearest_by_margin(queries: Vectors, candidates: Vectors, k: int = NEIGHBOURS) -> Rows:
    """Row of the best candidate by margin among the ``k`` nearest, for each query ``(queries,)``."""
    forward, _ = margins(queries, candidates, k)
    best: Rows = np.take_along_axis(forward.rows, forward.scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    return best


def mine(sources: Vectors, targets: Vectors, k: int = NEIGHBOURS) -> Pairs:
    """Pairs of sentences that seem to translate each other.

    The best target of every source and the best source of every target are joined and taken greedily, best margin
    first, a pair only while both of its sides are free (Artetxe and Schwenk 2019, §3, "max"). Of equal margins a
    source's own choice comes first, then the smaller row.

    Args:
        sources: ``(sources, hidden)``.
        targets: ``(targets, hidden)``.
        k: neighbours of the margin.
    """
    forward, backward = margins(sources, targets, k)
    ahead, back = forward.scores.argmax(axis=1), backward.scores.argmax(axis=1)
    one, other = np.arange(len(sources)), np.arange(len(targets))
    pairs = np.column_stack(
        [np.concatenate([one, backward.rows[other, back]]), np.concatenate([forward.rows[one, ahead], other])]
    )
    scores = np.concatenate([forward.scores[one, ahead], backward.scores[other, back]])
    kept: list[int] = []
    free = np.ones(len(sources), bool), np.ones(len(targets), bool)
    for number in np.argsort(-scores, kind="stable"):
        source, target = pairs[number]
        if free[0][source] and free[1][target]:
            free[0][source] = free[1][target] = False
            kept.append(int(number))
    return Pairs(pairs[kept, 0], pairs[kept, 1], scores[kept])


def best_threshold(scores: Scores, right: NDArray[np.bool_], gold: int) -> float:
    """The threshold on the score of a pair above which F1 is highest; of equally good ones the highest.

    It lies half-way between the last pair that is kept and the next one, as in BUCC's tools; pairs of equal score are
    kept or dropped together.

    Args:
        scores: of mined pairs ``(pairs,)``, in any order.
        right: whether each pair is in the gold ``(pairs,)``.
        gold: pairs in the gold, found or not.

    Returns:
        The threshold; infinity where no pair is right.
    """
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    found = np.cumsum(right[order])
    f1 = 2 * found / (np.arange(len(scores)) + 1 + gold)
    f1[:-1][scores[:-1] == scores[1:]] = -1  # a cut between equals is none
    if not len(scores) or not found[-1]:
        return float("inf")
    last = int(f1.argmax())
    return float(scores[last] if last + 1 == len(scores) else (scores[last] + scores[last + 1]) / 2)


# -------------------------------------------------------------------------------------------------------- engines


def default_engine() -> Engine:
    """FAISS where it is installed, otherwise numpy."""
    return by_faiss if importlib.util.find_spec("faiss") else by_numpy


def by_numpy(queries: Floats, candidates: Floats, k: int) -> tuple[Floats, Rows]:
    """The ``k`` largest inner products of each query with a block of candidates, in any order, and their rows."""
    products = queries @ candidates.T
    rows = np.argpartition(products, -k, axis=1)[:, -k:]
    return np.take_along_axis(products, rows, axis=1), rows


def by_faiss(queries: Floats, candidates: Floats, k: int) -> tuple[Floats, Rows]:
    """The same through ``faiss.IndexFlatIP``."""
    index = importlib.import_module("faiss").IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    products, rows = index.search(queries, k)
    return products, rows


# --------------------------------------------------------------------------------------------------------- pieces


def _shortlist(queries: Vectors, candidates: Vectors, size: int, engine: Engine) -> tuple[Rows, Floats]:
    """Rows and approximate scores of the ``size`` best candidates, best first, each ``(queries, size)``."""
    rows = np.zeros((len(queries), size), np.int64)
    scores = np.full((len(queries), size), -np.inf, np.float32)
    for block in _blocks(len(candidates), CANDIDATE_BLOCK):
        units = _unit(candidates[block])
        for part in _blocks(len(queries), QUERY_BLOCK):
            new, own = engine(_unit(queries[part]), units, min(size, len(units)))
            both = np.concatenate([scores[part], new], axis=1)
            known = np.concatenate([rows[part], own + block.start], axis=1)
            best = np.argpartition(both, -size, axis=1)[:, -size:]
            scores[part], rows[part] = np.take_along_axis(both, best, 1), np.take_along_axis(known, best, 1)
    order = np.argsort(-scores, axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _rescore(queries: Block, candidates: Vectors, listed: Rows, k: int) -> Found:
    """The best ``k`` of a shortlist by exact scores."""
    exact = np.empty(listed.shape, np.float64)
    for query, rows, place in zip(queries, listed, exact, strict=True):
        place[:] = _cosines(query, candidates[rows])
    order = np.lexsort((listed, -exact), axis=1)[:, :k]
    return Found(np.take_along_axis(listed, order, 1), np.take_along_axis(exact, order, 1))


def _whole(queries: Block, candidates: Vectors, k: int) -> Found:
    """The best ``k`` of all candidates by exact scores."""
    rows = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float64)
    for block in _blocks(len(candidates), WHOLE_CANDIDATES):
        own = np.broadcast_to(np.arange(block.start, block.stop), (len(queries), block.stop - block.start))
        both = np.concatenate([scores, _table(queries, candidates[block])], axis=1)
        known = np.concatenate([rows, own], axis=1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]  # equals stay in the order of their rows
        scores, rows = np.take_along_axis(both, order, 1), np.take_along_axis(known, order, 1)
    return Found(rows, scores)


def _table(queries: Block, candidates: Block) -> Scores:
    """``_cosines`` of every pair ``(queries, candidates)``, to the last bit, for the price of a matrix product.

    A product sums in another order. Either way a cosine of ``n`` numbers, lengths included, is off by at most ``n``
    times the precision; where that leaves a doubt to which side it is rounded, ``_cosines`` decides: of 1,024 numbers
    about once in 1,000 pairs.
    """
    product = _double_unit(queries) @ _double_unit(candidates).T
    off = 2 * (queries.shape[1] + 16) * float(np.finfo(np.float64).eps)
    found: Scores = np.round(product - off, DIGITS)
    doubt = found != np.round(product + off, DIGITS)
    for row in np.flatnonzero(doubt.any(axis=1)):
        found[row, doubt[row]] = _cosines(queries[row], candidates[doubt[row]])
    return found + 0.0  # minus zero is zero


def _cosines(query: Block, candidates: Block) -> Scores:
    """Cosines rounded to ``DIGITS``; each is summed on its own, so it does not depend on which others are asked for."""
    one, many = query.astype(np.float64), candidates.astype(np.float64)
    sizes = np.sqrt((one * one).sum()) * np.sqrt((many * many).sum(axis=1))
    found: Scores = np.round((many * one).sum(axis=1) / np.where(sizes > 0, sizes, 1), DIGITS)
    return found + 0.0  # minus zero is zero


def _ratio(scores: Scores, sums: Scores) -> Scores:
    """Cosines over half of ``sums``; rounded, so that margins which differ by the order of a sum alone are equal."""
    ratio: Scores = np.round(scores / np.where(sums == 0, np.inf, sums / 2), DIGITS) + 0.0
    return ratio


def _unit(vectors: Block) -> Floats:
    """Rows scaled to length 1, in single precision; a row of zeros stays one."""
    block = np.asarray(vectors, np.float32)
    sizes = np.sqrt(np.einsum("ij,ij->i", block, block))[:, None]
    sizes[sizes == 0] = 1
    unit: Floats = block / sizes
    return unit


def _double_unit(vectors: Block) -> Scores:
    """The same in double precision."""
    block = vectors.astype(np.float64)
    sizes = np.sqrt((block * block).sum(axis=1))[:, None]
    unit: Scores = block / np.where(sizes > 0, sizes, 1)
    return unit


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
