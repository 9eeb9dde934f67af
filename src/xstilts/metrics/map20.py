"""Mean average precision of the 20 best candidates, as LAReQA and Mewsli-X are scored in XTREME-R (arXiv 2104.07412).

The average precision of a query adds up the precision at the rank of each relevant candidate among the first 20, and
divides by the number of relevant candidates, but by no more than 20: a ranking that cannot be better scores 1. That is
the normalisation of the released LAReQA code. With one relevant candidate, as in Mewsli-X, it is the reciprocal rank,
and that is what the released Mewsli-X code computes under this name. LAReQA's own paper (arXiv 2004.05484) ranks all
candidates instead of 20.

The score is the mean over queries. A query without a relevant candidate is not scored; a candidate that is ranked twice
counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.metrics import Metric, Ratio

DEPTH = 20


def average_precision(relevant: Sequence[str], ranked: Sequence[str]) -> float:
    """Average precision of one query, in [0, 1].

    Args:
        relevant: keys of the relevant candidates, at least one.
        ranked: keys of the candidates, best first; only the first ``DEPTH`` count.
    """
    wanted = set(relevant)
    hits, total = 0, 0.0
    for rank, key in enumerate(ranked[:DEPTH], start=1):
        if key in wanted:
            wanted.remove(key)
            hits += 1
            total += hits / rank
    return total / min(len(set(relevant)), DEPTH)


def stats(gold: Sequence[str] | None, pred: Sequence[str], language: str) -> tuple[float, float]:
    """Count one query as ``(average_precision, total)``."""
    return (average_precision(gold, pred), 1.0) if gold else (0.0, 0.0)


METRIC = Metric(
    name="map20",
    version=1,
    columns=("average_precision", "total"),
    ratios=(Ratio("map20", (1, 0), (0, 1)),),
    stats=stats,
)
