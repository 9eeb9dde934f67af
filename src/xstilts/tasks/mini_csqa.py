"""Miniature of CommonsenseQA: what a single fact implies, without context; five options."""

from __future__ import annotations

import numpy as np

from xstilts.mini import choice
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def make(rng: np.random.Generator, split: Split) -> choice.Item:
    """Draw one item."""
    return choice.knows(rng, split, options=5)


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return choice.examples("mini_csqa", split, language, count, make)


TASK = Task(
    name="mini_csqa",
    version=1,
    format="choice",
    metric="accuracy",
    data=generated({"train": 1500, "dev": 200, "test": 120}, examples),
    cluster="prompt",
    licence=LICENCE,
    citation=CITATION,
)
