"""Shapes of modules in the words of the adapters library and its forerunner, and in ours (checked against 1.3.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xstilts.errors import fail
from xstilts.exchange._settings import refuse_others, unknown, whole_number
from xstilts.published import Remark, plain

# Settings of a bottleneck that change what it computes, with the values that ours has.
FIXED: Mapping[str, tuple[object, ...]] = {
    "original_ln_after": (True,),
    "ln_before": (False,),
    "ln_after": (False,),
    "is_parallel": (False,),
    "scaling": (1.0,),
    "use_gating": (False,),
    "cross_adapter": (False, None),
    "phm_layer": (False,),
    "stochastic_depth": (0.0, None),
    "inv_adapter": (None, "nice"),
}
READ = frozenset(
    {"architecture", "mh_adapter", "output_adapter", "reduction_factor", "non_linearity", "original_ln_before"}
    | {"residual_before_ln", "inv_adapter_reduction_factor", "invertible_adapter", "leave_out", "dropout"}
)
PLACES = {"both": (True, True), "output": (False, True), "attention": (True, False)}  # mh_adapter, output_adapter
# Initial values, and what only counts together with settings that are refused above.
IDLE = r"init_weights(_seed)?|adapter_residual_before_ln|learn_phm|(hypercomplex|phm|shared|factorized)_.+"

LORA_FIXED: Mapping[str, tuple[object, ...]] = {
    "composition_mode": ("add",),
    "use_gating": (False,),
    "use_dora": (False,),
    "vera_d": (None,),
    "vera_b": (None,),
    "leave_out": ([], None),
}
LORA_READ = frozenset(
    {"architecture", "r", "alpha", "dropout", "attn_matrices", "selfattn_lora", "intermediate_lora", "output_lora"}
)
LORA_IDLE = r"init_weights(_seed)?|dtype"
MATRICES = {"q": "query", "k": "key", "v": "value"}

# activations of adapter-transformers 1, whose files have no version
RENAMED = {"gelu": "gelu_new", "gelu_orig": "gelu"}
LIBRARY = "adapters."  # how versions of adapters ≥ 1.0 begin; those of adapter-transformers 2 and 3 are bare numbers
SCALED_RIGHT = (1, 1)  # earlier versions of adapters trained LoRA with scale 1, whatever its alpha


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape in our terms.

    Attributes:
        kind: of the method.
        options: for the kind's ``Options``.
        remarks: what the configuration says besides.
        inverse_if_stored: the inverse block counts only if its tensors are there: task adapters of
            adapter-transformers 1 name one that they do not have.
    """

    kind: str
    options: dict[str, Any]
    remarks: tuple[Remark, ...] = ()
    inverse_if_stored: bool = field(default=False)


def shape(where: str, config: Mapping[str, Any]) -> Shape:
    """Read ``adapter_config.json``.

    Args:
        where: the file, for messages.
        config: its content.

    Raises:
        XstiltsError: a shape that no method of ours has.
    """
    inner = config.get("config")
    if not isinstance(inner, dict):
        raise fail(where, "must spell out the module's shape under 'config'", str(inner)[:100])
    architecture = inner.get("architecture")
    if architecture == "lora":
        return _lora(where, config, inner)
    if architecture not in (None, "bottleneck"):
        raise fail(where, "architecture: no method here can do this", str(architecture)[:60], ("bottleneck", "lora"))
    return _bottleneck(where, config, inner)


def bottleneck_config(options: Any, layers: int) -> dict[str, Any]:
    """Write a bottleneck's shape; the inverse of ``shape``.

    Args:
        options: of the kind ``bottleneck``.
        layers: of the encoder, for layers that are left out counted from the top.
    """
    import adapters

    reads = options.reads or ("normalised" if options.where == "output" else "raw")
    config = adapters.BnConfig(
        mh_adapter=PLACES[options.where][0],
        output_adapter=PLACES[options.where][1],
        reduction_factor=options.reduction,
        non_linearity=options.non_linearity,
        original_ln_before=reads == "normalised",
        dropout=options.dropout,
        leave_out=sorted(layer % layers for layer in options.leave_out),
        inv_adapter="nice" if options.inverse else None,
        inv_adapter_reduction_factor=options.inverse_reduction if options.inverse else None,
    )
    return dict(config.to_dict())


def lora_config(options: Any) -> dict[str, Any]:
    """Write a LoRA's shape; the inverse of ``shape``, but that rsLoRA becomes LoRA with another alpha.

    alpha' / rank = alpha / √rank, so alpha' = alpha · √rank (arXiv 2312.03732).
    """
    import adapters

    alpha = options.alpha * options.rank**0.5 if options.rank_stabilised else options.alpha
    matrices = [letter for letter, target in MATRICES.items() if target in options.targets]
    config = adapters.LoRAConfig(
        selfattn_lora=bool(matrices),
        intermediate_lora="intermediate" in options.targets,
        output_lora="output" in options.targets,
        r=options.rank,
        alpha=whole_number(alpha),
        dropout=options.dropout,
        attn_matrices=matrices,
    )
    return dict(config.to_dict())


