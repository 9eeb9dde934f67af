"""Which tensors a module of a method has, and for which encoder: worked out from the tensors, never believed.

Readers of every layout come here with options and stored names; nothing may be missing, nothing may be over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.exchange.files import shown
from xstilts.methods import load_method
from xstilts.methods._peft import PATHS
from xstilts.methods.ia3 import INPUTS
from xstilts.spec import AdapterConfig

if TYPE_CHECKING:
    from torch import Tensor

LAYER = re.compile(r"encoder\.layer\.(\d{1,3})\.(.+)")
LAYERS = 1000  # more than any encoder has
PROBLEMS = 20  # that are told at once
BLOCKS = {"output": ("output",), "attention": ("attention.output",), "both": ("attention.output", "output")}
# Parameters of the encoder itself, without ``roberta.``: in the file of a module they would overwrite the frozen ones.
BACKBONE = re.compile(
    r"(encoder\.layer\.\d+\.(attention\.(self\.(query|key|value)|output\.(dense|LayerNorm))|intermediate\.dense"
    r"|output\.(dense|LayerNorm))(\.base_layer)?\.(weight|bias))|(embeddings|lm_head)\.(?!.*\.(lora_|ia3_)).+"
)

HIDDEN, WIDE, UNITS = "states", "feed-forward block", "bottleneck"  # sizes that depend on the encoder

Shape = tuple[int, ...]


def checked(where: str, kind: str, options: Mapping[str, Any]) -> AdapterConfig:
    """Validate options and keep those that differ from their defaults.

    Raises:
        XstiltsError: every option that the kind does not have.
    """
    try:
        valid = load_method(kind).Options.model_validate(dict(options))
    except ValidationError as error:
        what = f"a shape that the method {kind} does not have"
        wrong = [
            (f"{'.'.join(map(str, item['loc']))}: {item['msg'].lower()}", str(item["input"])[:100])
            for item in error.errors()[:PROBLEMS]
        ]
        raise XstiltsError(*(Problem(where, f"{what}: {told}", given) for told, given in wrong)) from error
    return AdapterConfig(kind=kind, options=valid.model_dump(exclude_defaults=True))


def measure(where: str, method: AdapterConfig, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Find the encoder that stored tensors were made for: its layers and the size of its states.

    Args:
        where: file, for messages.
        method: as ``checked`` gives it.
        tensors: by stored name.

    Raises:
        XstiltsError: tensors that are missing, that the method does not have, or of another shape.
    """
    options: Any = load_method(method.kind).Options.model_validate(method.options)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    left_out = getattr(options, "leave_out", ())
    if any(not 0 <= layer < LAYERS for layer in left_out):
        raise fail(where, "leaves out layers that no encoder has", str(left_out))
    seen = {int(match[1]) for match in map(LAYER.fullmatch, tensors) if match}
    if not seen:
        raise fail(where, "holds no tensors in the layers of an encoder", shown(tensors))
    layers = 1 + max(seen | set(left_out))
    inside = _inside(method.kind, options)
    sizes = _bind(inside, shapes)
    if HIDDEN not in sizes:
        raise fail(where, "holds no tensor that shows the size of the encoder's states", shown(tensors))
    if method.kind == "bottleneck":
        sizes[UNITS] = max(1, sizes[HIDDEN] // options.reduction)
    wanted = {
        f"encoder.layer.{layer}.{name}": tuple(sizes.get(size, 0) if isinstance(size, str) else size for size in shape)
        for layer in range(layers)
        if layer not in left_out
        for name, shape in inside.items()
    }
    if getattr(options, "inverse", False):
        wanted |= _inverse(sizes[HIDDEN], options.inverse_reduction)
    problems = _compared(where, shapes, wanted)
    if problems:
        raise XstiltsError(*problems)
    return layers, sizes[HIDDEN]


def _compared(where: str, found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> list[Problem]:
    missing, over = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    unlike = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    problems = []
    if missing:
        problems.append(Problem(where, f"lacks {len(missing)} of {len(wanted)} tensors: {shown(missing)}"))
    if over:
        what = f"holds {len(over)} tensors that its configuration does not have: {shown(over)}"
        problems.append(Problem(where, what))
    if unlike:
        what = f"{len(unlike)} tensors do not have the shape that the others imply: {shown(unlike)}"
        problems.append(Problem(where, what, str(found[unlike[0]]), (str(wanted[unlike[0]]),)))
    return problems


# ----------------------------------------------------------------------------------------------------------- shapes


def _inside(kind: str, options: Any) -> dict[str, tuple[int | str, ...]]:
    """Shapes of the tensors of one layer by their names in it; a size that depends on the encoder is a word."""
    if kind == "bottleneck":
        return {
            f"{block}.{name}": shape
            for block in BLOCKS[options.where]
            for name, shape in (
                ("down.weight", (UNITS, HIDDEN)),
                ("down.bias", (UNITS,)),
                ("up.weight", (HIDDEN, UNITS)),
                ("up.bias", (HIDDEN,)),
            )
        }
    shapes: dict[str, tuple[int | str, ...]] = {}
    for target in options.targets:
        path = PATHS[target]
        reads, writes = WIDE if target == "output" else HIDDEN, WIDE if target == "intermediate" else HIDDEN
        if kind == "ia3":
            shapes[f"{path}.scale"] = (1, reads) if target in INPUTS else (writes, 1)
            continue
        shapes |= {f"{path}.lora_A": (options.rank, reads), f"{path}.lora_B": (writes, options.rank)}
        if kind == "dora":
            shapes[f"{path}.magnitude"] = (writes,)
    return shapes


def _inverse(hidden: int, reduction: int) -> dict[str, Shape]:
    """NICE coupling: a bottleneck that reads one half of the states changes the other (arXiv 2005.00052, §3.2)."""
    first, second = hidden // 2, hidden - hidden // 2
    shapes: dict[str, Shape] = {}
    for block, reads, writes in (("F", second, first), ("G", first, second)):
        units = reads // reduction
        shapes |= {f"inverse.{block}.0.weight": (units, reads), f"inverse.{block}.0.bias": (units,)}
        shapes |= {f"inverse.{block}.2.weight": (writes, units), f"inverse.{block}.2.bias": (writes,)}
    return shapes


def _bind(inside: Mapping[str, tuple[int | str, ...]], shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The sizes that the first tensors show; ``_compared`` then holds the others against them."""
    sizes: dict[str, int] = {}
    for name in sorted(shapes):
        match = LAYER.fullmatch(name)
        symbols = inside.get(match[2], ()) if match else ()
        if len(symbols) == len(shapes[name]):
            for symbol, size in zip(symbols, shapes[name], strict=True):
                if isinstance(symbol, str):
                    sizes.setdefault(symbol, size)
    return sizes
