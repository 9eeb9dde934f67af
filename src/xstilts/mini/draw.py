"""Sampling: seeds from names, values held out for the test split, and records of unlike facts.

A value is held out when a hash of its key says so, once and for all: ``test`` uses only held-out values, ``train`` and
``dev`` only the others. Every item has a generator of its own, seeded by the names of task, split and item, so data do
not depend on how many items are asked for, on the language, or on global random state.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from xstilts.mini.fact import Fact, pick
from xstilts.mini.facts import FACT_TYPES
from xstilts.mini.record import Shown
from xstilts.spec import Split

T = TypeVar("T")

HELD_OUT = 0.3  # share of the values


def generator(*names: str | int) -> np.random.Generator:
    """A generator seeded by names, the same on every machine."""
    return np.random.default_rng(_hash("/".join(map(str, names))))


@functools.lru_cache(maxsize=100_000)
def is_held_out(key: str) -> bool:
    """Whether facts with this key belong to the test split."""
    return _hash(f"held out {key}") / 2**64 < HELD_OUT


def allowed(fact: Fact, split: Split) -> bool:
    """Whether a fact may occur in a split."""
    return is_held_out(fact.key) == (split == "test")


def draw_fact(rng: np.random.Generator, kind: type[Fact], split: Split) -> Fact:
    """A fact of a type that may occur in the split."""
    return _until(lambda: kind.draw(rng), lambda fact: allowed(fact, split))


def draw_other(rng: np.random.Generator, fact: Fact, form: str, split: Split) -> Fact:
    """A fact of the same type that says something else under ``form``; half of the time a near miss."""

    def propose() -> Fact:
        return fact.near(rng) if rng.random() < 0.5 else type(fact).draw(rng)

    return _until(propose, lambda other: allowed(other, split) and other.meaning(form) != fact.meaning(form))


def draw_kinds(rng: np.random.Generator, count: int) -> tuple[type[Fact], ...]:
    """``count`` different fact types in random order."""
    return tuple(FACT_TYPES[int(index)] for index in rng.permutation(len(FACT_TYPES))[:count])


def shuffled(rng: np.random.Generator, values: Sequence[T]) -> tuple[T, ...]:
    """The values in random order."""
    return tuple(values[int(index)] for index in rng.permutation(len(values)))


def show_exactly(rng: np.random.Generator, fact: Fact, so_that: str | None = None) -> Shown:
    """The fact in one of its exact forms; with ``so_that``, one from which that form can be read, and not that form."""
    forms = [form for form in fact.exact if so_that is None or (form != so_that and fact.states(so_that, form))]
    return Shown(fact, pick(rng, forms or fact.exact))


def _until(propose: Callable[[], Fact], accept: Callable[[Fact], bool]) -> Fact:
    for _ in range(10_000):
        fact = propose()
        if accept(fact):
            return fact
    raise AssertionError("no value of the fact type is allowed in this split")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
