"""LoRA through ``peft``: a low-rank sum on top of frozen linear maps (Hu et al. 2022, arXiv 2106.09685, §4).

    W x  →  W x + (alpha / rank) · B A x        A: in → rank,  B: rank → out (zero at the start)

Several modules add up: W x + Σ Bᵢ Aᵢ x, so their order does not matter. (The ``Stack`` of the adapters library would be
a matrix chain, in which a fresh B = 0 on top erases the module below; peft with several active modules is the sum.)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xstilts.methods._initial import draw
from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

PATHS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}


class Options(Value):
    """Shape of the delta.

    Attributes:
        rank: of the delta.
        alpha: the delta is scaled by alpha / rank.
        dropout: on the input of A, in training.
        targets: linear maps of every layer that get a delta.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[Literal["query", "key", "value", "attention_output", "intermediate", "output"], ...] = Field(
        default=("query", "value"), min_length=1
    )


def refuse(start: StartName) -> str | None:
    """Every start is possible."""
    return None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``."""
    from peft import LoraConfig, inject_adapter_in_model

    layers = range(encoder.config.num_hidden_layers)
    shape = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=[f"encoder.layer.{layer}.{PATHS[target]}" for layer in layers for target in options.targets],
    )
    with warnings.catch_warnings():
        # peft asks whether a second module is meant; it is.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        inject_adapter_in_model(shape, encoder, module)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Draw A, zero B."""
    draw(encoder, names(encoder, module), ".lora_A")


def activate(encoder: XLMRobertaModel, modules: Sequence[str]) -> None:
    """Add the modules up."""
    from peft.tuners.lora import LoraLayer

    for layer in encoder.modules():
        if isinstance(layer, LoraLayer):
            layer.set_adapter([module for module in modules if module in layer.lora_A])


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """``….query.lora_A.<module>.weight`` is stored as ``….query.lora_A``."""
    ends = (f".lora_A.{module}.weight", f".lora_B.{module}.weight")
    owned = [name for name, _ in encoder.named_parameters() if name.endswith(ends)]
    return {name.removesuffix(f".{module}.weight"): name for name in owned}
