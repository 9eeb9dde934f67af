"""Retrieval: find the parallel record in another language, among records that differ from it in one fact.

Records come in families that share all facts but one, so a search by topic alone finds the family, not the record.
Query and candidate show their facts in the same order, each in forms of its own.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from xstilts.mini.draw import draw_fact, draw_kinds, generator, show_exactly
from xstilts.mini.fact import Fact
from xstilts.mini.record import Shown, write
from xstilts.spec import Example, Sentence, Split

QUERY_LANGUAGE = "en"


class Parallel(NamedTuple):
    """One item before it is written: the same facts in the forms of the query and of the candidate."""

    query: tuple[Shown, ...]
    candidate: tuple[Shown, ...]


@functools.cache
def families(task: str, split: Split, count: int, size: int, facts: int) -> tuple[tuple[Parallel, ...], ...]:
    """``count`` families of ``size`` records with ``facts`` facts, of which one differs within a family."""
    drawn = []
    for number in range(count):
        rng = generator(task, split, number)
        shared = [draw_fact(rng, kind, split) for kind in draw_kinds(rng, facts)]
        place = int(rng.integers(facts))
        varied: dict[str, Fact] = {}
        while len(varied) < size:
            fact = draw_fact(rng, type(shared[place]), split)
            varied.setdefault(repr(fact), fact)
        family = []
        for fact in varied.values():
            record = [*shared[:place], fact, *shared[place + 1 :]]
            sides = [tuple(show_exactly(rng, each) for each in record) for _ in range(2)]
            family.append(Parallel(sides[0], sides[1]))
        drawn.append(tuple(family))
    return tuple(drawn)


def examples(task: str, split: Split, language: str, count: int, size: int, facts: int) -> tuple[Example, ...]:
    """English queries and candidates in one language, one cluster per family; ``count`` times ``size`` of each."""
    written = []
    for number, family in enumerate(families(task, split, count, size, facts)):
        cluster = f"{split}-{number}"
        for member, item in enumerate(family):
            name = f"{cluster}-{member}"
            query = Sentence(write(item.query, QUERY_LANGUAGE).text, "query")
            candidate = Sentence(write(item.candidate, language).text, "candidate")
            written.append(Example(name, language, cluster, query, name))
            written.append(Example(name, language, cluster, candidate, None))
    return tuple(written)
