"""Miniature of XNLI: mini_mnli's task with little training data, in all languages."""

from __future__ import annotations

from xstilts.mini import nli
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return nli.examples("mini_xnli", split, language, count)


TASK = Task(
    name="mini_xnli",
    version=1,
    format="classification",
    metric="accuracy",
    data=generated({"train": 334, "dev": 67, "test": 40}, examples),
    labels=nli.LABELS,
    parallel=True,
    cluster="premise",
    licence=LICENCE,
    citation=CITATION,
)
