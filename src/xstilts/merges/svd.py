"""The weighted sum of LoRA deltas, cut to a rank: the module stays as small as its sources.

    B A = the best approximation of Σ wᵢ scalingᵢ·BᵢAᵢ at that rank, of every linear map by itself

by singular values (Eckart & Young 1936), found from the factors without writing a matrix out. By default the rank is
the largest of the sources; sources of one shape give that same shape, so that training can go on from the result. What
was cut off is told: ``truncation_error`` is its Frobenius norm, all maps together, relative to that of the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from xstilts.merges import Merged, Part, _checks, _lora, _sum
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Tensor

REFUSED = {
    "lora": None,
    "full": "full fine-tuning stores every weight: cut to a rank, its difference would be no smaller; use linear",
    "ia3": "a vector of scales has no rank; use linear",
    "bottleneck": _checks.BOTTLENECK,
    "dora": _checks.DORA,
    "head": _checks.HEAD,
}


class Options(Value):
    """How much is kept.

    Attributes:
        rank: of the result; absent = the largest of the sources.
    """

    rank: int | None = Field(default=None, ge=1)


def refuse(methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Options) -> str | None:
    """See ``Merge``."""
    reason = _checks.source_problem(methods, REFUSED)
    if reason:
        return reason
    most = _lora.total_rank(methods)
    if options.rank is not None and options.rank > most:
        return f"the sum has rank {most} at most, and rank {options.rank} would cut nothing off; use linear"
    return _checks.weight_problem(methods, weights)


def method(methods: Sequence[AdapterConfig], options: Options) -> AdapterConfig:
    """The shape of the sources where they agree, at the rank."""
    return _lora.resized(methods, options.rank or max(_lora.options(each).rank for each in methods))


def merge(
    parts: Sequence[Part], weights: Sequence[float], options: Options, base: Mapping[str, Tensor], seed: int
) -> Merged:
    """See ``Merge``."""
    methods = [part.method for part in parts]
    _checks.require(refuse(methods, weights, options))
    shape = method(methods, options)
    if shape == _lora.concatenated(methods):
        return Merged(_sum.weighted(parts, weights, base), {"truncation_error": 0.0})
    rank = _lora.options(shape).rank
    cuts = {name: _lora.cut(_lora.side_by_side(parts, weights, name), rank) for name in _lora.maps(parts)}
    tensors = _lora.stored({name: each.delta for name, each in cuts.items()}, shape)
    return Merged(tensors, {"truncation_error": _lora.error(list(cuts.values()))})
