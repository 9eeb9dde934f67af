"""Checks of what a module says of itself."""

from __future__ import annotations

import re
from pathlib import Path

from xstilts.backbone import KNOWN
from xstilts.bundle.card import stated_licence
from xstilts.doctor.checks import Check
from xstilts.files import sha256
from xstilts.methods import load_method
from xstilts.published import Origin, Published, PublishedHead
from xstilts.spec import Backbone

LAYOUTS = {"bundle": "a bundle of xstilts", "adapterhub": "an AdapterHub directory", "peft": "a PEFT directory"}
LABELLED = ("classification", "tagging")
MODEL_TYPE = "xlm-roberta"
ORG = "FacebookAI/"  # where hub ids of before organisations lead to
# How names of models began before the hub had organisations; another name without one is a local directory's.
OLD_NAMES = re.compile(r"(xlm-roberta|roberta|bert|distilbert|distilroberta|albert|camembert|electra|xlm-mlm|gpt2|t5)-")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")  # ./x is a directory
UNSTATED = "not stated"
LARGEST_TOKENIZER = 100_000_000  # bytes


def checks(published: Published, directory: Path, backbone: Backbone) -> tuple[Check, ...]:
    """Look at version, backbone, head, licence and tokenizer.

    Args:
        published: the module.
        directory: where it was read from.
        backbone: that it is to be used with.
    """
    origin = published.origin
    return (
        _format(origin),
        _module(published),
        _backbone(origin, backbone),
        *_repaired(published),
        _head(published.head),
        _licence(origin, directory),
        _tokenizer(origin, directory, backbone),
    )


def _format(origin: Origin) -> Check:
    layout = LAYOUTS[origin.layout]
    if origin.version is not None or origin.layout == "peft":  # peft wrote no version for years, and changed nothing
        return Check("format", "ok", f"{layout}, version {origin.version or 'not stated'}")
    found = f"{layout} without a version"
    return Check("format", "note", found, "written by adapter-transformers 1: old names, and its gelu is gelu_new")


def _module(published: Published) -> Check:
    count = sum(tensor.numel() for tensor in published.tensors.values())
    method = load_method(published.method.kind).Options.model_validate(published.method.options)
    options = ", ".join(f"{name} {_shown(value)}" for name, value in method.model_dump().items() if value)
    language = f", language {published.origin.language}" if published.origin.language else ""
    task = _trained_on(published.origin)
    found = f"{published.method.kind} ({options or 'no options'}), {count:,} parameters{language}{task}"
    return Check("module", "ok", found)


def _trained_on(origin: Origin) -> str:
    """PEFT names no data, only the kind of model."""
    if not origin.task:
        return ""
    return f", task type {origin.task}" if origin.layout == "peft" else f", trained on {origin.task}"


def _backbone(origin: Origin, backbone: Backbone) -> Check:
    """Certain by fingerprint, declared by name, or the shape only; anything that contradicts is unsafe.

    The same name in another place may be a copy (``models/xlm-roberta-base``), or something else: the shape only.
    """
    if origin.fingerprint is not None:
        if origin.fingerprint == backbone.fingerprint:
            return Check("backbone", "ok", f"certain: the fingerprint is that of {backbone.name}")
        means = "the same shape with other weights, or another tokenizer: its numbers would mean nothing"
        return Check("backbone", "unsafe", f"contradicts: it was trained on another {origin.backbone}", means)
    if origin.model_type not in (None, MODEL_TYPE):
        means = "other weights and another vocabulary, even where all shapes fit"
        return Check("backbone", "unsafe", f"contradicts: it declares the model type {origin.model_type}", means)
    if _is_foreign(origin.backbone):
        means = "other weights and another vocabulary, even where all shapes fit"
        return Check("backbone", "unsafe", f"contradicts: it declares {origin.backbone}, which is no XLM-R", means)
    if origin.backbone and Path(origin.backbone).resolve() == Path(backbone.path).resolve():
        found = f"declared: {origin.backbone}, the directory of {backbone.name}"
        return Check("backbone", "ok", found, "by name only: the files there may have been others")
    declared, given = _hub_id(origin.backbone), _hub_id(backbone.name)
    namesake = None not in (declared, given) and _last(declared) == _last(given) and declared != given
    if declared is None or given is None or namesake:
        said = f"declares {origin.backbone!r}" if origin.backbone else "declares no backbone"
        means = "nothing says that these are the weights it was trained on; make sure before you believe a result"
        return Check("backbone", "warning", f"only the shape fits: it {said}, and yours is {backbone.name}", means)
    if declared != given:
        means = "trained on other weights, even where all shapes fit"
        return Check("backbone", "unsafe", f"contradicts: it declares {origin.backbone}, yours is {given}", means)
    means = "by name only: no fingerprint of its weights was published"
    return Check("backbone", "ok", f"declared: {origin.backbone}", means)


