"""Miniature of ANLI: two facts as hypothesis, so two inferences are needed."""

from __future__ import annotations

from xstilts.mini import nli
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return nli.examples("mini_anli", split, language, count, hops=2)


TASK = Task(
    name="mini_anli",
    version=1,
    format="classification",
    metric="accuracy",
    data=generated({"train": 1000, "dev": 67, "test": 40}, examples),
    labels=nli.LABELS,
    cluster="premise",
    licence=LICENCE,
    citation=CITATION,
)
