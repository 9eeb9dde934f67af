"""LoRA through ``peft``: a low-rank sum on top of frozen linear maps (Hu et al. 2022, arXiv 2106.09685, §4).

    W x  →  W x + s · B A x        A: in → rank,  B: rank → out (zero at the start)

with s = alpha / rank, or alpha / √rank if ``rank_stabilised`` (rsLoRA; Kalajdzievski 2023, arXiv 2312.03732).

Several modules add up: W x + Σ sᵢ Bᵢ Aᵢ x, so their order does not matter. (The ``Stack`` of the adapters library would
be a matrix chain, in which a fresh B = 0 on top erases the module below; peft with several active modules is the sum.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from xstilts.methods import _peft
from xstilts.methods._initial import draw
from xstilts.spec import StartName

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

PARTS = {".lora_A.{}.weight": ".lora_A", ".lora_B.{}.weight": ".lora_B"}


class Options(_peft.LowRank):
    """Shape of the delta.

    Attributes:
        rank_stabilised: whether the delta is scaled by alpha / √rank, and not by alpha / rank.
    """

    rank_stabilised: bool = Field(default=False)


def refuse(start: StartName) -> str | None:
    """See ``Method``."""
    return _peft.NOT_FUSED.format(instead="stack or merge") if start == "fuse" else None


def attach(encoder: XLMRobertaModel, module: str, options: Options) -> None:
    """See ``Method``.

    Raises:
        XstiltsError: the encoder carries modules of the other library.
    """
    from peft import LoraConfig

    shape = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=_peft.paths(encoder, options.targets),
        use_rslora=options.rank_stabilised,
    )
    _peft.inject(encoder, module, shape)


def initialise(encoder: XLMRobertaModel, module: str) -> None:
    """Draw A, zero B."""
    draw(encoder, names(encoder, module), ".lora_A")


def activate(encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
    """Add the modules up."""
    _peft.activate(encoder, chain)


def names(encoder: XLMRobertaModel, module: str) -> dict[str, str]:
    """``….query.lora_A.<module>.weight`` is stored as ``….query.lora_A``."""
    return _peft.names(encoder, module, PARTS)
