"""A record: a few facts in chosen surface forms, written as one list of the language («A, B und C»).

``write`` returns the text with the span of every fact, and the pieces with their fine types, from which the tagging
tasks take their words. List patterns come from CLDR through ``babel.lists``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from babel import lists

from xstilts.mini.fact import Fact, Piece, clean, pieces_of


class Shown(NamedTuple):
    """A fact in one of its surface forms."""

    fact: Fact
    form: str


class Span(NamedTuple):
    """Characters ``start:end`` of a text."""

    start: int
    end: int


class Word(NamedTuple):
    """One word or punctuation mark of a record, its fine type, and the index of its fact (None: between facts)."""

    text: str
    type: str
    fact: int | None


class Written(NamedTuple):
    """A record in one language.

    Attributes:
        text: the record.
        spans: where each fact stands in ``text``, in the order given to ``write``.
        pieces: the stretches of the text with their fine types.
        owners: for every piece the index of its fact, None between facts.
    """

    text: str
    spans: tuple[Span, ...]
    pieces: tuple[Piece, ...]
    owners: tuple[int | None, ...]

    def words(self) -> tuple[Word, ...]:
        """The record split into words and punctuation marks; white space is dropped."""
        found = []
        for piece, owner in zip(self.pieces, self.owners, strict=True):
            found += [Word(text, piece.type, owner) for text in split_words(piece.text)]
        return tuple(found)


def write(record: Sequence[Shown], language: str) -> Written:
    """Write a record in a language."""
    joins = _joins(len(record), language)
    pieces: list[Piece] = []
    owners: list[int | None] = []
    spans: list[Span] = []
    length = 0
    for index, shown in enumerate(record):
        if joins[index]:
            pieces.append(Piece(joins[index], "JOIN"))
            owners.append(None)
            length += len(joins[index])
        fact = pieces_of(shown.fact, shown.form, language)
        width = sum(len(piece.text) for piece in fact)
        pieces += fact
        owners += [index] * len(fact)
        spans.append(Span(length, length + width))
        length += width
    return Written("".join(piece.text for piece in pieces), tuple(spans), tuple(pieces), tuple(owners))


@functools.cache
def _joins(count: int, language: str) -> tuple[str, ...]:
    """What stands before each item of a list of ``count`` items."""
    marks = [f"\ue000{index}\ue001" for index in range(count)]
    parts = re.split("\ue000\\d+\ue001", lists.format_list(marks, locale=language))
    assert len(parts) == count + 1 and not parts[-1], f"list pattern of {language} closes with text"
    return tuple(clean(part) for part in parts[:-1])


def split_words(text: str) -> list[str]:
    """Words of a piece: split at white space, with punctuation and symbols at the edges as words of their own."""
    words: list[str] = []
    for chunk in text.split():
        start, end = 0, len(chunk)
        while start < end and _is_mark(chunk[start]):
            start += 1
        while end > start and _is_mark(chunk[end - 1]):
            end -= 1
        words += [*chunk[:start], *([chunk[start:end]] if start < end else []), *chunk[end:]]
    return words


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
