"""LoRA in merges. What is added up is ΔW = scaling·BA; A and B by themselves have no meaning.

Any invertible M gives the same ΔW as (BM)(M⁻¹A), so averaging A and B one by one is no average of the deltas, and
leaves cross terms B₁A₂ that no source ever had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xstilts.merges import Part
from xstilts.merges._checks import all_targets, normalised
from xstilts.methods.lora import Options
from xstilts.spec import AdapterConfig, unique

if TYPE_CHECKING:
    from torch import Tensor

A, B = ".lora_A", ".lora_B"


@dataclass(frozen=True)
class Delta:
    """One ΔW as a product, in double precision; the scaling is inside ``b``.

    Attributes:
        a: (rank, in).
        b: (out, rank).
    """

    a: Tensor
    b: Tensor

    @property
    def dense(self) -> Tensor:
        """ΔW (out, in)."""
        return self.b @ self.a


@dataclass(frozen=True)
class Cut:
    """The best approximation of a ΔW at a rank, and the squared Frobenius norm of what is lost and of the whole."""

    delta: Delta
    lost: float
    whole: float


def options(method: AdapterConfig) -> Options:
    """A LoRA's options, completed."""
    return Options.model_validate(method.options)


def scaling(chosen: Options) -> float:
    """The factor of BA: alpha / rank, or alpha / √rank if rank-stabilised (arXiv 2312.03732, §3)."""
    return chosen.alpha / (math.sqrt(chosen.rank) if chosen.rank_stabilised else chosen.rank)


def total_rank(methods: Sequence[AdapterConfig]) -> int:
    """Rank of the sum of deltas, at most."""
    return sum(options(method).rank for method in methods)


def concatenated(methods: Sequence[AdapterConfig]) -> AdapterConfig:
    """Shape of factors written side by side: scaling 1; one source keeps its own shape."""
    if len(methods) == 1:
        return normalised(methods[0])
    rank = total_rank(methods)
    return _shape(methods, {"rank": rank, "alpha": float(rank), "rank_stabilised": False})


def resized(methods: Sequence[AdapterConfig], rank: int) -> AdapterConfig:
    """The shape that sources share, at another rank. The scaling is theirs where they agree, else 1."""
    alphas = {options(method).alpha for method in methods}
    stabilised = {options(method).rank_stabilised for method in methods}
    agree = len(alphas) == len(stabilised) == 1
    scale = {"alpha": alphas.pop(), "rank_stabilised": stabilised.pop()} if agree else {"alpha": float(rank)}
    return _shape(methods, {"rank": rank, **scale})


def _shape(methods: Sequence[AdapterConfig], sized: dict[str, object]) -> AdapterConfig:
    """All targets of any source; dropout where all have the same."""
    dropouts = {options(method).dropout for method in methods}
    dropout = dropouts.pop() if len(dropouts) == 1 else 0.0
    chosen = Options.model_validate({"dropout": dropout, "targets": all_targets(methods), **sized})
    return normalised(AdapterConfig(kind="lora", options=chosen.model_dump()))


def maps(parts: Sequence[Part]) -> tuple[str, ...]:
    """Stored names of the linear maps to which any source adds."""
    return unique(name.removesuffix(A) for part in parts for name in part.tensors if name.endswith(A))


def side_by_side(parts: Sequence[Part], weights: Sequence[float], name: str) -> Delta:
    """Σ wᵢ ΔWᵢ of one linear map as one product of rank Σ rankᵢ; a source that adds nothing there gives zeros."""
    import torch

    there = next(part for part in parts if name + A in part.tensors)
    columns, rows = there.tensors[name + A].shape[1], there.tensors[name + B].shape[0]
    a, b = [], []
    for part, weight in zip(parts, weights, strict=True):
        chosen = options(part.method)
        if name + A in part.tensors:
            a.append(part.tensors[name + A].double())
            b.append(weight * scaling(chosen) * part.tensors[name + B].double())
        else:
            a.append(torch.zeros(chosen.rank, columns, dtype=torch.float64))
            b.append(torch.zeros(rows, chosen.rank, dtype=torch.float64))
    return Delta(torch.cat(a), torch.cat(b, dim=1))


def cut(delta: Delta, rank: int) -> Cut:
    """Find the best approximation of a product at a rank, without ever writing the product out.

    With B = Q_B R_B and Aᵀ = Q_A R_A the singular values of BA are those of the small R_B R_Aᵀ.
    """
    import torch

    q_b, r_b = torch.linalg.qr(delta.b)
    q_a, r_a = torch.linalg.qr(delta.a.T)
    u, s, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    return _leading(q_b @ u, s, vh @ q_a.T, rank)


def cut_dense(delta: Tensor, rank: int) -> Cut:
    """Find the best approximation of a matrix (out, in) at a rank."""
    import torch

    u, s, vh = torch.linalg.svd(delta.double(), full_matrices=False)
    return _leading(u, s, vh, rank)


def _leading(u: Tensor, s: Tensor, vh: Tensor, rank: int) -> Cut:
    """The first ``rank`` components (Eckart & Young 1936); zeros where there are fewer.

    The singular values go into B: A keeps rows of length 1 even where they are zero, so that a training which goes on
    from here has a gradient in every component, as LoRA's own B = 0 has.
    """
    from torch.nn.functional import pad

    missing = max(0, rank - len(s))
    a, b = pad(vh[:rank], (0, 0, 0, missing)), pad((u * s)[:, :rank], (0, missing))
    return Cut(Delta(a, b), float(s[rank:].square().sum()), float(s.square().sum()))


def stored(deltas: dict[str, Delta], method: AdapterConfig) -> dict[str, Tensor]:
    """Stored name → fp32 tensor, with the method's scaling taken out of B."""
    scale = scaling(options(method))
    tensors = {}
    for name, delta in deltas.items():
        tensors[name + A] = delta.a.float().contiguous()
        tensors[name + B] = (delta.b / scale).float().contiguous()
    return tensors


def error(cuts: Sequence[Cut]) -> float:
    """Relative Frobenius norm of what was cut off all maps together."""
    whole = math.fsum(each.whole for each in cuts)
    return math.sqrt(math.fsum(each.lost for each in cuts) / whole) if whole else 0.0
