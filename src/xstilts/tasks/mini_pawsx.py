"""Miniature of PAWS-X: do two records of three facts say the same?"""

from __future__ import annotations

from xstilts.mini import paraphrase
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return paraphrase.examples("mini_pawsx", split, language, count, facts=3)


TASK = Task(
    name="mini_pawsx",
    version=1,
    format="classification",
    metric="accuracy",
    data=generated({"train": 500, "dev": 100, "test": 60}, examples),
    labels=paraphrase.LABELS,
    parallel=True,
    cluster="first record",
    licence=LICENCE,
    citation=CITATION,
)
