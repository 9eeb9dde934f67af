"""Modules written as other libraries read them, to the same outputs; what cannot be said there is refused, not bent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xstilts.errors import fail
from xstilts.exchange import _adapters, _heads, adapterhub, peft
from xstilts.exchange._card import CARD, TAG, card
from xstilts.exchange._settings import whole_number
from xstilts.files import disk_error, flush, new_directory
from xstilts.methods import load_method
from xstilts.methods._peft import PATHS, LinearMap
from xstilts.methods.ia3 import INPUTS
from xstilts.published import Published, PublishedHead, Remark

if TYPE_CHECKING:
    from torch import Tensor

NAME = "module"  # of a module that has none, or one that the library cannot hold
# layout, kind → why it cannot be written there
REFUSED = {
    ("adapterhub", "dora"): "the DoRA of adapters is another function than this one unless alpha equals the rank",
    ("adapterhub", "ia3"): "the IA3 of adapters scales other places in the feed-forward block",
    ("peft", "bottleneck"): "PEFT has no bottleneck adapters in the layers",
}

Tensors = dict[str, "Tensor"]


def write(
    published: Published, directory: Path, layout: Literal["adapterhub", "peft"], pickled: bool = False
) -> tuple[Remark, ...]:
    """Write a module in the layout of another library, whole or not at all.

    Args:
        published: the module.
        directory: to be made; may exist if it is empty.
        layout: of AdapterHub (adapters ≥ 1.0) or of PEFT.
        pickled: write ``.bin`` instead of safetensors; ``load_adapter`` of adapters reads safetensors only when it is
            called with ``use_safetensors=True``.

    Returns:
        What the layout cannot hold and is therefore not in it, such as a head.

    Raises:
        XstiltsError: a method that the library does not have, a directory that is not empty, a disk that refuses.
    """
    kind = published.method.kind
    reason = REFUSED.get((layout, kind))
    if kind in ("full", "head"):
        reason = "it adds no module to the encoder"
    if reason:
        raise fail(f"{layout} layout", f"cannot hold a module of the method {kind}: {reason}")
    options = load_method(kind).Options.model_validate(published.method.options)
    if layout == "peft":
        files, remarks = _peft(published, options)
    else:
        files, remarks = _adapterhub(published, options)
    try:
        with new_directory(directory) as folder:
            for name, content in files.items():
                _write(folder, name, content, pickled)
    except OSError as error:
        raise disk_error(error, directory) from error
    return remarks


def _write(folder: Path, name: str, content: str | dict[str, Any] | tuple[Tensors, str], pickled: bool) -> None:
    """Write a text, a JSON object, or tensors with the name that they have as a pickle."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = folder / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, dict):
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    else:
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in content[0].items()}
        path = folder / content[1] if pickled else path
        try:
            if pickled:
                torch.save(tensors, path)
            else:
                save_file(tensors, path, {"format": "pt"})
        except (SafetensorError, RuntimeError) as error:  # how the libraries report a full disk
            raise fail(str(path), f"cannot be written ({error})") from error
    flush(path)


def _said(published: Published) -> str:
    """What the card says of labels and of the modules that lie below; not every library has a place for them."""
    labels = published.head.labels if published.head else None
    text = f"\n\nOutputs of the head, in order: {', '.join(labels)}." if labels else ""
    below = [remark.what for remark in published.remarks if remark.check == "below"]
    return text + "".join(f"\n\n**Not whole by itself:** {what}, which is not here." for what in below)


def _tags(published: Published, library: str) -> tuple[str, ...]:
    task = published.origin.task
    return (library, "xlm-roberta", *((f"{TAG}{task}",) if task and library == "adapter-transformers" else ()))


# ------------------------------------------------------------------------------------------------------- AdapterHub


