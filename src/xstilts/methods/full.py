"""Full fine-tuning: the module is the encoder itself, and every weight of it trains.

STILTs (Phang et al. 2018, arXiv 1811.01088; 2020, arXiv 2005.13013) is this method with the start ``warm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class Options(Value):
    """Full fine-tuning has none."""


def refuse(start: StartName) -> str | None:
    """See ``Method``."""
    if start in ("stack", "fuse"):
        done = "stacked; use warm" if start == "stack" else "fused; use warm or merge"
        return f"full fine-tuning adds no module that could be {done}"
    return None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """Attach nothing: the encoder is the module."""


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """The pre-trained weights stay."""


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Nothing was attached."""


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """All weights of the encoder, under their own names."""
    return {name: name for name, _ in encoder.named_parameters()}
