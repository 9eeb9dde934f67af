"""Bundles written: a model card and a manifest beside the tensors of a finished step. Reads headers only, no torch."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from xstilts.bundle.card import render
from xstilts.bundle.contents import Contents
from xstilts.bundle.manifest import (
    CARD,
    ENCODER,
    HEAD,
    MANIFEST,
    BackboneEntry,
    FileEntry,
    Manifest,
    TensorEntry,
    first_line,
    header,
)
from xstilts.errors import fail
from xstilts.files import replacing, sha256, told, write_json
from xstilts.spec import Backbone


def write(directory: Path, about: Contents) -> Manifest:
    """Make a bundle of a directory that holds a module's tensors: write its model card, then its manifest.

    Args:
        directory: holds ``encoder.safetensors`` and, if there is a head, ``head.safetensors``.
        about: what it is.

    Raises:
        XstiltsError: no readable tensors, tensors that are not fp32, or the disk refuses.
    """
    with told(directory):
        files = [_entry(directory / name) for name in (ENCODER, HEAD) if name == ENCODER or (directory / name).exists()]
        backbone = about.backbone
        values: dict[str, Any] = {
            "xstilts": importlib.metadata.version("xstilts"),
            **{name: getattr(about, name) for name in (field.name for field in fields(Contents))},
            "backbone": BackboneEntry(
                name=backbone.name,
                fingerprint=backbone.fingerprint,
                layers=backbone.layers,
                hidden=_hidden(backbone),
                tokenizer=sha256(Path(backbone.path) / "tokenizer.json"),
            ),
        }
        card = directory / CARD
        with replacing(card) as temporary:
            text = render(Manifest(**values, files=tuple(files)).model_dump())
            temporary.write_text(text, encoding="utf-8")
        files.append(_file(card, ()))
        manifest = Manifest(**values, files=tuple(files))
        write_json(directory / MANIFEST, manifest.model_dump(mode="json"))
        return manifest


def _entry(path: Path) -> FileEntry:
    if not path.is_file():
        raise fail(str(path), "is missing")
    try:
        tensors = tuple(TensorEntry(key=name, shape=shape, dtype=dtype) for name, shape, dtype in header(path))
    except ValueError as error:  # also of the entry, where a tensor is not fp32
        raise fail(str(path), f"cannot be published: {first_line(error)}") from error
    return _file(path, tensors)


def _file(path: Path, tensors: tuple[TensorEntry, ...]) -> FileEntry:
    found = {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path), "tensors": tensors}
    return FileEntry.model_validate(found)


def _hidden(backbone: Backbone) -> int:
    return int(json.loads((Path(backbone.path) / "config.json").read_text(encoding="utf-8"))["hidden_size"])
