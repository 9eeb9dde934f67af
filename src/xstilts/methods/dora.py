"""DoRA through ``peft``: a weight as magnitude times direction (Liu et al. 2024, arXiv 2402.09353, §4.1).

    W x  →  m ⊙ (V x) / ‖V‖        V = W + (alpha / rank) · B A,   ‖V‖: norm of each row, one per output

m begins as ‖W‖ and B as zero. No gradient flows through ‖V‖ (§4.3). A fresh module is the identity bit for bit on the
device that it was initialised on; where norms are summed in another order or precision, to the rounding of that.

The adapters library has DoRA, too, but leaves the weights of the backbone changed when a module is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xstilts.methods import _peft
from xstilts.methods._initial import draw
from xstilts.methods.lora import PARTS as LOW_RANK
from xstilts.spec import StartName

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

PARTS = {**LOW_RANK, ".lora_magnitude_vector.{}.weight": ".magnitude"}


class Options(_peft.LowRank):
    """Shape of the delta."""


def refuse(start: StartName) -> str | None:
    """See ``Method``."""
    if start == "stack":
        return (
            "DoRA modules do not add up: each rescales what the ones below give, by a norm that leaves them out; "
            "use warm, or lora"
        )
    return _peft.NOT_FUSED.format(instead="warm") if start == "fuse" else None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``.

    Raises:
        XstiltsError: the encoder carries modules of the other library.
    """
    from peft import LoraConfig

    shape = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=_peft.paths(encoder, options.targets),
        use_dora=True,
    )
    _peft.inject(encoder, module, shape)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Draw A, zero B; magnitudes are the norms of the backbone's weights, taken as every forward pass takes them."""
    import torch
    from peft.tuners.lora import LoraLayer

    draw(encoder, names(encoder, module), ".lora_A")
    with torch.no_grad():
        for layer in encoder.modules():
            if isinstance(layer, LoraLayer) and module in layer.lora_magnitude_vector:
                magnitude = layer.lora_magnitude_vector[module]
                delta = magnitude.get_lora_weight(layer.lora_A[module], layer.lora_B[module])
                norms = magnitude.get_weight_norm(layer.get_base_layer().weight, delta, layer.scaling[module])
                magnitude.weight.copy_(norms)


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Let the module take part; more than one is refused beforehand."""
    _peft.activate(encoder, chain)


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """As for LoRA, and ``….query.lora_magnitude_vector.<module>.weight`` is stored as ``….query.magnitude``."""
    return _peft.names(encoder, module, PARTS)
