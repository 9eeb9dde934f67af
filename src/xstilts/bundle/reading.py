"""Bundles read: nothing is believed that was not compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from xstilts.bundle.manifest import (
    CARD,
    ENCODER,
    HEAD,
    LARGEST_MANIFEST,
    MANIFEST,
    STORE_FILES,
    FileEntry,
    Manifest,
    first_line,
    header,
)
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.files import sha256, told
from xstilts.methods import load_method
from xstilts.published import Origin, Published, PublishedHead, Remark, plain

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_TERMS = 2000  # characters, of all licences together
FUSION = ".fusion."  # in the stored names of AdapterFusion


def verify(directory: Path) -> Manifest:
    """Compare a bundle with its manifest: the files that are there, their sizes and checksums, names, shapes and types.

    Hidden files are neither read nor minded.

    Raises:
        XstiltsError: everything that differs.
    """
    with told(directory):
        manifest = _manifest(directory)
        problems = [*_strangers(directory, manifest), *_module_problems(directory, manifest)]
        for entry in manifest.files:
            problems += _file_problems(directory / entry.name, entry)
    if problems:
        raise XstiltsError(*problems)
    return manifest


def read(directory: Path) -> Published:
    """Read a bundle after comparing everything with its manifest.

    Of several heads the first one is read.

    Raises:
        XstiltsError: see ``verify``; a fusion without what it fuses; a tensor that holds NaN or infinity.
    """
    manifest = verify(directory)
    fused = [name for name in _keys(manifest, "") if FUSION in name]
    if fused:
        what = "holds a fusion, which computes nothing without the modules below it; publish those, and fuse them again"
        raise fail(str(directory / ENCODER), what, fused[0])
    tensors = _tensors(directory, manifest, ENCODER)
    heads = _tensors(directory, manifest, HEAD)
    backbone, tasks = manifest.backbone, manifest.tasks
    remarks = [
        Remark("below", f"it was trained on top of {plain(each.what)} [{each.key}]", True) for each in manifest.below
    ]
    if manifest.made == "imported":
        what = f"{plain(manifest.start)} for {plain(backbone.name)}"
        what += ": what it was trained on is known by its publisher's word only"
        remarks.append(Remark("backbone", what))
    head = None
    if heads and manifest.heads:
        first = manifest.heads[0]
        own = {name: tensor for name, tensor in heads.items() if name.startswith(first.prefix)}
        named = {name.removeprefix(first.prefix): tensor for name, tensor in own.items()}
        head = PublishedHead(first.format, named, first.labels or None)
        if len(manifest.heads) > 1:
            remarks.append(Remark("head", f"of {len(manifest.heads)} heads only the first is read"))
    licences = "; ".join(f"{each.of}: {each.text or 'not stated'}" for each in manifest.licences)
    origin = Origin(
        layout="bundle",
        version=plain(manifest.xstilts),
        name=plain(manifest.name),
        backbone=plain(backbone.name),
        fingerprint=backbone.fingerprint,
        model_type="xlm-roberta",
        hidden_size=backbone.hidden,
        language=manifest.language,
        task=plain(" + ".join(task.name for task in tasks)) or None,
        licence=plain(licences, LONGEST_TERMS) or None,
        files=tuple((entry.name, entry.bytes) for entry in manifest.files),
    )
    return Published(manifest.method, tensors, backbone.layers, backbone.hidden, head, origin, tuple(remarks))


def _manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    if not path.is_file():
        raise fail(str(path), "is missing, or no regular file")
    if path.stat().st_size > LARGEST_MANIFEST:
        raise fail(str(path), f"is larger than any manifest ({LARGEST_MANIFEST} bytes)", str(path.stat().st_size))
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise XstiltsError(
            *(
                Problem(f"{path}: {'.'.join(map(str, item['loc']))}", item["msg"].lower(), str(item["input"])[:80])
                for item in error.errors()[:20]
            )
        ) from error


def _strangers(directory: Path, manifest: Manifest) -> Iterator[Problem]:
    """Files that no manifest speaks of, and the same file twice."""
    named = [entry.name for entry in manifest.files]
    if len(set(named)) < len(named) or not {ENCODER, CARD} <= set(named):
        yield Problem(f"{directory / MANIFEST}: files", f"must name {ENCODER} and {CARD}, each file once", str(named))
    for path in sorted(directory.iterdir()):
        if not path.name.startswith(".") and path.name not in {MANIFEST, *named, *STORE_FILES}:
            yield Problem(str(path), "is not in the manifest; delete it, or do not use this bundle")


def _module_problems(directory: Path, manifest: Manifest) -> Iterator[Problem]:
    where = str(directory / MANIFEST)
    try:
        load_method(manifest.method.kind, where).Options.model_validate(manifest.method.options)
    except XstiltsError as error:
        yield from error.problems
    except ValidationError as error:
        yield Problem(f"{where}: method", first_line(error))
    found = {part[len("encoder.layer.") :].partition(".")[0] for part in _keys(manifest, "encoder.layer.")}
    beyond = sorted(layer for layer in found if not layer.isdecimal() or int(layer) >= manifest.backbone.layers)
    if beyond:
        yield Problem(where, f"names tensors of layers that {manifest.backbone.layers} layers do not have", beyond[0])


def _keys(manifest: Manifest, prefix: str) -> Iterable[str]:
    return (
        tensor.key
        for entry in manifest.files
        if entry.name == ENCODER
        for tensor in entry.tensors
        if tensor.key.startswith(prefix)
    )


def _file_problems(path: Path, entry: FileEntry) -> Iterator[Problem]:
    if not path.is_file():
        evicted = "; the store evicted these weights, run its study again" if path.name == ENCODER else ""
        yield Problem(str(path), f"is missing{evicted if not path.exists() else ', for it is no regular file'}")
        return
    if path.stat().st_size != entry.bytes or sha256(path) != entry.sha256:
        yield Problem(str(path), "is not the file that the manifest describes (size or sha256 differs)")
        return
    if path.name == CARD:
        return
    try:
        found = header(path)
    except ValueError as error:
        yield Problem(str(path), f"is not a readable safetensors file: {error}")
        return
    listed = sorted((tensor.key, tensor.shape, tensor.dtype) for tensor in entry.tensors)
    if found != listed:
        differing = sorted({str(each[0]) for each in set(found) ^ set(listed)})
        yield Problem(str(path), f"holds other tensors than its manifest lists: {len(differing)} differ", differing[0])


def _tensors(directory: Path, manifest: Manifest, name: str) -> dict[str, Tensor]:
    """Tensors of a file that was verified; none where the bundle has no such file."""
    from safetensors import SafetensorError, safe_open

    path = directory / name
    if name not in {entry.name for entry in manifest.files}:
        return {}
    try:
        with safe_open(path, "pt") as file:
            # in memory of their own: what the file becomes later must not change them
            tensors = {stored: file.get_tensor(stored).clone() for stored in sorted(file.keys())}
    except (OSError, SafetensorError, RuntimeError) as error:
        raise fail(str(path), f"is not a readable safetensors file ({plain(error)})") from error
    unsound = [stored for stored, tensor in tensors.items() if not tensor.isfinite().all()]
    if unsound:
        raise fail(str(path), f"{len(unsound)} tensors hold NaN or infinity", unsound[0])
    return tensors
