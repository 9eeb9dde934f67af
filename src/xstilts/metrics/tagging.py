"""Tagging: F1 of chunks (XTREME's score for PAN-X and for UDPOS) and accuracy of tokens.

A chunk is a maximal run of one type, as in the CoNLL-2000 script and in seqeval, which XTREME scores both tasks with
(Hu et al. 2020, arXiv 2003.11080, §3.1). The first letter of a tag is its position (``B I E S``, as in IOB2 and IOBES),
what follows the first ``-`` is its type. A tag without ``-`` (the parts of speech of UDPOS) is its own type, so equal
neighbours are one chunk and one wrong tag can cost two: in UDPOS chunk F1 lies far below token accuracy, which is
therefore reported beside it.

Agrees with seqeval 0.0.12, the release of XTREME's time, on both tag sets; so SCONJ and SYM, whose first letter reads
as "single", never join their neighbours. seqeval 1.x cuts the first letter off a tag without ``-``, so it takes CCONJ
and SCONJ for one type and loses X at the end of a sentence; we do neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.metrics import Metric, Ratio

OUTSIDE = "O"

Chunk = tuple[str, int, int]


def chunks(tags: Sequence[str]) -> set[Chunk]:
    """Return the chunks of one sentence as (type, first word, last word).

    Args:
        tags: one tag per word ``(words,)``.
    """
    found: set[Chunk] = set()
    start = 0
    for end, tag in enumerate(tags):
        closes = end + 1 == len(tags) or _separate(tag, tags[end + 1])
        if closes:
            if tag != OUTSIDE:
                found.add((_kind(tag), start, end))
            start = end + 1
    return found


def stats(gold: Sequence[str] | None, pred: Sequence[str], language: str) -> tuple[float, float, float, float, float]:
    """Count one sentence; ``gold`` and ``pred`` are ``(words,)``."""
    if gold is None:
        return (0.0, 0.0, 0.0, 0.0, 0.0)
    gold_chunks, pred_chunks = chunks(gold), chunks(pred)
    right = sum(g == p for g, p in zip(gold, pred, strict=True))
    return (
        float(len(gold_chunks & pred_chunks)),
        float(len(pred_chunks)),
        float(len(gold_chunks)),
        float(right),
        float(len(gold)),
    )


def _kind(tag: str) -> str:
    return tag.split("-", 1)[-1]


def _separate(tag: str, following: str) -> bool:
    """Whether two neighbouring words belong to different chunks."""
    return _kind(tag) != _kind(following) or tag[0] in "ES" or following[0] in "BS"


METRIC = Metric(
    name="tagging",
    version=1,
    columns=("correct_chunks", "predicted_chunks", "gold_chunks", "correct_tokens", "tokens"),
    ratios=(
        Ratio("f1", (2, 0, 0, 0, 0), (0, 1, 1, 0, 0)),
        Ratio("token_accuracy", (0, 0, 0, 1, 0), (0, 0, 0, 0, 1)),
    ),
    stats=stats,
)
