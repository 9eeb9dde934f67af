"""Natural language inference: does a record entail, contradict, or not mention one fact (or two)?

Every record gets one hypothesis per label, so labels are balanced and the premise alone says nothing; type, form and
value of the hypothesis are drawn the same way for all three labels, so the hypothesis alone says nothing either. A
hypothesis never repeats the surface form of its fact.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from xstilts.mini.draw import draw_fact, draw_kinds, draw_other, generator, show_exactly, shuffled
from xstilts.mini.fact import Fact, pick
from xstilts.mini.facts import FACT_TYPES
from xstilts.mini.record import Shown, write
from xstilts.spec import Example, Split, TextPair

LABELS: tuple[str, ...] = ("entailment", "neutral", "contradiction")


class Inference(NamedTuple):
    """One item before it is written in a language."""

    premise: tuple[Shown, ...]
    hypothesis: tuple[Shown, ...]
    label: str


@functools.cache
def inferences(task: str, split: Split, count: int, hops: int) -> tuple[Inference, ...]:
    """``count`` records with three hypotheses each; ``hops`` facts in every hypothesis.

    With two hops one fact decides and the other is entailed.
    """
    items: list[Inference] = []
    for number in range(count):
        rng = generator(task, split, number)
        kinds = draw_kinds(rng, int(rng.integers(hops + 1, 4)))
        premise = tuple(show_exactly(rng, draw_fact(rng, kind, split)) for kind in kinds)
        for label in LABELS:
            items.append(Inference(premise, _hypothesis(rng, premise, label, hops, split), label))
    return tuple(items)


def examples(task: str, split: Split, language: str, count: int, hops: int = 1) -> tuple[Example, ...]:
    """The items of a split in one language; three times ``count``, one cluster per premise."""
    written = []
    for number, item in enumerate(inferences(task, split, count, hops)):
        fields = TextPair(write(item.premise, language).text, write(item.hypothesis, language).text)
        name = f"{split}-{number // len(LABELS)}"
        written.append(Example(f"{name}-{number % len(LABELS)}", language, name, fields, item.label))
    return tuple(written)


def _hypothesis(
    rng: np.random.Generator, premise: tuple[Shown, ...], label: str, hops: int, split: Split
) -> tuple[Shown, ...]:
    chosen = shuffled(rng, premise)[:hops]
    decisive = _decisive(rng, chosen[0], premise, label, split)
    return shuffled(rng, (decisive, *(Shown(other.fact, restate(rng, other)) for other in chosen[1:])))


def _decisive(rng: np.random.Generator, shown: Shown, premise: tuple[Shown, ...], label: str, split: Split) -> Shown:
    if label == "neutral":
        present = {shown.fact.kind for shown in premise}
        kind = pick(rng, [kind for kind in FACT_TYPES if kind.kind not in present])
        absent: Fact = draw_fact(rng, kind, split)
        return Shown(absent, restate(rng, show_exactly(rng, absent)))
    form = restate(rng, shown)
    fact = shown.fact if label == "entailment" else draw_other(rng, shown.fact, form, split)
    return Shown(fact, form)


def restate(rng: np.random.Generator, shown: Shown) -> str:
    """A form that can be read off ``shown`` and is not its own."""
    forms = [form for form in shown.fact.exact + shown.fact.implied if form != shown.form]
    return pick(rng, [form for form in forms if shown.fact.states(form, shown.form)])
