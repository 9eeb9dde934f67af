"""AdapterFusion: attention over what frozen bottleneck modules add (Pfeiffer et al. 2021, arXiv 2005.00247, §3).

    h ← h + Σᵢ softmaxᵢ((Q x) · (K uᵢ)) V uᵢ        uᵢ: what module i would add,  x: what the modules read

in every layer and place that has the modules. Scores are not scaled, and in training they have the dropout of the
encoder's own attention, as in the authors' implementation. V begins as the identity; ``penalty`` keeps it near, which
the library does in its own trainer only. Over one module, with V the identity, a fusion is that module bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xstilts.errors import fail

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import XLMRobertaModel


def attach(encoder: XLMRobertaModel, modules: Sequence[str]) -> None:
    """Attach a fusion over bottleneck modules that the encoder carries; its weights are yet to be set.

    Args:
        encoder: changed in place.
        modules: names of the modules, in the order of the block that ``Method.activate`` is given.

    Raises:
        XstiltsError: the modules have adapters at different places, read differently, or have an inverse block.
    """
    import adapters

    where = f"fuse {', '.join(modules)}"
    if any(module in encoder.invertible_adapters for module in modules):
        raise fail(where, "modules with an inverse block cannot be fused: there is one pair of embeddings for all")
    for layer in _places(encoder):
        here = [layer.adapters[module] for module in modules if module in layer.adapters]
        if len(here) not in (0, len(modules)):
            raise fail(where, "fused modules must have adapters at the same places (where, leave_out)")
        if len({adapter.original_ln_before for adapter in here}) > 1:
            raise fail(where, "fused modules must read the same (reads)")
    fusion = adapters.Fuse(*modules)
    encoder.add_adapter_fusion(fusion, config="dynamic")
    for layer in _places(encoder):
        if modules[0] not in layer.adapters:
            layer.delete_fusion_layer(fusion.name)  # the library adds one where nothing is fused, and never uses it


def initialise(encoder: XLMRobertaModel, modules: Sequence[str]) -> None:
    """Draw query and key as the encoder's own linear maps were drawn, with biases of zero; value is the identity.

    They are drawn from torch's global generator and depend on nothing else.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for stored, name in names(encoder, modules).items():
            parameter = encoder.get_parameter(name)
            if stored.endswith(".value.weight"):
                nn.init.eye_(parameter)
            elif stored.endswith(".weight"):
                nn.init.normal_(parameter, std=encoder.config.initializer_range)
            else:
                parameter.zero_()


def names(encoder: XLMRobertaModel, modules: Sequence[str]) -> dict[str, str]:
    """Map stored names to parameter names.

    ``….0.output.adapter_fusion_layer.<modules>.query.weight`` is stored as ``….0.output.fusion.query.weight``.
    """
    import adapters

    mark = f".adapter_fusion_layer.{adapters.Fuse(*modules).name}."
    return {name.replace(mark, ".fusion."): name for name, _ in encoder.named_parameters() if mark in name}


def penalty(encoder: XLMRobertaModel, modules: Sequence[str]) -> Tensor:
    """Sum of the squared distances of all value matrices from the identity, a scalar."""
    import torch

    found = [name for stored, name in names(encoder, modules).items() if stored.endswith(".value.weight")]
    values = torch.stack([encoder.get_parameter(name) for name in found])
    return (values - torch.eye(values.shape[-1], device=values.device)).square().sum()


def _places(encoder: XLMRobertaModel) -> Iterator[Any]:
    """Where a layer of the encoder can have bottlenecks."""
    from adapters.methods.bottleneck import BottleneckLayer

    yield from (layer for layer in encoder.modules() if isinstance(layer, BottleneckLayer))
