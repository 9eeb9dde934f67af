"""The PEFT layout: LoRA, rsLoRA, DoRA and IA3, in the variants of its history (checked against 0.21.2).

``adapter_config.json`` has a ``peft_type``; the weights, ``adapter_model.safetensors`` or ``adapter_model.bin``,
hold the module and, under ``modules_to_save``, a head. The library warns of keys that it does not find, and goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from xstilts.errors import fail
from xstilts.exchange import _heads
from xstilts.exchange._card import CARD, read_card
from xstilts.exchange._settings import refuse_others, unknown
from xstilts.exchange._shape import checked, measure
from xstilts.exchange.adapterhub import MODEL, within_model
from xstilts.exchange.files import Folder, read_json, read_tensors, shown
from xstilts.methods import load_method
from xstilts.methods._peft import PATHS
from xstilts.published import Origin, Published, PublishedHead, Remark, plain

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, SAFE, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
FILES = (CONFIG, SAFE, PICKLED)
WRAPPER = "base_model.model."
# stored name → how it is called here
PARTS = {"lora_A": "lora_A", "lora_B": "lora_B", "magnitude": "lora_magnitude_vector", "scale": "ia3_l"}

# Settings that change what a module computes, with the values that ours has.
FIXED: Mapping[str, tuple[object, ...]] = {
    "bias": ("none",),
    "lora_bias": (False,),
    "enable_lora": (None,),
    "use_qalora": (False,),
    "use_bdlora": (None, False),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "megatron_config": (None,),
}
READ = frozenset(
    {"peft_type", "peft_version", "base_model_name_or_path", "task_type", "modules_to_save", "target_modules"}
    | {"exclude_modules", "feedforward_modules", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora"}
    | {"init_lora_weights", "rank_pattern", "alpha_pattern", "layers_to_transform"}
)
# Of no effect on a module that is trained and acts on plain linear maps.
IDLE = (
    r"auto_mapping|revision|inference_mode|fan_in_fan_out|merge_weights|layers_pattern|init_ia3_weights|megatron_core"
    r"|(loftq|eva|corda|lora_ga|velora|runtime)_config|qalora_group_size|ensure_weight_tying"
)
# Initial values that leave the backbone alone; others (PiSSA, OLoRA, CorDA, LoftQ) change its weights when they begin.
HARMLESS = (None, True, False, "gaussian", "orthogonal", "eva")

MODULE = re.compile(
    rf"(encoder\.layer\.\d{{1,3}}\.(?:{'|'.join(map(re.escape, PATHS.values()))}))"
    rf"\.({'|'.join(PARTS.values())})(?:\.(?!weight$)([^.]+))?(?:\.weight)?"
)
HEAD = re.compile(r"(?:classifier|qa_outputs|score)\..+")
UNUSED = re.compile(r"(?:pooler|lm_head)\..+")  # above the encoder, and in no head of ours
COPY = re.compile(r"\.modules_to_save\.[^.]+")
UNTRAINED = ".original_module."  # what the copy under modules_to_save replaced


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a file of weights holds.

    Attributes:
        module: by stored name.
        head: by the names of transformers' model classes.
        remarks: what was left out.
    """

    module: dict[str, Tensor]
    head: dict[str, Tensor]
    remarks: tuple[Remark, ...]


def read(folder: Folder) -> Published:
    """Read a directory of this layout.

    Raises:
        XstiltsError: see ``exchange.read``.
    """
    where = folder.where(CONFIG)
    config = read_json(folder, CONFIG)
    weights = folder.first(SAFE, PICKLED)
    if weights is None:
        raise fail(str(folder.directory), f"has no weights: neither {SAFE} nor {PICKLED}")
    refuse_others(where, config, FIXED)
    remarks = [*unknown(where, config, READ | FIXED.keys(), IDLE)]
    found, precision = read_tensors(folder, weights)
    contents = _contents(folder.where(weights), found)
    kind, options = _options(where, config, contents.module)
    method = checked(where, kind, options)
    layers, hidden = measure(folder.where(weights), method, contents.module)
    _check_targets(where, config, layers, contents.module)
    head, said = _head(folder.where(weights), config, contents.head, hidden)
    if weights == SAFE and PICKLED in folder.files:
        remarks.append(Remark("files", f"{PICKLED} lies beside {SAFE} and is not read"))
    card, unread = read_card(folder)
    origin = Origin(
        "peft",
        version=_text(config, "peft_version"),
        backbone=_text(config, "base_model_name_or_path"),
        task=_text(config, "task_type"),
        licence=card.licence,
        files=folder.sizes(CONFIG, weights, CARD),
    )
    noticed = (*remarks, *precision, *contents.remarks, *said, *unread)
    return Published(method, contents.module, layers, hidden, head, origin, noticed)


# ---------------------------------------------------------------------------------------------------- configuration


