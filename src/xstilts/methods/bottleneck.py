"""Sequential bottleneck adapters, through the ``adapters`` library (Poth et al. 2023, arXiv 2311.11077).

    h ← h + up(f(down(h)))        down: hidden → hidden / reduction,  up: back

``where = "both"``: after attention and after the feed-forward block of every layer, inside the residual connection
(Houlsby et al. 2019, arXiv 1902.00751, §2.1). ``where = "output"``: after the feed-forward block only, reading its
normalised output (Pfeiffer et al. 2021, arXiv 2005.00247, §2.2). The up-projection starts at zero, so a fresh adapter
is exactly the identity (as He et al. 2022, arXiv 2110.04366, initialise; the library's default starts near it).

Several modules form a chain within each layer, the first one lowest: order matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from xstilts.errors import fail
from xstilts.methods._initial import draw
from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class Options(Value):
    """Shape of the adapters.

    Attributes:
        where: after the feed-forward block only (Pfeiffer) or after attention too (Houlsby).
        reduction: hidden size divided by the size of the bottleneck.
        non_linearity: between down and up.
        dropout: on the output of up, in training.
    """

    where: Literal["output", "both"]
    reduction: int = Field(default=16, ge=1)
    non_linearity: Literal["relu", "gelu", "swish", "tanh"] = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


def refuse(start: StartName) -> str | None:
    """Every start is possible."""
    return None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``.

    Raises:
        XstiltsError: the bottleneck would have no unit.
    """
    import adapters

    if encoder.config.hidden_size < options.reduction:
        given = str(options.reduction)
        raise fail("adapter options: reduction", f"exceeds the hidden size {encoder.config.hidden_size}", given)
    if not isinstance(encoder, adapters.ModelAdaptersMixin):
        adapters.init(encoder)
    shape = adapters.BnConfig(
        mh_adapter=options.where == "both",
        output_adapter=True,
        reduction_factor=options.reduction,
        non_linearity=options.non_linearity,
        dropout=options.dropout,
        original_ln_before=options.where == "output",
    )
    encoder.add_adapter(module, config=shape)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Draw down, zero up."""
    draw(encoder, names(encoder, module), ".down.weight")


def activate(encoder: XLMRobertaModel, modules: Sequence[str]) -> None:
    """Chain the modules in every layer."""
    import adapters

    # What ``set_active_adapters`` does, without its warning that nothing is active yet.
    encoder.adapters_config.active_setup = adapters.Stack(*modules)


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """``encoder.layer.0.output.adapters.<module>.adapter_down.0.weight`` is stored as ``….0.output.down.weight``."""
    mark = f".adapters.{module}.adapter_"
    owned = [name for name, _ in encoder.named_parameters() if mark in name]
    return {name.replace(mark, ".").replace(".down.0.", ".down."): name for name in owned}
