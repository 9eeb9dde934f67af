"""Initial weights of modules that begin as the identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


def draw(encoder: XLMRobertaModel, names: Mapping[str, str], *drawn: str) -> None:
    """Draw the matrices that read the input, uniform in ±1/√(size of the input), and set all else to zero.

    Done here and not left to a library, so that weights depend on torch's generator alone: libraries draw numbers
    for things that are never used.

    Args:
        encoder: carries the module.
        names: stored name → parameter name.
        drawn: how the stored names of the matrices that are drawn end.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for stored, name in names.items():
            parameter = encoder.get_parameter(name)
            if stored.endswith(drawn):
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
            else:
                parameter.zero_()
