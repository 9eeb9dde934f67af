"""The weighted sum of what modules add to the encoder.

    full         θ₀ + Σ wᵢ (θᵢ − θ₀)           θ₀: the encoder as it was pre-trained
    lora         W + Σ wᵢ scalingᵢ·BᵢAᵢ        exact, by factors side by side: the ranks add up
    ia3          1 + Σ wᵢ (sᵢ − 1)             sᵢ: a vector of scales
    bottleneck   Σ wᵢ θᵢ                       wᵢ ≥ 0, Σ wᵢ = 1

Weights that sum to 1 average the trained weights (model soups; Wortsman et al. 2022, arXiv 2203.05482, §2), others do
task arithmetic: a negative one takes a task away (Ilharco et al. 2023, arXiv 2212.04089, §2). A linear map with LoRA or
IA3 changes by just the weighted sum of the changes; the encoder as a whole is not linear in its weights.

Neither is a bottleneck up(f(down(h))): doubled weights give about four times the output, negated ones not its negative.
Only an average stays near the networks that were trained (AdapterSoup; Chronopoulou et al. 2023, arXiv 2302.07027), and
it means something only if hidden units correspond, as they do in modules that began at the same weights: those of one
seed. Invertible blocks are averaged in the same way; whatever the weights of its two halves are, such a block is a
bijection (NICE; Dinh et al. 2015, arXiv 1410.8516).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xstilts.merges import Merged, Part, _checks, _sum
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Tensor

REFUSED = {"full": None, "bottleneck": None, "lora": None, "ia3": None, "dora": _checks.DORA, "head": _checks.HEAD}
TOLERANCE = 1e-6  # of the sum of weights that average


class Options(Value):
    """A sum has none."""


def refuse(methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Options) -> str | None:
    """See ``Merge``."""
    reason = _checks.source_problem(methods, REFUSED)
    if reason is None and methods[0].kind == "bottleneck":
        reason = _checks.differing(methods) or _average_problem(weights)
    return reason or _checks.weight_problem(methods, weights)


def method(methods: Sequence[AdapterConfig], options: Options) -> AdapterConfig:
    """Of LoRA the ranks add up, with scaling 1; IA3 scales wherever a source does; else the shape of the sources."""
    return _sum.shape(methods)


def merge(
    parts: Sequence[Part], weights: Sequence[float], options: Options, base: Mapping[str, Tensor], seed: int
) -> Merged:
    """See ``Merge``. Nothing is lost."""
    _checks.require(refuse([part.method for part in parts], weights, options))
    return Merged(_sum.weighted(parts, weights, base))


def _average_problem(weights: Sequence[float] | None) -> str | None:
    if weights is None or (min(weights) >= 0 and abs(math.fsum(weights) - 1) <= TOLERANCE):
        return None
    return "a bottleneck is not linear in its weights, so they can only be averaged: weights ≥ 0 that sum to 1"
