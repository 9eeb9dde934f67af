"""What a model is made of: which trainings' modules it carries, and so whose weights a step reads.

A trained model is a chain of modules, each the work of one training and stored by that training alone:

    Cold         own
    Warm(a)      modules below a's own, then own, which begins as a copy of a's
    Stack(a, b)  modules of a, modules of b, then own; a module that both need lies at its first place only
"""

from __future__ import annotations

from collections.abc import Iterable

from xstilts.key import key
from xstilts.spec import Predict, Stack, Step, Train, Warm


def inputs(step: Step) -> tuple[Train, ...]:
    """The trainings that a step names."""
    if isinstance(step, Predict):
        return (step.model,) if isinstance(step.model, Train) else ()
    if isinstance(step.start, Warm):
        return (step.start.source,)
    return step.start.sources if isinstance(step.start, Stack) else ()


def lineage(step: Train) -> tuple[Train, ...]:
    """The trainings whose modules make up a trained model, lowest first; the last one is the step itself."""
    if isinstance(step.start, Warm):
        return (*lineage(step.start.source)[:-1], step)
    if isinstance(step.start, Stack):
        return (*_once(train for source in step.start.sources for train in lineage(source)), step)
    return (step,)


def reads(step: Step) -> tuple[Train, ...]:
    """The trainings whose weights have to be there when a step runs, each once."""
    return _once(train for source in inputs(step) for train in lineage(source))


def _once(trains: Iterable[Train]) -> tuple[Train, ...]:
    found: dict[str, Train] = {}
    for train in trains:
        found.setdefault(key(train), train)
    return tuple(found.values())