def _adapterhub(published: Published, options: Any) -> tuple[dict[str, Any], tuple[Remark, ...]]:
    import adapters

    if published.method.kind == "lora" and "attention_output" in options.targets:
        raise fail("adapterhub layout", "adapters has no LoRA on the output of attention", "attention_output")
    name = published.origin.name or NAME
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        name = NAME
    lora = published.method.kind == "lora"
    inner = _adapters.lora_config(options) if lora else _adapters.bottleneck_config(options, published.layers)
    common = {
        "hidden_size": published.hidden,
        "model_class": "XLMRobertaAdapterModel",
        "model_name": published.origin.backbone,
        "model_type": adapterhub.MODEL_TYPE,
        "name": name,
        "version": f"{_adapters.LIBRARY}{adapters.__version__}",
    }
    tensors = {_adapterhub_key(stored, name): tensor for stored, tensor in published.tensors.items()}
    text = f"`{name}`: made for `{published.origin.backbone or 'an XLM-R encoder'}`; loaded by `load_adapter`."
    text += _said(published)
    origin = published.origin
    files: dict[str, Any] = {
        adapterhub.CONFIG: {**common, "config": inner},
        adapterhub.SAFE: (tensors, adapterhub.PICKLED),
        CARD: card(origin.licence, origin.language, _tags(published, "adapter-transformers"), text),
    }
    head = published.head
    if head is None:
        return files, ()
    described = _heads.flexible_config(head)
    if described is None:
        return files, (Remark("head", f"a head for {head.format} is not written: adapters needs to know more of it"),)
    names = {ours: f"heads.{name}.{there}" for there, ours in _heads.flexible_names(head.format).items()}
    files[adapterhub.HEAD_CONFIG] = {**common, "config": described}
    renamed = {names[ours]: tensor for ours, tensor in head.tensors.items()}
    files[adapterhub.SAFE_HEAD] = (renamed, adapterhub.PICKLED_HEAD)
    return files, ()


def _adapterhub_key(stored: str, name: str) -> str:
    """The inverse of what ``adapterhub.read`` does to keys."""
    if stored.startswith("inverse."):
        return f"{adapterhub.MODEL}invertible_adapters.{name}.{stored.removeprefix('inverse.')}"
    place, _, part = stored.rpartition(".")
    if part.startswith("lora_"):
        return f"{adapterhub.MODEL}{place}.loras.{name}.{part}"
    place, _, projection = place.rpartition(".")
    return f"{adapterhub.MODEL}{place}.adapters.{name}.adapter_{'down.0' if projection == 'down' else 'up'}.{part}"


# ------------------------------------------------------------------------------------------------------------- PEFT


def _peft(published: Published, options: Any) -> tuple[dict[str, Any], tuple[Remark, ...]]:
    from peft import __version__

    head = published.head
    task = _task_type(head)
    model = adapterhub.MODEL if task else ""
    tensors = {f"{peft.WRAPPER}{model}{_peft_key(stored)}": tensor for stored, tensor in published.tensors.items()}
    config: dict[str, Any] = {
        "base_model_name_or_path": published.origin.backbone,
        "inference_mode": True,
        "modules_to_save": None,
        "peft_version": __version__,
        "target_modules": _targets(options.targets, published.layers),
        "task_type": task or "FEATURE_EXTRACTION",
    }
    if published.method.kind == "ia3":
        fed = _targets([target for target in options.targets if target in INPUTS], published.layers)
        config |= {"peft_type": "IA3", "feedforward_modules": fed}
    else:
        config |= {
            "peft_type": "LORA",
            "r": options.rank,
            "lora_alpha": whole_number(options.alpha),
            "lora_dropout": options.dropout,
            "bias": "none",
            "init_lora_weights": True,
            "use_dora": published.method.kind == "dora",
            "use_rslora": getattr(options, "rank_stabilised", False),
        }
    remarks: tuple[Remark, ...] = ()
    if task and head:
        names = {ours: there for there, ours in _heads.TASK_TYPES[task].names.items()}
        tensors |= {f"{peft.WRAPPER}{names[ours]}": tensor for ours, tensor in head.tensors.items()}
        config["modules_to_save"] = sorted({there.split(".")[0] for there in names.values()})
    elif head:
        remarks = (Remark("head", f"a head for {head.format} is not written: no model class of transformers has it"),)
    text = f"Made for `{published.origin.backbone or 'an XLM-R encoder'}`; loaded by `PeftModel.from_pretrained`."
    text += _said(published)
    origin = published.origin
    return {
        peft.CONFIG: config,
        peft.SAFE: (tensors, peft.PICKLED),
        CARD: card(origin.licence, origin.language, _tags(published, "peft"), text),
    }, remarks


def _peft_key(stored: str) -> str:
    """The inverse of what ``peft.read`` does to keys."""
    path, _, part = stored.rpartition(".")
    return f"{path}.{peft.PARTS[part]}{'.weight' if part.startswith('lora_') else ''}"


def _targets(targets: Sequence[LinearMap], layers: int) -> list[str]:
    """Names that peft finds in these maps and in no other: it takes a name for all that end in it."""
    names = []
    for target in targets:
        path = PATHS[target]
        shared = any(other != path and other.endswith(f".{path}") for other in PATHS.values())
        names += [f"layer.{layer}.{path}" for layer in range(layers)] if shared else [path]
    return names


def _task_type(head: PublishedHead | None) -> str | None:
    """The task type of peft whose model class has this head, if there is one."""
    kinds = {kind.format: task for task, kind in _heads.TASK_TYPES.items()}
    return kinds.get(head.format) if head else None
