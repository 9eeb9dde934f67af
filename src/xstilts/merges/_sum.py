"""The weighted sum Σ wᵢ Δᵢ of what modules add to the encoder, per method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xstilts.errors import fail
from xstilts.merges import Part, _lora
from xstilts.merges._checks import all_targets, normalised
from xstilts.spec import AdapterConfig, unique

if TYPE_CHECKING:
    from torch import Tensor

Origin = Callable[[str, "Tensor"], "Tensor"]


def origin(parts: Sequence[Part], base: Mapping[str, Tensor]) -> Origin:
    """Return (stored name, a tensor of that name) → the tensor of a module that adds nothing.

    Full fine-tuning: the frozen encoder's. IA3: ones.
    """
    import torch

    kind = parts[0].method.kind
    if kind == "full":
        return lambda name, _: base[name].detach()
    assert kind == "ia3", f"{kind} has no origin"
    return lambda _, like: torch.ones_like(like)


def shape(methods: Sequence[AdapterConfig]) -> AdapterConfig:
    """Shape of the sum: of LoRA the ranks add up, with scaling 1; IA3 scales wherever a source does."""
    if methods[0].kind == "lora":
        return _lora.concatenated(methods)
    if methods[0].kind == "ia3":
        return normalised(AdapterConfig(kind="ia3", options={"targets": all_targets(methods)}))
    return normalised(methods[0])


def difference(parts: Sequence[Part], base: Mapping[str, Tensor], number: int, name: str) -> Tensor:
    """What one part adds under a stored name, written out, fp32; of LoRA, ΔW of the linear map of this name."""
    import torch

    if parts[0].method.kind == "lora":
        alone = [float(each == number) for each in range(len(parts))]
        return _lora.side_by_side(parts, alone, name).dense.float()
    tensor = parts[number].tensors.get(name)
    if tensor is None:
        return torch.zeros_like(next(part.tensors[name] for part in parts if name in part.tensors))
    return tensor - origin(parts, base)(name, tensor)


def names(parts: Sequence[Part]) -> tuple[str, ...]:
    """What ``difference`` may be asked for.

    Raises:
        XstiltsError: the parts do not hold the same tensors.
    """
    if parts[0].method.kind == "lora":
        return _lora.maps(parts)
    if parts[0].method.kind != "ia3":  # IA3 may scale other places in each part; where it does not, its scale is 1
        _hold_the_same(parts)
    return unique(name for part in parts for name in part.tensors)


def weighted(parts: Sequence[Part], weights: Sequence[float], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sum what the parts add, each with its weight; one part of weight 1 comes out bit for bit.

    Raises:
        XstiltsError: the parts do not hold the same tensors.
    """
    if parts[0].method.kind == "lora":
        return _lora_sum(parts, weights)
    tensors = {}
    for name in names(parts):
        pairs = zip(parts, weights, strict=True)
        first, *others = [(part.tensors[name], weight) for part, weight in pairs if name in part.tensors]
        mixed = first[1] * first[0].double()
        for tensor, weight in others:
            mixed += weight * tensor.double()
        # Not as θ₀ + Σ w (θ − θ₀), which rounds: if the weights sum to 1, the origin plays no part.
        rest = 1.0 - math.fsum(weight for _, weight in (first, *others))
        if rest and parts[0].method.kind != "bottleneck":
            mixed += rest * origin(parts, base)(name, first[0]).double()
        tensors[name] = mixed.float()
    return tensors


def _lora_sum(parts: Sequence[Part], weights: Sequence[float]) -> dict[str, Tensor]:
    if len(parts) == 1:  # the shape stays, and so does the scaling
        (part,), (weight,) = parts, weights
        return {name: weight * tensor if name.endswith(_lora.B) else tensor for name, tensor in part.tensors.items()}
    deltas = {name: _lora.side_by_side(parts, weights, name) for name in _lora.maps(parts)}
    return _lora.stored(deltas, _lora.concatenated([part.method for part in parts]))


def _hold_the_same(parts: Sequence[Part]) -> None:
    for number, part in enumerate(parts[1:], start=2):
        odd = sorted(part.tensors.keys() ^ parts[0].tensors.keys())
        if odd:
            raise fail("merge", f"source {number} does not hold the tensors of the first one", odd[0])
