"""Multiple choice: what follows from a record, from a single fact, or in a sequence.

All options of an item are of one fact type and one form and differ in what they say; the right one stands at any place
with equal odds.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xstilts.mini.draw import draw_fact, draw_kinds, draw_other, generator, show_exactly, shuffled
from xstilts.mini.fact import Fact, pick
from xstilts.mini.facts import Day, Place, Quantity
from xstilts.mini.nli import restate
from xstilts.mini.record import Shown, write
from xstilts.spec import Choices, Example, Split


class Item(NamedTuple):
    """One item before it is written in a language; ``gold`` is the index of the right option."""

    prompt: tuple[Shown, ...]
    options: tuple[Shown, ...]
    gold: int


Maker = Callable[[np.random.Generator, Split], Item]


@functools.cache
def items(task: str, split: Split, count: int, make: Maker) -> tuple[Item, ...]:
    """``count`` items."""
    return tuple(make(generator(task, split, number), split) for number in range(count))


def examples(task: str, split: Split, language: str, count: int, make: Maker) -> tuple[Example, ...]:
    """The items of a split in one language, one cluster per prompt."""
    written = []
    for number, item in enumerate(items(task, split, count, make)):
        options = tuple(write((option,), language).text for option in item.options)
        name = f"{split}-{number}"
        written.append(Example(name, language, name, Choices(write(item.prompt, language).text, options), item.gold))
    return tuple(written)


def follows(rng: np.random.Generator, split: Split, facts: int, options: int) -> Item:
    """A record of ``facts`` facts; the right option restates one of them, the others change its value."""
    prompt = tuple(show_exactly(rng, draw_fact(rng, kind, split)) for kind in draw_kinds(rng, facts))
    asked = pick(rng, prompt)
    return _item(rng, prompt, asked.fact, restate(rng, asked), options, split)


def knows(rng: np.random.Generator, split: Split, options: int) -> Item:
    """A single fact; the right option is what it implies (the country of a city, the month of a date, a unit)."""
    kind = (Place, Place, Day, Quantity)[int(rng.integers(4))]
    form = pick(rng, kind.implied)
    shown = show_exactly(rng, draw_fact(rng, kind, split), so_that=form)
    return _item(rng, (shown,), shown.fact, form, options, split)


def continues(rng: np.random.Generator, split: Split, options: int) -> Item:
    """Three months, weekdays or amounts in order; the right option is the next one, the others are elsewhere.

    There are too few months and weekdays to hold some out; amounts are held out by the first of the sequence.
    """
    run = pick(rng, (_months, _weekdays, _amounts))(rng, split)
    wrong = [run[3 + int(index)] for index in 1 + rng.permutation(len(run) - 4)[: options - 1]]
    return _arranged(rng, run[:3], (run[3], *wrong))


def _item(
    rng: np.random.Generator, prompt: tuple[Shown, ...], fact: Fact, form: str, options: int, split: Split
) -> Item:
    found = {fact.meaning(form): fact}
    while len(found) < options:
        other = draw_other(rng, fact, form, split)
        found.setdefault(other.meaning(form), other)
    return _arranged(rng, prompt, tuple(Shown(each, form) for each in found.values()))


def _arranged(rng: np.random.Generator, prompt: tuple[Shown, ...], options: tuple[Shown, ...]) -> Item:
    """Put the options, of which the first is right, in random order."""
    order = shuffled(rng, range(len(options)))
    return Item(prompt, tuple(options[index] for index in order), order.index(0))


def _months(rng: np.random.Generator, split: Split) -> tuple[Shown, ...]:
    first = int(rng.integers(12))
    return tuple(Shown(Day(datetime.date(2000, (first + index) % 12 + 1, 1)), "month") for index in range(12))


def _weekdays(rng: np.random.Generator, split: Split) -> tuple[Shown, ...]:
    first = int(rng.integers(7))
    return tuple(Shown(Day(datetime.date(2000, 1, 1 + first + index)), "weekday") for index in range(7))


def _amounts(rng: np.random.Generator, split: Split) -> tuple[Shown, ...]:
    first = draw_fact(rng, Quantity, split)
    assert isinstance(first, Quantity)
    form = pick(rng, Quantity.exact)
    return tuple(Shown(Quantity(first.amount + index, first.unit), form) for index in range(9))