def _is_foreign(name: str | None) -> bool:
    """Whether a name is that of a well-known family of models other than XLM-R."""
    last = _last(name)
    return bool(OLD_NAMES.match(last)) and not last.startswith("xlm-roberta-")


def _hub_id(name: str | None) -> str | None:
    """The hub id that a name stands for, or None for a directory's."""
    if name is None:
        return None
    plain = name.partition("@")[0]
    if plain in KNOWN or f"{ORG}{plain}" in KNOWN:
        return plain if plain in KNOWN else f"{ORG}{plain}"
    return plain if HUB_ID.fullmatch(plain) or OLD_NAMES.match(plain) else None


def _last(name: str | None) -> str:
    return (name or "").rpartition("/")[2]


def _repaired(published: Published) -> tuple[Check, Check]:
    """What versions of libraries got wrong or called otherwise; a reader that met it remarks it in their place."""
    options = published.method.options
    scaled = published.method.kind in ("lora", "dora")
    return (
        Check("scaling", "ok", "as the file states it" if scaled else "not scaled"),
        Check("activation", "ok", str(options.get("non_linearity", "relu" if _is_bottleneck(published) else "none"))),
    )


def _is_bottleneck(published: Published) -> bool:
    return published.method.kind == "bottleneck"


def _head(head: PublishedHead | None) -> Check:
    if head is None:
        return Check("head", "ok", "none", "a study trains its own")
    outputs = next((len(tensor) for name, tensor in head.tensors.items() if name == "out_proj.weight"), 0)
    found = f"{head.format}, {outputs} outputs"
    if head.labels is None and head.format in LABELLED:
        return Check("head", "note", f"{found}, which it does not name", "which output is which label cannot be known")
    if head.labels is not None and len(head.labels) != outputs:
        means = "the labels are not those of the head; it is of no use for predictions"
        return Check("head", "warning", f"{found}, but {len(head.labels)} labels", means)
    return Check("head", "ok", f"{found}{': ' + ', '.join(head.labels) if head.labels else ''}", "not reused")


def _licence(origin: Origin, directory: Path) -> Check:
    stated = origin.licence or stated_licence(directory / "README.md")
    if stated and UNSTATED in stated:  # a bundle names the terms of all that went into it
        return Check("licence", "warning", stated, "a part of it has no licence that would let you pass it on")
    if stated:
        return Check("licence", "ok", stated)
    return Check("licence", "warning", UNSTATED, "without a licence you may not pass it on; ask its author")


def _tokenizer(origin: Origin, directory: Path, backbone: Backbone) -> Check:
    if origin.layout == "bundle":
        return Check("tokenizer", "ok", "part of the backbone's fingerprint")
    path = directory / "tokenizer.json"
    if not path.is_file() or path.stat().st_size > LARGEST_TOKENIZER:
        return Check("tokenizer", "ok", "none declared", "the backbone's is used")
    if sha256(path) == sha256(Path(backbone.path) / "tokenizer.json"):
        return Check("tokenizer", "ok", "the backbone's")
    means = "the backbone's is used; if it was trained with other tokens, results suffer"
    return Check("tokenizer", "warning", "brings another tokenizer.json than the backbone's", means)


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
