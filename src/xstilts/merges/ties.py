"""TIES: trim, elect a sign, and average what agrees with it (Yadav et al. 2023, arXiv 2306.01708, algorithm 1).

    τ̂ᵢ = τᵢ, all but the ``density`` largest magnitudes set to zero        trim, over the whole module
    γ  = sign(Σ wᵢ τ̂ᵢ)                                                     elect, per entry
    τ  = Σⱼ|wⱼ| · Σ_{i: sign(wᵢ τ̂ᵢ) = γ} wᵢ τ̂ᵢ / Σ_{same i} |wᵢ|           disjoint mean

τᵢ is what a source adds: θᵢ − θ₀ of full fine-tuning, the written-out scaling·BA of LoRA, s − 1 of IA3. With all k
weights equal to λ/k this is the paper's formula with its λ. Other weights count as the votes and shares of that many
copies, and a negative one as that of the opposite vector. Where the votes sum to zero there is no sign, and the entry
is zero.

Of LoRA the result is cut back to factors, by default at the sum of the sources' ranks (``truncation_error``, as in
``svd``): trimming and election are done entry by entry and do not keep a matrix at low rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from xstilts.merges import Merged, Part, _checks, _lora, _sum
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Tensor

REFUSED = {
    "full": None,
    "lora": None,
    "ia3": None,
    "bottleneck": _checks.BOTTLENECK,
    "dora": _checks.DORA,
    "head": _checks.HEAD,
}
CHUNK = 1 << 22  # entries that are compared at once; the embeddings of a large encoder are 60 times as many


class Options(Value):
    """How much is kept.

    Attributes:
        density: share of a source's entries that are kept, the largest ones (the paper's k).
        rank: of the result, for LoRA; absent = the sum of the sources' ranks.
    """

    density: float = Field(default=0.2, gt=0, le=1)
    rank: int | None = Field(default=None, ge=1)


@dataclass(frozen=True)
class _Election:
    """What is left of one tensor; how many entries any source kept, and how many were kept with both signs."""

    delta: Tensor
    kept: int
    conflicts: int


def refuse(methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Options) -> str | None:
    """See ``Merge``."""
    reason = _checks.source_problem(methods, REFUSED)
    if reason is None and options.rank is not None and methods[0].kind != "lora":
        return f"rank is an option for LoRA; {methods[0].kind} has none"
    return reason or _checks.weight_problem(methods, weights)


def method(methods: Sequence[AdapterConfig], options: Options) -> AdapterConfig:
    """Of LoRA the shape of the sources where they agree, at the rank; else as ``linear``."""
    if methods[0].kind == "lora":
        return _lora.resized(methods, options.rank or _lora.total_rank(methods))
    return _sum.shape(methods)


def merge(
    parts: Sequence[Part], weights: Sequence[float], options: Options, base: Mapping[str, Tensor], seed: int
) -> Merged:
    """See ``Merge``. ``sign_conflicts``: of the entries that any source keeps, the share where signs disagree."""
    import torch

    methods = [part.method for part in parts]
    _checks.require(refuse(methods, weights, options))
    shape = method(methods, options)
    low_rank = methods[0].kind == "lora"
    if len(parts) == 1 and options.density == 1.0 and shape == _checks.normalised(methods[0]):
        facts = {"sign_conflicts": 0.0} | ({"truncation_error": 0.0} if low_rank else {})
        return Merged(_sum.weighted(parts, weights, base), facts)  # nothing to trim, and one vote
    find = [partial(_sum.difference, parts, base, number) for number in range(len(parts))]
    least = torch.tensor(
        [[_threshold(map(of, _sum.names([part])), options.density)] for of, part in zip(find, parts, strict=True)]
    )
    elections = {name: _elect([of(name) for of in find], weights, least) for name in _sum.names(parts)}
    facts = {"sign_conflicts": _share(list(elections.values()))}
    if low_rank:
        rank = _lora.options(shape).rank
        cuts = {name: _lora.cut_dense(each.delta, rank) for name, each in elections.items()}
        tensors = _lora.stored({name: each.delta for name, each in cuts.items()}, shape)
        return Merged(tensors, facts | {"truncation_error": _lora.error(list(cuts.values()))})
    start = _sum.origin(parts, base)
    return Merged({name: start(name, each.delta) + each.delta for name, each in elections.items()}, facts)


def _threshold(deltas: Iterable[Tensor], density: float) -> float:
    """Smallest magnitude that is kept of a source; whatever equals it is kept, too."""
    import numpy as np

    if density == 1.0:
        return 0.0
    magnitudes = np.concatenate([delta.abs().flatten().numpy() for delta in deltas])
    place = len(magnitudes) - max(1, round(density * len(magnitudes)))
    magnitudes.partition(place)
    return float(magnitudes[place])


def _elect(deltas: Sequence[Tensor], weights: Sequence[float], least: Tensor) -> _Election:
    """Trim, elect and average one tensor.

    Args:
        deltas: of each source, all of one shape.
        weights: one per source.
        least: smallest magnitude that is kept of each source ``(sources, 1)``.
    """
    import torch

    # Relative to the largest, so that equal weights are exactly 1 and equal opposite votes sum to exactly 0.
    largest = max(map(abs, weights)) or 1.0
    column = torch.tensor([weight / largest for weight in weights], dtype=torch.float64)[:, None]
    total = sum(map(abs, weights))
    merged, kept, conflicts = [], 0, 0
    for chunk in zip(*(torch.split(delta.flatten(), CHUNK) for delta in deltas), strict=True):
        rows = torch.stack(chunk)
        votes = column * torch.where(rows.abs() >= least, rows, 0.0)
        agree = (votes.sign() == votes.sum(0).sign()) & (votes != 0)
        shares = (agree * column.abs()).sum(0)
        merged.append(total * (agree * votes).sum(0) / torch.where(shares > 0, shares, 1.0))
        kept += int((votes != 0).any(0).sum())
        conflicts += int(((votes > 0).any(0) & (votes < 0).any(0)).sum())
    return _Election(torch.cat(merged).float().reshape(deltas[0].shape), kept, conflicts)


def _share(elections: Sequence[_Election]) -> float:
    return sum(each.conflicts for each in elections) / max(1, sum(each.kept for each in elections))
