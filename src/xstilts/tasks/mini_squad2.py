"""Miniature of SQuAD 2.0: mini_squad1's task with a third of the questions unanswerable."""

from __future__ import annotations

from xstilts.mini import qa
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return qa.examples("mini_squad2", split, language, count, unanswerable=1 / 3)


TASK = Task(
    name="mini_squad2",
    version=1,
    format="span",
    metric="squad",
    data=generated({"train": 3000, "dev": 200, "test": 120}, examples),
    no_answer=True,
    cluster="passage",
    licence=LICENCE,
    citation=CITATION,
)
