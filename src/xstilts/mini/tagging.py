"""Tagging the words of a record: fine types, coarse word classes, or entity spans.

Words are the pieces from which CLDR's own patterns build the text (year, month, «de», unit …), so tags are exact in
every language. Clitics that a list pattern attaches to the next word (Arabic «و») are words of their own, as in
Universal Dependencies.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable

from xstilts.mini.draw import draw_fact, draw_kinds, generator, show_exactly
from xstilts.mini.fact import FINE_TYPES, pick
from xstilts.mini.record import Shown, Word, Written, write
from xstilts.spec import Example, Split, Words

FINE_LABELS: tuple[str, ...] = (*FINE_TYPES, "PUNCT")
COARSE_LABELS: tuple[str, ...] = ("PROPN", "NOUN", "NUM", "SYM", "PUNCT", "CCONJ", "PART")
SPAN_LABELS: tuple[str, ...] = (
    "O", "B-LOC", "I-LOC", "B-DATE", "I-DATE", "B-MONEY", "I-MONEY", "B-QUANTITY", "I-QUANTITY",
)  # fmt: skip

_COARSE = {
    "CITY": "PROPN", "COUNTRY": "PROPN", "WEEKDAY": "NOUN", "MONTH": "NOUN", "UNIT": "NOUN", "CURRENCY": "NOUN",
    "DAY": "NUM", "YEAR": "NUM", "NUMBER": "NUM", "LITERAL": "PART", "JOIN": "CCONJ",
}  # fmt: skip

Tagger = Callable[[tuple[Shown, ...], Written], tuple[str, ...]]


@functools.cache
def records(task: str, split: Split, count: int) -> tuple[tuple[Shown, ...], ...]:
    """``count`` records of two to four facts, in exact and implied forms."""
    drawn = []
    for number in range(count):
        rng = generator(task, split, number)
        record = []
        for kind in draw_kinds(rng, int(rng.integers(2, 5))):
            fact = draw_fact(rng, kind, split)
            record.append(show_exactly(rng, fact) if rng.random() < 0.7 else Shown(fact, pick(rng, kind.implied)))
        drawn.append(tuple(record))
    return tuple(drawn)


def examples(task: str, split: Split, language: str, count: int, tag: Tagger) -> tuple[Example, ...]:
    """The records of a split in one language, one cluster per record."""
    written = []
    for number, record in enumerate(records(task, split, count)):
        text = write(record, language)
        words = Words(tuple(word.text for word in text.words()))
        name = f"{split}-{number}"
        written.append(Example(name, language, name, words, tag(record, text)))
    return tuple(written)


def fine(record: tuple[Shown, ...], text: Written) -> tuple[str, ...]:
    """The role of each word in its fact; punctuation marks apart."""
    return tuple("PUNCT" if _is_punctuation(word) else word.type for word in text.words())


def coarse(record: tuple[Shown, ...], text: Written) -> tuple[str, ...]:
    """Word classes in the manner of Universal Dependencies."""
    return tuple(_word_class(word) for word in text.words())


def entities(record: tuple[Shown, ...], text: Written) -> tuple[str, ...]:
    """IOB2 spans of places, dates, sums of money and quantities; a bare month, unit or currency is no entity."""
    tags = []
    last: int | None = None
    for word in text.words():
        shown = None if word.fact is None else record[word.fact]
        if shown is None or not (shown.form in shown.fact.exact or shown.fact.tag == "LOC"):
            tags.append("O")
        else:
            tags.append(("I-" if word.fact == last else "B-") + shown.fact.tag)
        last = word.fact
    return tuple(tags)


def _word_class(word: Word) -> str:
    if _is_punctuation(word):
        return "PUNCT"
    if word.text.isdigit():
        return "NUM"
    if word.type in ("UNIT", "CURRENCY") and not any(char.isalpha() for char in word.text):
        return "SYM"
    return _COARSE[word.type]


def _is_punctuation(word: Word) -> bool:
    return word.type not in ("UNIT", "CURRENCY") and all(unicodedata.category(char)[0] == "P" for char in word.text)
