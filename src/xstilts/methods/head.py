"""Head only: the encoder stays as it was pre-trained, and only the task's head trains (linear probing).

The floor that every module must beat: what the frozen representation gives by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class Options(Value):
    """Head-only training has none."""


def refuse(start: StartName) -> str | None:
    """See ``Method``."""
    return None if start == "cold" else "the encoder is unchanged and heads are not reused: the same as cold"


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """Attach nothing."""


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """The pre-trained weights stay."""


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Nothing was attached."""


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """No tensor of the encoder."""
    return {}
