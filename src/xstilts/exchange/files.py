"""Files of a directory from anywhere, read with suspicion: bounded, never out of the directory, never run.

A ``.bin`` is a pickle, which may name code: see ``_pickles``. Sizes that a file claims are compared with the file
before anything is allocated for them. What it says is shown and kept as ``published.plain`` gives it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xstilts.errors import fail
from xstilts.exchange._pickles import read_pickle
from xstilts.files import told
from xstilts.published import Remark, plain

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = 10_000  # of a directory, and of a list of tensors
TEXT = 1_000_000  # bytes of a configuration or a card
WEIGHTS = 4 * 2**30  # bytes
HEADER = 10_000_000  # bytes of the list of tensors in a file of weights
DEPTH = 20  # of nested JSON
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}  # types of tensors that are read → bytes of one number
AXES = 8  # of a tensor


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory whose list of files was checked.

    Attributes:
        directory: as the user called it.
        files: name → the file itself, links resolved; regular files directly in the directory only.
    """

    directory: Path
    files: Mapping[str, Path]

    def where(self, name: str) -> str:
        """Place of a file, for messages."""
        return str(self.directory / name)

    def first(self, *names: str) -> str | None:
        """The first of these names that is there."""
        return next((name for name in names if name in self.files), None)

    def sizes(self, *names: str) -> tuple[tuple[str, int], ...]:
        """Those of these files that are there, with their sizes in bytes."""
        return tuple((name, self.files[name].stat().st_size) for name in names if name in self.files)


def open_folder(directory: Path, trusted_links: bool = False) -> Folder:
    """List the regular files of a directory.

    Args:
        directory: from anywhere.
        trusted_links: the directory is a snapshot in the cache of the hub's client, whose files are links to
            ``../../blobs``; no other link may lead out even then.

    Raises:
        XstiltsError: no directory, too many files, a link that leads out of it.
    """
    if not directory.is_dir():
        raise fail(str(directory), "is not a directory")
    with told(directory):
        root = directory.resolve()
        inside = (root, root.parent.parent / "blobs") if trusted_links else (root,)
        with os.scandir(directory) as scan:
            entries = list(islice(scan, ENTRIES + 1))
        if len(entries) > ENTRIES:
            raise fail(str(directory), f"holds more than {ENTRIES} files; not a published module")
        files = {}
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = _target(Path(entry.path))
            if entry.is_symlink() and not any(path.is_relative_to(place) for place in inside):
                what = "is a link that leads out of the directory, or nowhere; copy the file it should be"
                raise fail(str(directory), f"{shown([entry.name])} {what}")
            if path.exists() and stat.S_ISREG(path.stat().st_mode):
                files[entry.name] = path
    return Folder(directory, files)


def read_text(folder: Folder, name: str) -> str:
    """Read a small text.

    Raises:
        XstiltsError: too large, not UTF-8, unreadable.
    """
    _bounded(folder, name, TEXT)
    try:
        with told(folder.files[name]):
            return folder.files[name].read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise fail(folder.where(name), "is not UTF-8 text") from error


def read_json(folder: Folder, name: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        XstiltsError: too large, too deep, not an object, a key that is given twice, NaN or infinity.
    """
    value = parse_json(folder.where(name), read_text(folder, name))
    if not isinstance(value, dict):
        raise fail(folder.where(name), "must be a JSON object", type(value).__name__)
    return value


def parse_json(where: str, text: str) -> Any:
    """Parse JSON strictly; see ``read_json``."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise fail(where, f"nests deeper than {DEPTH} levels") from error
    except ValueError as error:
        raise fail(where, f"is not JSON ({error})") from error
    if not _shallow(value, DEPTH):
        raise fail(where, f"nests deeper than {DEPTH} levels")
    return value


def read_tensors(folder: Folder, name: str) -> tuple[dict[str, Tensor], tuple[Remark, ...]]:
    """Read all tensors of a safetensors or a ``.bin`` file, in fp32 and memory of their own.

    Returns:
        The tensors, and a remark if they were stored as another type.

    Raises:
        XstiltsError: damaged, larger than the bounds, tensors that are not floating point, anything but tensors.
    """
    import torch

    _bounded(folder, name, WEIGHTS)
    where = folder.where(name)
    read = _safetensors if name.endswith(".safetensors") else read_pickle
    with told(folder.files[name]):
        stored = read(where, folder.files[name])
    if not stored:
        raise fail(where, "holds no tensors")
    types = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in stored.values()} - {"float32"})
    remark = Remark("precision", f"{name} stores {', '.join(types)}; read as float32")
    tensors = {key: tensor.detach().to(torch.float32, copy=True).contiguous() for key, tensor in stored.items()}
    return tensors, (remark,) if types else ()


