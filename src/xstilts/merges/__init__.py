"""Merges, one file per kind: how several modules become one without training.

What is merged is what a module adds to the frozen encoder, not the numbers it happens to be stored as: of full
fine-tuning θ − θ₀, of LoRA scaling·BA, of IA3 the scale minus one. Where a method has no such difference a merge is
refused, with the reason, when a study is planned.

The file name is the kind; there is no list to edit. A file holds ``Options`` and the functions of ``Merge``, and
imports torch inside its functions, so that a study can be validated without it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from xstilts import catalogue
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One module that is merged.

    Attributes:
        method: its shape.
        tensors: stored name → fp32 tensor, all that the module consists of.
    """

    method: AdapterConfig
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Merged:
    """What came of a merge.

    Attributes:
        tensors: stored name → fp32 tensor; those of a module of the merge's ``method``. May be tensors of a source.
        facts: what was lost or changed on the way, each a share between 0 and 1.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, float] = field(default_factory=dict)


class Merge(Protocol):
    """What every file of this package provides."""

    @property
    def Options(self) -> type[Value]:  # noqa: N802 - a class, held by a module
        """Closed, frozen model of the kind's options; each has a default."""

    def refuse(self, methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Any) -> str | None:
        """Return why a merge cannot or must not be made, or None if it can.

        Args:
            methods: shape of each source.
            weights: one per source; None = they are decided later, and ``merge`` holds them against the same rules.
            options: the kind's ``Options``.
        """

    def method(self, methods: Sequence[AdapterConfig], options: Any) -> AdapterConfig:
        """Return the shape of the result of a merge that is not refused. It does not depend on the weights.

        Options that equal their defaults are left out, so that equal shapes are equal values.
        """

    def merge(
        self, parts: Sequence[Part], weights: Sequence[float], options: Any, base: Mapping[str, Tensor], seed: int
    ) -> Merged:
        """Merge modules that were trained on the same frozen encoder.

        Args:
            parts: the sources.
            weights: one per source.
            options: the kind's ``Options``.
            base: the frozen encoder's tensors by stored name of the method ``full``; read for that method only.
            seed: of whatever is drawn.

        Raises:
            XstiltsError: a merge that is refused, or sources that do not hold the same tensors. All weights zero are
                refused in a study, but not here, where a search for weights may try them.
        """


def merge_kinds() -> tuple[str, ...]:
    """Names of all shipped kinds, sorted."""
    return catalogue.names(sys.modules[__name__])


def load_merge(kind: str, where: str = "merge") -> Merge:
    """Import ``merges/<kind>.py``.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    return cast(Merge, catalogue.entry(sys.modules[__name__], kind, where, "merge kind"))
