"""Miniature of XQuAD: mini_squad1's task with little training data, in all languages."""

from __future__ import annotations

from xstilts.mini import qa
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return qa.examples("mini_xquad", split, language, count)


TASK = Task(
    name="mini_xquad",
    version=1,
    format="span",
    metric="squad",
    data=generated({"train": 1000, "dev": 200, "test": 120}, examples),
    parallel=True,
    cluster="passage",
    licence=LICENCE,
    citation=CITATION,
)
