"""Miniature of UDPOS: coarse word classes, in all languages."""

from __future__ import annotations

from xstilts.mini import tagging
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return tagging.examples("mini_udpos", split, language, count, tagging.coarse)


TASK = Task(
    name="mini_udpos",
    version=1,
    format="tagging",
    metric="tagging",
    data=generated({"train": 1000, "dev": 200, "test": 120}, examples),
    labels=tagging.COARSE_LABELS,
    parallel=True,
    cluster="record",
    licence=LICENCE,
    citation=CITATION,
)
