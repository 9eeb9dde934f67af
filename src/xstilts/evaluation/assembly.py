"""From what a user names to a whole model: the module, everything that it lies on, and its heads.

A bundle says which modules lie below it, by their keys; they are looked for beside it, where a store has them. What a
fusion attends over is in the ``step.json`` of a store. Everything goes through the doctor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xstilts import bundle, exchange
from xstilts.backbone import weights_digest
from xstilts.bundle.manifest import ENCODER, HEAD, MANIFEST
from xstilts.bundle.reading import FUSION
from xstilts.doctor import admitted
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.evaluation.heads import Head
from xstilts.published import Published
from xstilts.spec import Backbone

if TYPE_CHECKING:
    from torch import Tensor

    from xstilts.engine.carrier import Level, Piece

STEP = "step.json"


class Lengths(NamedTuple):
    """How rows are cut into tokens; see ``spec.Recipe``."""

    max_length: int
    doc_stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A module that can be evaluated, if it has a head for the task.

    Attributes:
        source: as the user called it.
        name: what it calls itself.
        levels: the modules that it consists of, lowest first; see ``engine.carrier``.
        heads: that it has.
        lengths: that it was trained with; None = not known.
        below: digest of each module that it lies on.
        digest: of its own tensors.
    """

    source: str
    name: str
    levels: tuple[Level, ...]
    heads: tuple[Head, ...]
    lengths: Lengths | None
    below: tuple[str, ...]
    digest: str


def assemble(source: str, backbone: Backbone) -> Candidate:
    """Read a module and complete it.

    Args:
        source: a directory, or a hub id ``org/name`` with ``@revision``.
        backbone: that it is evaluated on.

    Raises:
        XstiltsError: not found, unreadable, refused by the doctor, or not to be completed.
    """
    directory = exchange.locate(source)
    if exchange.layout(directory, trusted_links=not Path(source).is_dir()) == "bundle":
        return _bundle(source, directory.resolve(), backbone)
    published = admitted(source, backbone)
    own = _piece(published)
    name = published.origin.name or Path(source.partition("@")[0]).name
    heads = () if published.head is None else (_published_head(published),)
    return Candidate(source, name, _levels(own), heads, None, (), own.digest)


def _published_head(published: Published) -> Head:
    head = published.head
    assert head is not None
    return Head(head.format, head.tensors, head.labels)


# --------------------------------------------------------------------------------------------------------- bundles


def _bundle(source: str, directory: Path, backbone: Backbone) -> Candidate:
    manifest = bundle.verify(directory)
    fused = _is_fused(manifest)
    below = [_piece(each) for each in _below(source, directory, manifest, backbone)]
    if fused:
        levels, digest = _fused(source, directory, manifest, below, backbone)
    else:
        own = _piece(admitted(source, backbone))
        levels, digest = (*(level for each in below for level in _levels(each)), *_levels(own)), own.digest
    kinds = {piece.method.kind for level in levels for piece in level.modules}
    if len(kinds) > 1:
        raise fail(source, "lies on modules of another kind, which cannot be", ", ".join(sorted(kinds)))
    recipe = manifest.recipe
    lengths = None if recipe is None else Lengths(recipe.max_length, recipe.doc_stride)
    heads = _bundled_heads(directory, manifest)
    return Candidate(source, manifest.name, levels, heads, lengths, tuple(each.digest for each in below), digest)


def _is_fused(manifest: bundle.Manifest) -> bool:
    return any(FUSION in tensor.key for file in manifest.files if file.name == ENCODER for tensor in file.tensors)


def _below(source: str, directory: Path, manifest: bundle.Manifest, backbone: Backbone) -> list[Published]:
    """The modules that a bundle lies on, lowest first, from the directories beside it that have their keys as names."""
    places = {each.key: directory.parent / each.key for each in manifest.below}
    problems = [
        Problem(source, f"lies on {each.what}, which is not beside it", str(places[each.key]))
        for each in manifest.below
        if not (places[each.key] / MANIFEST).is_file()
    ]
    if problems:
        raise XstiltsError(*problems)
    for key, place in places.items():
        found = bundle.verify(place)
        if found.key != key:
            raise fail(str(place / MANIFEST), "is that of another step than its directory is named after", found.key)
        if _is_fused(found):
            raise fail(source, "lies on a fusion, and its manifest does not say what that attends over", found.name)
    return [admitted(str(place), backbone) for place in places.values()]


def _fused(
    source: str, directory: Path, manifest: bundle.Manifest, below: list[Piece], backbone: Backbone
) -> tuple[tuple[Level, ...], str]:
    """The levels of a bundle that attends over the topmost modules below it, and perhaps has one of its own on top."""
    from xstilts.engine import artifact
    from xstilts.engine.carrier import Level, Piece

    if manifest.backbone.fingerprint != backbone.fingerprint:
        raise fail(source, "was trained on another backbone", manifest.backbone.name, (backbone.name,))
    count = _attended(source, directory, manifest)
    tensors = artifact.everything(directory / ENCODER, {})
    attention = {name: tensor for name, tensor in tensors.items() if FUSION in name}
    module = {name: tensor for name, tensor in tensors.items() if FUSION not in name}
    own = Piece(manifest.method, module, weights_digest(module))
    first = len(below) - count
    levels = [level for each in below[:first] for level in _levels(each)]
    levels.append(Level(tuple(below[first:]), attention))
    return (*levels, *(_levels(own) if module else ())), weights_digest(tensors)


def _attended(source: str, directory: Path, manifest: bundle.Manifest) -> int:
    """How many of the modules below a fusion it attends over; they are the last ones."""
    path = directory / STEP
    keys: list[str] = []
    try:
        content = json.loads(path.read_bytes())
        start = content["step"]["start"]
        if content["key"] == manifest.key and start["type"] == "Fuse":
            keys = [str(each["key"]) for each in start["sources"]]
    except (OSError, ValueError, LookupError, TypeError):
        pass  # told below
    if not keys or [each.key for each in manifest.below][-len(keys) :] != keys:
        what = f"holds a fusion, and {path.name} does not say which of the modules below it attends over"
        raise fail(source, f"{what}: a directory of a store does, where the fusion was trained last")
    return len(keys)


def _bundled_heads(directory: Path, manifest: bundle.Manifest) -> tuple[Head, ...]:
    from xstilts.engine import artifact

    if HEAD not in {file.name for file in manifest.files}:
        return ()
    tensors = artifact.everything(directory / HEAD, {})
    return tuple(_bundled_head(entry, tensors, manifest) for entry in manifest.heads)


def _bundled_head(entry: bundle.HeadEntry, tensors: dict[str, Tensor], manifest: bundle.Manifest) -> Head:
    own = {name.removeprefix(entry.prefix): each for name, each in tensors.items() if name.startswith(entry.prefix)}
    first = manifest.tasks[0].name if manifest.tasks else None
    return Head(entry.format, own, entry.labels or None, entry.prefix.removesuffix(".") or first)


# ---------------------------------------------------------------------------------------------------------- pieces


def _piece(published: Published) -> Piece:
    from xstilts.engine.carrier import Piece

    return Piece(published.method, published.tensors, weights_digest(published.tensors))


def _levels(piece: Piece) -> tuple[Level, ...]:
    """A level of one module; head-only training has none."""
    from xstilts.engine.carrier import Level

    return (Level((piece,)),) if piece.tensors else ()
