"""Miniature of CCG supertagging: the role of each word within its fact."""

from __future__ import annotations

from xstilts.mini import tagging
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return tagging.examples("mini_ccg", split, language, count, tagging.fine)


TASK = Task(
    name="mini_ccg",
    version=1,
    format="tagging",
    metric="tagging",
    data=generated({"train": 2000, "dev": 200, "test": 120}, examples),
    labels=tagging.FINE_LABELS,
    cluster="record",
    licence=LICENCE,
    citation=CITATION,
)
