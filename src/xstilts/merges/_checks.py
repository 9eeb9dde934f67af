"""What every merge asks of its sources and weights before it asks anything of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xstilts.errors import fail
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig, Value, unique

NOTHING = "all weights are zero: the result would be the encoder as it was"
HEAD = "only heads were trained: the encoder is unchanged, and there is nothing to merge"
DORA = "DoRA rescales every row of W + BA to a length of its own: neither factors nor lengths add up; use select"
BOTTLENECK = (
    "a bottleneck is not linear in its weights, and they are no difference from a common point, only a network of "
    "their own; use linear with weights ≥ 0 that sum to 1"
)


def source_problem(methods: Sequence[AdapterConfig], refused: Mapping[str, str | None]) -> str | None:
    """Return what is wrong with the sources whatever else the merge may ask, or None.

    Args:
        methods: shape of each source.
        refused: method kind → why the merge is refused for it, None if it is not; a kind that is not here is refused.
    """
    kinds = unique(method.kind for method in methods)
    if not kinds:
        return "there is no source"
    if len(kinds) > 1:
        return f"the sources are of different methods: {', '.join(kinds)}"
    return refused.get(kinds[0], f"not defined for {kinds[0]}")


def weight_problem(methods: Sequence[AdapterConfig], weights: Sequence[float] | None) -> str | None:
    """Return what is wrong with weights whatever else the merge may ask, or None; None are right."""
    if weights is None:
        return None
    if len(weights) != len(methods):
        return f"{len(weights)} weights for {len(methods)} sources"
    if not all(math.isfinite(weight) for weight in weights):
        return "a weight is not a finite number"
    return None if any(weights) else NOTHING


def require(reason: str | None) -> None:
    """Raise the reason of a refusal, if there is one.

    Raises:
        XstiltsError: there is one, but not that all weights are zero: a search may try that.
    """
    if reason and reason != NOTHING:
        raise fail("merge", f"refused: {reason}")


def options_of(method: AdapterConfig) -> Value:
    """A method's options, completed by their defaults."""
    return load_method(method.kind).Options.model_validate(method.options)


def normalised(method: AdapterConfig) -> AdapterConfig:
    """The same shape, without options that equal their defaults."""
    return AdapterConfig(kind=method.kind, options=options_of(method).model_dump(exclude_defaults=True))


def all_targets(methods: Sequence[AdapterConfig]) -> tuple[str, ...]:
    """Linear maps that any source changes: in the sources' order where all have the same, else sorted."""
    found = {options_of(method).model_dump()["targets"] for method in methods}
    return found.pop() if len(found) == 1 else tuple(sorted({name for targets in found for name in targets}))


def differing(methods: Sequence[AdapterConfig]) -> str | None:
    """Return in which options methods of one kind differ, as a reason, or None."""
    shapes = [options_of(method).model_dump() for method in methods]
    names = [name for name in shapes[0] if any(shape[name] != shapes[0][name] for shape in shapes)]
    return f"the sources differ in {', '.join(names)}" if names else None
