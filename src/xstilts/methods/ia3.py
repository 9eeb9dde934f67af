"""(IA)³ through ``peft``: learned scales of activations (Liu et al. 2022, arXiv 2205.05638, §3.3).

    key, value:  W x  →  l ⊙ (W x)         output, attention_output:  W x  →  W (l ⊙ x)

Scales begin as one. Those of several modules multiply, so their order does not matter, and a fresh one changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xstilts.methods import _peft
from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

INPUTS = ("output", "attention_output")  # of these maps the input is scaled


class Options(Value):
    """What is scaled.

    Attributes:
        targets: linear maps of every layer; the paper's three, and ``attention_output``, which peft's own default for
            RoBERTa scales as well.
    """

    targets: tuple[Literal["key", "value", "output", "attention_output"], ...] = Field(
        default=("key", "value", "output"), min_length=1
    )


def refuse(start: StartName) -> str | None:
    """See ``Method``."""
    return _peft.NOT_FUSED.format(instead="stack or merge") if start == "fuse" else None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``.

    Raises:
        XstiltsError: the encoder carries modules of the other library.
    """
    from peft import IA3Config

    shape = IA3Config(
        target_modules=_peft.paths(encoder, options.targets),
        feedforward_modules=_peft.paths(encoder, [target for target in options.targets if target in INPUTS]),
    )
    _peft.inject(encoder, module, shape)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Set all scales to one; nothing is drawn."""
    import torch

    with torch.no_grad():
        for name in names(encoder, module).values():
            encoder.get_parameter(name).fill_(1.0)


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Multiply the scales of the modules."""
    _peft.activate(encoder, chain)


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """``….key.ia3_l.<module>`` is stored as ``….key.scale``."""
    return _peft.names(encoder, module, {".ia3_l.{}": ".scale"})
