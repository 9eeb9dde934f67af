"""Miniature of QQP: do two records of two facts say the same?"""

from __future__ import annotations

from xstilts.mini import paraphrase
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return paraphrase.examples("mini_qqp", split, language, count, facts=2)


TASK = Task(
    name="mini_qqp",
    version=1,
    format="classification",
    metric="accuracy",
    data=generated({"train": 1500, "dev": 100, "test": 60}, examples),
    labels=paraphrase.LABELS,
    cluster="first record",
    licence=LICENCE,
    citation=CITATION,
)
