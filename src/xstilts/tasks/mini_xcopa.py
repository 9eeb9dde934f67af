"""Miniature of XCOPA: which of two statements follows from a record? In all languages."""

from __future__ import annotations

import numpy as np

from xstilts.mini import choice
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def make(rng: np.random.Generator, split: Split) -> choice.Item:
    """Draw one item."""
    return choice.follows(rng, split, facts=2, options=2)


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return choice.examples("mini_xcopa", split, language, count, make)


TASK = Task(
    name="mini_xcopa",
    version=1,
    format="choice",
    metric="accuracy",
    data=generated({"train": 1000, "dev": 200, "test": 120}, examples),
    parallel=True,
    cluster="prompt",
    licence=LICENCE,
    citation=CITATION,
)
