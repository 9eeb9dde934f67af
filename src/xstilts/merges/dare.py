"""DARE: drop entries of what a module adds at random, rescale the rest, then sum.

Yu et al. 2024, arXiv 2311.03099, §3:

    δ̃ = m ∘ δ / (1 − p),  m = 0 with probability p = ``drop``, else 1            so that the expectation of δ̃ is δ

δ is θ − θ₀ of full fine-tuning and s − 1 of IA3. Of LoRA, entries of A and of B are dropped independently, each
rescaled: the expectation of B̃Ã is then BA, too, while dropping entries of the product would leave no low rank to store.
The sum is that of ``linear``, with its shape. What is dropped depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from xstilts.merges import Merged, Part, _checks, _sum
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Generator, Tensor

REFUSED = {
    "full": None,
    "lora": None,
    "ia3": None,
    "bottleneck": _checks.BOTTLENECK,
    "dora": _checks.DORA,
    "head": _checks.HEAD,
}


class Options(Value):
    """How much is dropped.

    Attributes:
        drop: probability of each entry.
    """

    drop: float = Field(default=0.5, ge=0, lt=1)


def refuse(methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Options) -> str | None:
    """See ``Merge``."""
    return _checks.source_problem(methods, REFUSED) or _checks.weight_problem(methods, weights)


def method(methods: Sequence[AdapterConfig], options: Options) -> AdapterConfig:
    """As ``linear``."""
    return _sum.shape(methods)


def merge(
    parts: Sequence[Part], weights: Sequence[float], options: Options, base: Mapping[str, Tensor], seed: int
) -> Merged:
    """See ``Merge``. ``dropped``: share of the entries that were, all sources together."""
    import torch

    _checks.require(refuse([part.method for part in parts], weights, options))
    if options.drop == 0:
        return Merged(_sum.weighted(parts, weights, base), {"dropped": 0.0})
    generator = torch.Generator().manual_seed(seed)
    thinned, kept = [], 0
    for part in parts:
        masks = {name: _mask(part.tensors[name], options.drop, generator) for name in sorted(part.tensors)}
        kept += sum(int(mask.sum()) for mask in masks.values())
        tensors = {name: _thin(name, part, masks[name], options.drop, base) for name in part.tensors}
        thinned.append(Part(part.method, tensors))
    entries = sum(tensor.numel() for part in parts for tensor in part.tensors.values())
    return Merged(_sum.weighted(thinned, weights, base), {"dropped": 1.0 - kept / entries})


def _mask(tensor: Tensor, drop: float, generator: Generator) -> Tensor:
    """Which entries stay."""
    import torch

    return torch.rand(tensor.shape, generator=generator) >= drop


def _thin(name: str, part: Part, mask: Tensor, drop: float, base: Mapping[str, Tensor]) -> Tensor:
    """One tensor with what is dropped set to where it adds nothing, and the rest as much farther from there."""
    import torch

    tensor = part.tensors[name].double()
    if part.method.kind == "lora":
        return (tensor * mask / (1.0 - drop)).float()
    start = _sum.origin([part], base)(name, tensor).double()
    return torch.where(mask, start + (tensor - start) / (1.0 - drop), start).float()
