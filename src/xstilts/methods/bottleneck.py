"""Sequential bottleneck adapters, through the ``adapters`` library (Poth et al. 2023, arXiv 2311.11077).

    h ← h + up(f(down(h)))        down: hidden → hidden / reduction,  up: back

``where = "both"``: after attention and after the feed-forward block of every layer, inside the residual connection
(Houlsby et al. 2019, arXiv 1902.00751, §2.1). ``where = "output"``: after the feed-forward block only, reading its
normalised output (Pfeiffer et al. 2021, arXiv 2005.00247, §2.2). The up-projection starts at zero, so a fresh adapter
is exactly the identity (as He et al. 2022, arXiv 2110.04366, initialise; the library's default starts near it).

``leave_out``: layers without adapters: the lowest ones in AdapterDrop (Rücklé et al. 2021, arXiv 2010.11918, §3), the
last one in MAD-X 2.0 (Pfeiffer et al. 2021, arXiv 2012.15562).

``inverse``: an invertible block on the embeddings (MAD-X; Pfeiffer et al. 2020, arXiv 2005.00052) in the additive
coupling of NICE (Dinh et al. 2015, arXiv 1410.8516); F and G are bottlenecks whose second map starts at zero, so that a
fresh block is exactly the identity, too:

    (x₁, x₂) ← (x₁ + F(x₂), x₂ + G(x₁ + F(x₂)))        x₁, x₂: the halves of an embedding

MAD-X undoes it before the output embeddings when a language adapter is trained by masked language modelling:
``undo_inverse``. The library does so only in models that own their output embeddings; the encoder here is a bare one.

Several modules form a chain within each layer, the first one lowest: order matters.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from xstilts.errors import fail
from xstilts.methods._backend import only
from xstilts.methods._initial import draw
from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import XLMRobertaModel

Reads = Literal["normalised", "raw"]
PLACES = {"output": ("output",), "attention": ("attention",), "both": ("attention", "output")}
INVERSE = "an inverse block acts on the embeddings: only the lowest module can have one, and not if it is fused"


class Options(Value):
    """Shape of the adapters.

    Attributes:
        where: after the feed-forward block only (Pfeiffer), after attention only, or after both (Houlsby).
        reduction: hidden size divided by the size of the bottleneck.
        non_linearity: between down and up; ``gelu_new`` is the tanh approximation, ``swish`` is silu.
        dropout: on the output of up, in training.
        leave_out: layers without adapters, counted from 0 at the bottom, or from -1 at the top.
        inverse: whether there is an invertible block on the embeddings.
        inverse_reduction: half the hidden size divided by the size of that block's bottlenecks.
        reads: what down reads: the output of the block, or that with the residual connection and layer norm of the
            backbone. None = normalised where it is after the feed-forward block only, raw otherwise.
    """

    where: Literal["output", "attention", "both"]
    reduction: int = Field(default=16, ge=1)
    non_linearity: Literal["relu", "gelu", "gelu_new", "swish", "tanh", "leakyrelu"] = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    leave_out: tuple[int, ...] = ()
    inverse: bool = False
    inverse_reduction: int = Field(default=2, ge=1)
    reads: Reads | None = None

    @field_validator("leave_out")
    @classmethod
    def _one_order(cls, leave_out: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(leave_out)))

    @field_validator("reads")
    @classmethod
    def _one_spelling(cls, reads: Reads | None, info: ValidationInfo) -> Reads | None:
        """What is so anyway is not written down: one shape has one key."""
        return None if reads == _usual(info.data.get("where", "")) else reads

    @model_validator(mode="after")
    def _is_used(self) -> Options:
        if not self.inverse and self.inverse_reduction != 2:
            raise ValueError("inverse_reduction belongs to inverse = true")
        return self


def refuse(start: StartName) -> str | None:
    """Every start is possible; which modules go together: ``void``."""
    return None


def void(chain: Sequence[Sequence[Options]], layers: int, alone: Collection[int] = ()) -> str | None:
    """Say why modules cannot form a model, or None: what the library would leave out silently, or fail at.

    Args:
        chain: blocks from the lowest up, each one module or those that are fused.
        layers: of the encoder.
        alone: numbers of the blocks in which a fusion is over one module.

    Raises:
        XstiltsError: layers are left out that the encoder does not have.
    """
    modules = [module for block in chain for module in block]
    places = [_places(module, layers) for module in modules]
    fusions = {number: block for number, block in enumerate(chain) if len(block) > 1 or number in alone}
    above = modules if 0 in fusions else modules[1:]
    if any(module.inverse for module in above):
        return INVERSE
    for fused in fusions.values():
        there = {_places(module, layers) for module in fused}
        if len(there) > 1:
            return "fused modules must have adapters at the same places (where, leave_out)"
        if len({module.reads or _usual(module.where) for module in fused}) > 1:
            return "fused modules must read the same (reads)"
        if any(not each <= min(there) for each in places):
            return "where fused modules have no adapter, no other module can have one (where, leave_out)"
    return None


def left_out(options: Options, layers: int) -> frozenset[int]:
    """Layers without adapters, counted from 0 at the bottom.

    Raises:
        XstiltsError: the encoder has no such layer, or no layer is left.
    """
    wrong = [layer for layer in options.leave_out if not -layers <= layer < layers]
    if wrong:
        what = f"the encoder has layers 0 to {layers - 1}, or -1 to {-layers} from the top"
        raise fail("adapter options: leave_out", what, str(wrong[0]))
    found = frozenset(layer % layers for layer in options.leave_out)
    if len(found) == layers:
        raise fail("adapter options: leave_out", "no layer is left", str(list(options.leave_out)))
    return found


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``.

    Raises:
        XstiltsError: a bottleneck would have no unit, layers are left out that are not there, or the encoder carries
            modules of the other library.
    """
    import adapters

    only(encoder, "adapters")
    size = encoder.config.hidden_size
    for name, room in {"reduction": size, "inverse_reduction": size // 2}.items():
        if (options.inverse or name == "reduction") and getattr(options, name) > room:
            raise fail(f"adapter options: {name}", f"must be at most {room}", str(getattr(options, name)))
    shape = adapters.BnConfig(
        mh_adapter="attention" in PLACES[options.where],
        output_adapter="output" in PLACES[options.where],
        reduction_factor=options.reduction,
        non_linearity=options.non_linearity,
        dropout=options.dropout,
        original_ln_before=(options.reads or _usual(options.where)) == "normalised",
        leave_out=sorted(left_out(options, encoder.config.num_hidden_layers)),
        inv_adapter="nice" if options.inverse else None,
        inv_adapter_reduction_factor=options.inverse_reduction if options.inverse else None,
    )
    if not isinstance(encoder, adapters.ModelAdaptersMixin):
        adapters.init(encoder)
    encoder.add_adapter(module, config=shape)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Draw what reads (down; the first map of F and of G), zero what writes."""
    draw(encoder, names(encoder, module), ".down.weight", ".F.0.weight", ".G.0.weight")


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Chain the blocks in every layer; a block over which a fusion is attached is fused.

    Raises:
        XstiltsError: a module other than the lowest has an inverse block, which the library would leave out silently.
    """
    import adapters

    modules = [module for block in chain for module in block]
    lowest = chain[0] if len(chain[0]) == 1 else ()
    if any(module in encoder.invertible_adapters for module in modules[len(lowest) :]):
        raise fail("activate", INVERSE)
    fusions = encoder.adapters_config.fusions
    blocks = [adapters.Fuse(*block) for block in chain]
    # What ``set_active_adapters`` does, without its warning that nothing is active yet.
    encoder.adapters_config.active_setup = adapters.Stack(
        *(fuse if fuse.name in fusions else block[0] for fuse, block in zip(blocks, chain, strict=True))
    )


def undo_inverse(encoder: XLMRobertaModel, states: Tensor) -> Tensor:
    """Map states ``(…, hidden)`` back through the inverse block of the lowest module, if it has one."""
    undone: Tensor = encoder.invertible_adapters_forward(states, rev=True)
    return undone


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """``encoder.layer.0.output.adapters.<module>.adapter_down.0.weight`` is stored as ``….0.output.down.weight``.

    The inverse block's ``invertible_adapters.<module>.F.0.weight`` is stored as ``inverse.F.0.weight``.
    """
    mark, inverse = f".adapters.{module}.adapter_", f"invertible_adapters.{module}."
    found = {}
    for name, _ in encoder.named_parameters():
        if mark in name:
            found[name.replace(mark, ".").replace(".down.0.", ".down.")] = name
        elif name.startswith(inverse):
            found[f"inverse.{name.removeprefix(inverse)}"] = name
    return found


def _usual(where: str) -> Reads:
    return "normalised" if where == "output" else "raw"


def _places(options: Options, layers: int) -> frozenset[tuple[str, int]]:
    kept = set(range(layers)) - left_out(options, layers)
    return frozenset((place, layer) for place in PLACES[options.where] for layer in kept)
