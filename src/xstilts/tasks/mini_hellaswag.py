"""Miniature of HellaSwag: continue a sequence of months, weekdays or amounts; four options."""

from __future__ import annotations

import numpy as np

from xstilts.mini import choice
from xstilts.mini.task import CITATION, LICENCE, generated
from xstilts.spec import Example, Split, Task


def make(rng: np.random.Generator, split: Split) -> choice.Item:
    """Draw one item."""
    return choice.continues(rng, split, options=4)


def examples(split: Split, language: str, count: int) -> tuple[Example, ...]:
    """Examples of one split in one language."""
    return choice.examples("mini_hellaswag", split, language, count, make)


TASK = Task(
    name="mini_hellaswag",
    version=1,
    format="choice",
    metric="accuracy",
    data=generated({"train": 1500, "dev": 200, "test": 120}, examples),
    cluster="prompt",
    licence=LICENCE,
    citation=CITATION,
)
