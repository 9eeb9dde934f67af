"""Extractive question answering: a cue («Germany», «kilograms») and the item of a record that it is about («Berlin»).

The record holds two facts of the asked type and one or two others, so the type alone does not give the answer away. An
unanswerable question asks for a value that neither of the two has. Answers are always whole items of the record, in
one of their exact forms.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from xstilts.mini.draw import draw_fact, draw_kinds, draw_other, generator, show_exactly, shuffled
from xstilts.mini.fact import Fact, pick
from xstilts.mini.record import Shown, write
from xstilts.spec import Answers, Example, Passage, Split


class Question(NamedTuple):
    """One item before it is written in a language.

    Attributes:
        record: the passage.
        cue: what is asked.
        answer: position of the answer in ``record``; None = unanswerable.
    """

    record: tuple[Shown, ...]
    cue: Shown
    answer: int | None


@functools.cache
def questions(task: str, split: Split, count: int, unanswerable: float = 0.0) -> tuple[Question, ...]:
    """``count`` passages with one question each, a share of them unanswerable."""
    return tuple(
        _question(generator(task, split, number), split, int((number + 1) * unanswerable) == int(number * unanswerable))
        for number in range(count)
    )


def examples(task: str, split: Split, language: str, count: int, unanswerable: float = 0.0) -> tuple[Example, ...]:
    """The items of a split in one language, one cluster per passage."""
    written = []
    for number, item in enumerate(questions(task, split, count, unanswerable)):
        passage = write(item.record, language)
        gold = Answers()
        if item.answer is not None:
            span = passage.spans[item.answer]
            gold = Answers((passage.text[span.start : span.end],), (span.start,))
        name = f"{split}-{number}"
        fields = Passage(write((item.cue,), language).text, passage.text)
        written.append(Example(name, language, name, fields, gold))
    return tuple(written)


def _question(rng: np.random.Generator, split: Split, answerable: bool) -> Question:
    kind, *others = draw_kinds(rng, int(rng.integers(2, 4)))
    form = pick(rng, kind.implied)
    asked = draw_fact(rng, kind, split)
    rival = draw_other(rng, asked, form, split)
    shown = [show_exactly(rng, fact, so_that=form) for fact in (asked, rival)]
    shown += [show_exactly(rng, draw_fact(rng, other, split)) for other in others]
    record = shuffled(rng, shown)
    if answerable:
        return Question(record, Shown(asked, form), record.index(shown[0]))
    return Question(record, Shown(_unlike(rng, (asked, rival), form, split), form), None)


def _unlike(rng: np.random.Generator, facts: tuple[Fact, Fact], form: str, split: Split) -> Fact:
    while True:
        other = draw_other(rng, facts[0], form, split)
        if other.meaning(form) != facts[1].meaning(form):
            return other