def shown(names: object) -> str:
    """The first few of many names that came out of a file, for a message."""
    few = sorted(names) if isinstance(names, set | frozenset | dict) else list(names)  # type: ignore[call-overload]
    return ", ".join(plain(name, 100) for name in few[:3]) + (f", … {len(few) - 3} more" if len(few) > 3 else "")


# ----------------------------------------------------------------------------------------------------------- bounds


def _target(path: Path) -> Path:
    """What a path leads to; of links that lead to each other, another place than any directory."""
    try:
        return path.resolve()
    except RuntimeError:
        return Path(os.devnull)


def _bounded(folder: Folder, name: str, limit: int) -> None:
    with told(folder.files[name]):
        size = folder.files[name].stat().st_size
    if size > limit:
        raise fail(folder.where(name), f"has {size:,} bytes; at most {limit:,} are read")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"key {name[:100]!r} is given twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict | list):
        children = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_shallow(child, depth - 1) for child in children)
    return True


# ------------------------------------------------------------------------------------------------------ safetensors


def _safetensors(where: str, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    names = _check_header(where, path)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, RuntimeError) as error:
        raise fail(where, f"is not a readable safetensors file ({plain(error)})") from error


def _check_header(where: str, path: Path) -> list[str]:
    """Names of the tensors, after their types, shapes and places were compared with the size of the file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise fail(where, f"is truncated: {size:,} bytes, but its header says that it is {length:,} bytes long")
        if length > HEADER:
            raise fail(where, f"has a header of {length:,} bytes; at most {HEADER:,} are read")
        try:
            text = stream.read(length).decode()
        except UnicodeDecodeError as error:
            raise fail(where, "has a header that is not text") from error
    header = parse_json(f"{where}: header", text)
    if not isinstance(header, dict):
        raise fail(where, "has a header that is no JSON object")
    header.pop("__metadata__", None)
    if len(header) > ENTRIES:
        raise fail(where, f"lists more than {ENTRIES} tensors; not a published module")
    end = 0
    for name, (first, last) in sorted(_places(where, header).items(), key=lambda item: item[1]):
        if first != end:
            raise fail(where, "holds tensors that overlap, or bytes of no tensor", name[:100])
        end = last
    if end != size - 8 - length:
        what = "is truncated" if end > size - 8 - length else "holds bytes of no tensor"
        raise fail(where, f"{what}: its tensors take {end:,} bytes, {size - 8 - length:,} are there")
    return list(header)


def _places(where: str, header: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """First and last byte of every tensor, which must be as many as its shape and type need."""
    places = {}
    for name, entry in header.items():
        if not isinstance(entry, dict) or not all(_naturals(entry.get(part)) for part in ("shape", "data_offsets")):
            raise fail(where, "describes a tensor in a way that is not understood", name[:100])
        if entry.get("dtype") not in SIZES:
            raise fail(where, f"tensor {name[:100]} has another type", str(entry.get("dtype"))[:20], SIZES)
        offsets = entry["data_offsets"]
        if 0 in entry["shape"]:
            raise fail(where, "holds a tensor without numbers", name[:100])
        if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(entry["shape"]) * SIZES[entry["dtype"]]:
            raise fail(where, "gives a tensor more or fewer bytes than its shape needs", name[:100])
        places[name] = (offsets[0], offsets[1])
    return places


def _naturals(value: Any) -> bool:
    """Whether these can be the axes or the places of a tensor that is read."""
    few = isinstance(value, list) and len(value) <= AXES
    return few and all(type(number) is int and 0 <= number <= WEIGHTS for number in value)