def _options(where: str, config: Mapping[str, Any], module: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Kind and options; where a module is attached is read off its tensors."""
    found = {path for name in module for path in [name.split(".", 3)[3].rpartition(".")[0]]}
    targets = [target for target, path in PATHS.items() if path in found]
    peft_type = config.get("peft_type")
    if peft_type == "IA3":
        order = get_args(get_args(load_method("ia3").Options.model_fields["targets"].annotation)[0])
        return "ia3", {"targets": tuple(sorted(targets, key=lambda target: (*order, *PATHS).index(target)))}
    if peft_type != "LORA":
        raise fail(where, "peft_type: no method here can do this", str(peft_type)[:40], ("IA3", "LORA"))
    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    initial = config.get("init_lora_weights")
    if initial not in HARMLESS:
        what = (
            "init_lora_weights: this start changes the weights of the backbone, which modules share; save the module "
        )
        raise fail(where, what + "with peft's path_initial_model_for_weight_conversion", str(initial)[:40])
    for pattern, usual in (("rank_pattern", rank), ("alpha_pattern", alpha)):
        given = config.get(pattern) or {}
        if not isinstance(given, dict) or any(value != usual for value in given.values()):
            raise fail(where, f"{pattern}: no method here differs between layers or maps", str(given)[:100])
    options = {"rank": rank, "alpha": alpha, "dropout": config.get("lora_dropout", 0.0), "targets": tuple(targets)}
    if config.get("use_dora"):
        if config.get("use_rslora"):
            raise fail(where, "use_dora and use_rslora: no method here has both")
        return "dora", options
    return "lora", {**options, "rank_stabilised": config.get("use_rslora", False)}


def _check_targets(where: str, config: Mapping[str, Any], layers: int, module: Mapping[str, Tensor]) -> None:
    """Hold the maps that have tensors against those that the configuration names.

    A pattern is not run: one from anywhere may take for ever. Then the tensors alone decide, which ``measure`` found
    to be the same in every layer.
    """
    some = config.get("layers_to_transform")
    if some is not None and (some if isinstance(some, list) else [some]) != list(range(layers)):
        raise fail(where, "layers_to_transform: no method here leaves layers out", str(some)[:100])
    targets = config.get("target_modules")
    if not isinstance(targets, list) or config.get("exclude_modules"):
        return
    ends = tuple(f".{target}" for target in targets)
    maps = [f"encoder.layer.{layer}.{path}" for layer in range(layers) for path in PATHS.values()]
    named = {name for name in maps if f".{MODEL}{name}".endswith(ends)}
    numbered = {str(target): re.findall(r"layer\.(\d{1,9})\.", str(target)) for target in targets}
    named |= {target for target, numbers in numbered.items() if any(int(number) >= layers for number in numbers)}
    stored = {name.rpartition(".")[0] for name in module}
    if missing := named - stored:
        raise fail(where, f"target_modules: the weights have no tensors for {shown(missing)}")
    if over := stored - named:
        raise fail(where, f"target_modules does not name {shown(over)}, which have tensors")


# --------------------------------------------------------------------------------------------------------- contents


def _contents(where: str, found: Mapping[str, Tensor]) -> _Contents:
    untrained = [key for key in found if UNTRAINED in key]
    kept = {key: tensor for key, tensor in found.items() if UNTRAINED not in key}
    plain = {COPY.sub("", key).removeprefix(WRAPPER): tensor for key, tensor in kept.items()}
    if len(plain) < len(kept):
        raise fail(where, "holds tensors twice, under historic and present names")
    module: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    names: set[str | None] = set()
    strange: list[str] = []
    unused: list[str] = []
    for key, tensor in within_model(where, plain).items():
        if match := MODULE.fullmatch(key):
            part = next(stored for stored, theirs in PARTS.items() if theirs == match[2])
            module[f"{match[1]}.{part}"] = tensor
            names.add(match[3])
        elif HEAD.fullmatch(key):
            head[key] = tensor
        else:
            (unused if UNUSED.fullmatch(key) else strange).append(key)
    if strange:
        raise fail(where, f"holds {len(strange)} tensors that are not understood: {shown(strange)}")
    if len(names) > 1 or len(module) + len(head) + len(unused) < len(plain):
        raise fail(where, f"must hold one module, but its keys name {shown(map(str, names))}, or one tensor twice")
    if not module:
        raise fail(where, "holds no module: no tensor of LoRA, DoRA or IA3")
    return _Contents(module, head, tuple(_left_out(unused, untrained)))


def _left_out(unused: Iterable[str], untrained: Iterable[str]) -> Iterable[Remark]:
    if unused:
        yield Remark("keys", f"tensors that no head here uses are left out: {shown(unused)}")
    if untrained:
        yield Remark("keys", f"untrained copies of a head are left out: {shown(untrained)}")


def _head(
    where: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], hidden: int
) -> tuple[PublishedHead | None, tuple[Remark, ...]]:
    task = config.get("task_type")
    if not tensors:
        if task in tuple(_heads.TASK_TYPES):
            return None, (Remark("head", f"declares the task type {task}, but holds no head"),)
        return None, ()
    kinds = {frozenset(kind.names): kind for kind in _heads.TASK_TYPES.values()}
    kind = kinds.get(frozenset(tensors))
    if kind is None or task not in (None, next(name for name, known in _heads.TASK_TYPES.items() if known is kind)):
        return None, (Remark("head", f"a head that is none of ours is not read: {shown(tensors)}, {plain(task, 40)}"),)
    head = _heads.head(where, kind, tensors, None)
    outputs, size = head.tensors["out_proj.weight"].shape
    if size != hidden:
        raise fail(where, f"the head reads states of {size}, the module is for {hidden}")
    if outputs == 1:
        return None, (Remark("head", "a head with one output is none of ours: it gives a score, not a label"),)
    said = () if config.get("modules_to_save") else (Remark("head", "a head that modules_to_save does not name"),)
    return head, said


def _text(config: Mapping[str, Any], name: str) -> str | None:
    value = config.get(name)
    return None if value is None else plain(value)
