"""One of the sources, as it is: for selections, where it is decided later which one.

weight 1 for the one that is taken, 0 for all others
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xstilts.merges import Merged, Part, _checks
from xstilts.spec import AdapterConfig, Value

if TYPE_CHECKING:
    from torch import Tensor

REFUSED = {"full": None, "bottleneck": None, "lora": None, "ia3": None, "dora": None, "head": _checks.HEAD}


class Options(Value):
    """A selection has none."""


def refuse(methods: Sequence[AdapterConfig], weights: Sequence[float] | None, options: Options) -> str | None:
    """See ``Merge``. The sources have one shape, so that the result's is known before one is chosen."""
    reason = _checks.source_problem(methods, REFUSED) or _checks.differing(methods)
    if reason or weights is None:
        return reason
    one_hot = sorted(weights) == [0.0] * (len(methods) - 1) + [1.0]
    return None if one_hot else "a selection gives weight 1 to one source and 0 to all others"


def method(methods: Sequence[AdapterConfig], options: Options) -> AdapterConfig:
    """That of every source."""
    return _checks.normalised(methods[0])


def merge(
    parts: Sequence[Part], weights: Sequence[float], options: Options, base: Mapping[str, Tensor], seed: int
) -> Merged:
    """See ``Merge``. The tensors are those of the source."""
    _checks.require(refuse([part.method for part in parts], weights, options))
    return Merged(dict(parts[list(weights).index(1.0)].tensors))
