"""What the kinds share that come through ``peft``: where modules go, how they work together, how they are named."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from xstilts.methods._backend import only
from xstilts.spec import Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

LinearMap = Literal["query", "key", "value", "attention_output", "intermediate", "output"]
PATHS: dict[LinearMap, str] = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
NOT_FUSED = "fusion attends over what bottlenecks add to a layer, and this kind acts inside linear maps; use {instead}"


class LowRank(Value):
    """Shape of a low-rank delta.

    Attributes:
        rank: of the delta.
        alpha: scales the delta; see the kind.
        dropout: on the input of A, in training.
        targets: linear maps of every layer that get a delta.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[LinearMap, ...] = Field(default=("query", "value"), min_length=1)


def paths(encoder: XLMRobertaModel, targets: Sequence[LinearMap]) -> list[str]:
    """Full names of linear maps, in every layer: peft takes part of a name for all that end in it."""
    layers = range(encoder.config.num_hidden_layers)
    return [f"encoder.layer.{layer}.{PATHS[target]}" for layer in layers for target in targets]


def inject(encoder: XLMRobertaModel, module: str, shape: Any) -> None:
    """Attach a module.

    Args:
        encoder: changed in place.
        module: its name.
        shape: a configuration of peft's.

    Raises:
        XstiltsError: the encoder carries modules of the other library.
    """
    from peft import inject_adapter_in_model

    only(encoder, "peft")
    with warnings.catch_warnings():
        # peft asks whether a second module is meant; it is.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        inject_adapter_in_model(shape, encoder, module)


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Let modules take part, each where it has a part."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    modules = [module for block in chain for module in block]
    for layer in encoder.modules():
        if isinstance(layer, BaseTunerLayer):
            here = getattr(layer, layer.adapter_layer_names[0])
            layer.set_adapter([module for module in modules if module in here])


def names(encoder: XLMRobertaModel, module: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Map stored names to parameter names.

    Args:
        encoder: carries the module.
        module: its name.
        parts: how a parameter's name ends, ``{}`` for the module → how its stored name ends instead.
    """
    ends = {part.format(module): stored for part, stored in parts.items()}
    return {
        name.removesuffix(end) + stored: name
        for name, _ in encoder.named_parameters()
        for end, stored in ends.items()
        if name.endswith(end)
    }