# ------------------------------------------------------------------------------------------------------- bottleneck


def _bottleneck(where: str, config: Mapping[str, Any], inner: Mapping[str, Any]) -> Shape:
    missing = sorted({"mh_adapter", "output_adapter", "reduction_factor", "non_linearity"} - inner.keys())
    if missing:
        raise fail(where, f"does not say {', '.join(missing)}")
    refuse_others(where, inner, FIXED)
    given = (inner["mh_adapter"], inner["output_adapter"])
    place = next((place for place, wanted in PLACES.items() if given == wanted), None)
    if place is None:
        raise fail(where, "mh_adapter and output_adapter must be true or false, and one of them true", str(given)[:60])
    normalised = bool(inner.get("original_ln_before", False))
    # where the input is not normalised first, both residuals are the same
    refuse_others(where, inner, {"residual_before_ln": (True,) if normalised else (True, False)})
    options: dict[str, Any] = {
        "where": place,
        "reduction": _reduction(where, inner["reduction_factor"]),
        "non_linearity": _activation(where, config, inner["non_linearity"]),
        "dropout": inner.get("dropout", 0.0),
    }
    if normalised != (place == "output"):
        options["reads"] = "normalised" if normalised else "raw"
    if inner.get("leave_out"):
        options["leave_out"] = _layers(where, inner["leave_out"])
    inverse = _inverse(where, inner)
    if inverse is not None:
        options |= {"inverse": True, "inverse_reduction": inverse}
    remarks = unknown(where, inner, READ | FIXED.keys(), IDLE)
    if "version" not in config and inner["non_linearity"] in RENAMED:
        old, new = inner["non_linearity"], RENAMED[inner["non_linearity"]]
        remarks += (Remark("activation", f"{old!r} of a file without version is what is called {new!r} today"),)
    return Shape("bottleneck", options, remarks, inverse_if_stored=config.get("type") == "text_task")


def _reduction(where: str, value: Any) -> Any:
    if isinstance(value, dict):
        factors = list(value.values())
        if "default" not in value or any(factor != factors[0] for factor in factors):
            what = "reduction_factor: no method here has other bottlenecks in other layers"
            raise fail(where, what, str(value)[:100])
        value = factors[0]
    return whole_number(value)


def _activation(where: str, config: Mapping[str, Any], value: Any) -> str:
    if not isinstance(value, str):
        raise fail(where, "non_linearity must be a name", str(value)[:60])
    return (value if "version" in config else RENAMED.get(value, value)).lower()


def _layers(where: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(layer) is not int or layer < 0 for layer in value):
        raise fail(where, "leave_out must be a list of layers, counted from 0", str(value)[:100])
    return tuple(sorted(set(value)))


def _inverse(where: str, inner: Mapping[str, Any]) -> Any:
    """Reduction of the inverse block, None = there is none; adapter-transformers 1 describes it by itself."""
    nested = inner.get("invertible_adapter")
    if not nested:
        return whole_number(inner.get("inv_adapter_reduction_factor")) if inner.get("inv_adapter") else None
    if not isinstance(nested, dict):
        raise fail(where, "invertible_adapter must be described by an object", str(nested)[:60])
    allowed = {"block_type": ("nice",), "non_linearity": (inner["non_linearity"],)}
    refuse_others(f"{where}: invertible_adapter", nested, allowed)
    if "block_type" not in nested:
        raise fail(where, "invertible_adapter does not say block_type")
    return whole_number(nested.get("reduction_factor"))


# ------------------------------------------------------------------------------------------------------------- LoRA


def _lora(where: str, config: Mapping[str, Any], inner: Mapping[str, Any]) -> Shape:
    refuse_others(where, inner, LORA_FIXED)
    rank, alpha = inner.get("r", 8), inner.get("alpha", 8)
    matrices = inner.get("attn_matrices", ["q", "v"]) if inner.get("selfattn_lora", True) else []
    if not isinstance(matrices, list) or any(letter not in tuple(MATRICES) for letter in matrices):
        raise fail(where, "attn_matrices must be a list of matrices", str(matrices)[:60], MATRICES)
    targets = [target for letter, target in MATRICES.items() if letter in matrices]
    targets += [target for target in ("intermediate", "output") if inner.get(f"{target}_lora", False)]
    remarks = unknown(where, inner, LORA_READ | LORA_FIXED.keys(), LORA_IDLE)
    if alpha != rank and _scaled_wrong(config.get("version")):
        version = plain(config["version"], 40)
        what = f"{version} trained LoRA with scale 1 whatever its alpha; alpha {plain(alpha, 20)} is read as {rank}"
        remarks += (Remark("scaling", what),)
        alpha = rank
    options = {"rank": rank, "alpha": alpha, "dropout": inner.get("dropout", 0.0), "targets": tuple(targets)}
    return Shape("lora", options, remarks)


def _scaled_wrong(version: object) -> bool:
    if not isinstance(version, str) or not version.startswith(LIBRARY):
        return False
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", version.removeprefix(LIBRARY))
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < SCALED_RIGHT
