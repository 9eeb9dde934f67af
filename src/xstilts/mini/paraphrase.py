"""Paraphrase: do two records state the same facts?

The second record has the facts of the first in another order, each with even odds in a form drawn anew. In a paraphrase
that is all; otherwise one value is swapped, half of the time for a near miss, so that the two share most of their words
either way. Every record is used for one pair of each label.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from xstilts.mini.draw import draw_fact, draw_kinds, draw_other, generator, show_exactly, shuffled
from xstilts.mini.fact import pick
from xstilts.mini.record import Shown, write
from xstilts.spec import Example, Split, TextPair

LABELS: tuple[str, ...] = ("different", "same")


class Pair(NamedTuple):
    """One item before it is written in a language."""

    first: tuple[Shown, ...]
    second: tuple[Shown, ...]
    label: str


@functools.cache
def pairs(task: str, split: Split, count: int, facts: int) -> tuple[Pair, ...]:
    """``count`` records of ``facts`` facts with one pair per label each."""
    items = []
    for number in range(count):
        rng = generator(task, split, number)
        first = tuple(show_exactly(rng, draw_fact(rng, kind, split)) for kind in draw_kinds(rng, facts))
        for label in LABELS:
            items.append(Pair(first, _second(rng, first, label, split), label))
    return tuple(items)


def examples(task: str, split: Split, language: str, count: int, facts: int) -> tuple[Example, ...]:
    """The items of a split in one language; twice ``count``, one cluster per first record."""
    written = []
    for number, item in enumerate(pairs(task, split, count, facts)):
        fields = TextPair(write(item.first, language).text, write(item.second, language).text)
        name = f"{split}-{number // len(LABELS)}"
        written.append(Example(f"{name}-{number % len(LABELS)}", language, name, fields, item.label))
    return tuple(written)


def _second(rng: np.random.Generator, first: tuple[Shown, ...], label: str, split: Split) -> tuple[Shown, ...]:
    swapped = int(rng.integers(len(first))) if label == "different" else None
    second = []
    for index, shown in enumerate(first):
        form = pick(rng, shown.fact.exact) if rng.random() < 0.5 else shown.form
        fact = draw_other(rng, shown.fact, form, split) if index == swapped else shown.fact
        second.append(Shown(fact, form))
    return shuffled(rng, second)
