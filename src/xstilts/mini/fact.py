"""What a fact is: a value with surface forms in every language, each of which says something.

``exact`` forms state the whole value (``Berlin``; ``12 kg``), ``implied`` forms state less (``Germany``; ``kg``).
``meaning(form)`` is what a form says, so inference is a comparison of meanings: a fact entails form f of another fact
of its type if both mean the same under f, and contradicts it otherwise (a record holds one fact of each type). The
types are in ``facts.py``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

FINE_TYPES: tuple[str, ...] = (
    "CITY", "COUNTRY", "WEEKDAY", "DAY", "MONTH", "YEAR", "NUMBER", "UNIT", "CURRENCY", "LITERAL", "JOIN",
)  # fmt: skip


class Piece(NamedTuple):
    """A stretch of rendered text and its fine type (one of ``FINE_TYPES``); pieces concatenate to the text."""

    text: str
    type: str


class Fact(ABC):
    """One fact. Subclasses are frozen dataclasses, so facts hash and compare by value.

    Attributes:
        kind: name of the type.
        tag: entity type in tagging.
        exact: names of the forms that state the whole value.
        implied: names of the forms that state less.
    """

    kind: ClassVar[str]
    tag: ClassVar[str]
    exact: ClassVar[tuple[str, ...]]
    implied: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def key(self) -> str:
        """What is held out together: facts with equal keys are on the same side of the split."""

    @abstractmethod
    def meaning(self, form: str) -> Hashable:
        """What ``form`` says about this fact."""

    @abstractmethod
    def pieces(self, form: str, language: str) -> tuple[Piece, ...]:
        """The fact in words."""

    @classmethod
    @abstractmethod
    def draw(cls, rng: np.random.Generator) -> Fact:
        """Any value of the type."""

    @abstractmethod
    def near(self, rng: np.random.Generator) -> Fact:
        """Another value that shares a part with this one (the hard contradictions)."""

    @classmethod
    def states(cls, form: str, shown: str) -> bool:
        """Whether a reader can see ``form`` in a text that shows this fact as ``shown``."""
        return shown in cls.exact

    def text(self, form: str, language: str) -> str:
        """The pieces of ``form`` as one string."""
        return "".join(piece.text for piece in self.pieces(form, language))


def clean(text: str) -> str:
    """NFC, ordinary spaces for no-break ones, no bidirectional marks, no soft hyphens."""
    text = "".join(
        " " if char in "\xa0\u202f\u2009" else char for char in text if char not in "\u200e\u200f\u061c\u00ad"
    )
    return unicodedata.normalize("NFC", text)


def clean_pieces(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Clean every piece and drop empty ones."""
    cleaned = (Piece(clean(piece.text), piece.type) for piece in pieces)
    return tuple(piece for piece in cleaned if piece.text)


def around_number(text: str, rest: str) -> tuple[Piece, ...]:
    """Numbers as pieces of type NUMBER, what is around them as pieces of type ``rest``."""
    parts = (Piece(part, "NUMBER" if part.isdigit() else rest) for part in re.split(r"(\d+)", clean(text)) if part)
    return tuple(parts)


def without_number(text: str, rest: str) -> tuple[Piece, ...]:
    """What is left of a text without its number, as one piece of type ``rest``."""
    return (Piece(" ".join(re.sub(r"\d+", " ", clean(text)).split()), rest),)


def pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    """One of the values, each with equal odds."""
    return values[int(rng.integers(len(values)))]


@functools.lru_cache(maxsize=200_000)
def pieces_of(fact: Fact, form: str, language: str) -> tuple[Piece, ...]:
    """``fact.pieces`` with a cache: babel is the slow part of every generator."""
    return fact.pieces(form, language)
