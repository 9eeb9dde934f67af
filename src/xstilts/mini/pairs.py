"""The text that the small backbone is pre-trained on: pairs of records that share some of their facts.

The first side is a record, the other an answer to it: facts of the record in another form, facts with another value,
and facts of a type that the record does not have, mostly in another language. For every fact is noted whether the other
side states it, which is what the agreement and cover losses of ``experiments/pretrain_mini.py`` ask.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from xstilts.mini.draw import draw_kinds, show_exactly, shuffled
from xstilts.mini.fact import Fact, pick
from xstilts.mini.facts import FACT_TYPES, Day
from xstilts.mini.languages import SEEN, shares
from xstilts.mini.record import Shown, Written, write

RECORD_LENGTHS = (2, 2, 2, 2, 3, 3, 3, 4, 4)  # facts
ANSWER_LENGTHS = (1, 1, 1, 2, 2, 2, 3, 3)
SEQUENCES = 0.04  # share of the pairs
RECORD_FIRST = 0.7  # share of the pairs
SAME_LANGUAGE = 0.3  # share of the pairs, before chance


class Side(NamedTuple):
    """One segment of a pair: the written record and, for every fact of it, whether the other side states it.

    In a calendar sequence nothing is to be compared, and ``agrees`` is None throughout.
    """

    written: Written
    agrees: tuple[bool | None, ...]


_CUMULATED = np.cumsum([shares()[code] for code in SEEN])


def draw_language(rng: np.random.Generator) -> str:
    """A seen language, by its share."""
    return SEEN[min(int(np.searchsorted(_CUMULATED, rng.random())), len(SEEN) - 1)]


def draw_record(rng: np.random.Generator) -> list[Shown]:
    """Two to four facts in exact forms; sometimes two of one type, as in the passages of question answering."""
    kinds = list(draw_kinds(rng, pick(rng, RECORD_LENGTHS)))
    if rng.random() < 0.2:
        kinds[-1] = kinds[0]
    return [show_exactly(rng, kind.draw(rng)) for kind in shuffled(rng, kinds)]


def draw_answer(rng: np.random.Generator, record: list[Shown]) -> list[Shown]:
    """One to three facts for the other side: one of the record, another value of its type, or anything."""
    count = pick(rng, ANSWER_LENGTHS)
    answer = []
    for shown in shuffled(rng, record)[:count]:
        kind, chance = type(shown.fact), rng.random()
        if chance < 0.1:
            fact: Fact = pick(rng, FACT_TYPES).draw(rng)
            answer.append(Shown(fact, pick(rng, fact.exact + fact.implied)))
            continue
        form = pick(rng, [form for form in kind.exact + kind.implied if kind.states(form, shown.form)])
        fact = shown.fact if chance < 0.65 else draw_any_other(rng, shown.fact, form)
        answer.append(Shown(fact, form))
    return answer


def draw_any_other(rng: np.random.Generator, fact: Fact, form: str) -> Fact:
    """A fact of the same type, of either split, that says something else under ``form``."""
    while True:
        other = fact.near(rng) if rng.random() < 0.5 else type(fact).draw(rng)
        if other.meaning(form) != fact.meaning(form):
            return other


def draw_pair(rng: np.random.Generator) -> tuple[Side, Side]:
    """A record and an answer to it, each in its language, in random order; sometimes a calendar sequence."""
    if rng.random() < SEQUENCES:
        return draw_sequence(rng)
    record = draw_record(rng)
    answer = draw_answer(rng, record)
    agree = [
        [type(a.fact) is type(b.fact) and a.fact.meaning(b.form) == b.fact.meaning(b.form) for b in answer]
        for a in record
    ]
    language = draw_language(rng)
    other = language if rng.random() < SAME_LANGUAGE else draw_language(rng)
    first = Side(write(record, language), tuple(any(row) for row in agree))
    second = Side(write(answer, other), tuple(any(row[j] for row in agree) for j in range(len(answer))))
    return (first, second) if rng.random() < RECORD_FIRST else (second, first)


def draw_sequence(rng: np.random.Generator) -> tuple[Side, Side]:
    """Three months or weekdays in order, and the two that follow, mostly in another language."""
    start = int(rng.integers(12))
    if rng.random() < 0.5:
        days = [Shown(Day(datetime.date(2000, (start + index) % 12 + 1, 1)), "month") for index in range(5)]
    else:
        days = [Shown(Day(datetime.date(2000, 1, 1 + start + index)), "weekday") for index in range(5)]
    sides = (days[:3], days[3:])
    first_side, second_side = (Side(write(side, draw_language(rng)), (None,) * len(side)) for side in sides)
    return first_side, second_side


def draw_parallel(rng: np.random.Generator) -> tuple[str, str]:
    """The same facts in the same order in two languages, each with forms of its own."""
    facts = [shown.fact for shown in draw_record(rng)[:3]]
    texts = [write([show_exactly(rng, fact) for fact in facts], draw_language(rng)).text for _ in range(2)]
    return texts[0], texts[1]


def every_form(rng: np.random.Generator, languages: tuple[str, ...]) -> Iterator[str]:
    """One fact of each type in all of its forms, in one of the languages."""
    language = languages[int(rng.integers(len(languages)))]
    for kind in FACT_TYPES:
        fact = kind.draw(rng)
        for form in kind.exact + kind.implied:
            yield fact.text(form, language)
