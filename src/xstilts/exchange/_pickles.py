"""Tensors out of ``.bin`` files, which are pickles: programs for a small machine.

``torch.load(weights_only=True)`` runs only what it knows, but that is more than a file of tensors needs: it makes
buffers of any size, and its messages spell out structures that double with every step. So the program is looked
through before it runs: it may call what rebuilds tensors, and take up again nothing but names.

A zip has several tables of contents, of which readers believe different ones. What is checked is therefore what is
loaded: its entries are copied into a new zip.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import tempfile
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from xstilts.errors import XstiltsError, fail

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = 10_000  # of a zip
PROGRAM = 10_000_000  # bytes of the list of tensors
ZIP = b"PK\x03\x04"
LEGACY_PROGRAMS = 5  # of a file before zips: magic number, protocol, system, tensors, storages; then numbers
CALLED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)"
    r"|torch (\w+Storage|bfloat16|float\d\d)|torch\.storage (_?TypedStorage|_?UntypedStorage)"
)
CALLS = ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")  # what names code
NAMES = ("BINUNICODE", "SHORT_BINSTRING", "GLOBAL")  # what a program may take up again


def read_pickle(where: str, path: Path) -> dict[str, Tensor]:
    """Read a dictionary of tensors; they may be views into memory that others share.

    Raises:
        XstiltsError: damaged, or anything but such a dictionary.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        zipped = stream.read(len(ZIP)) == ZIP
        stream.seek(0)
        if not zipped:
            _check_programs(where, stream.read(PROGRAM), LEGACY_PROGRAMS)
    if zipped:
        with tempfile.TemporaryDirectory(prefix="xstilts-") as folder:
            copy = Path(folder) / "copy.zip"
            _copy(where, path, size, copy)
            found = _load(where, copy, mapped=True)
    else:
        found = _load(where, path, mapped=False)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise fail(where, "must hold a dictionary of named tensors", type(found).__name__)
    for key, tensor in found.items():
        _check_tensor(where, key, tensor)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in found.values())
    if needed > size:  # tensors that share their numbers
        raise fail(where, f"has {size:,} bytes, but its tensors take {needed:,}")
    return dict(found)


def _load(where: str, path: Path, mapped: bool) -> Any:
    """Load with the file mapped into memory: a storage cannot reach beyond it, whatever size is claimed for it."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old forms of pickles
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # damaged or evil: the reader raises whatever the pickle leads it to
        raise _not_loaded(where, error) from error


def _not_loaded(where: str, error: Exception) -> XstiltsError:
    """Never the library's own words: they advise to switch the protection off."""
    if isinstance(error, pickle.UnpicklingError):
        return fail(where, "is a pickle of something else than tensors, which is never run, or it is damaged")
    return fail(where, f"is damaged, or no file of tensors ({type(error).__name__})")


# --------------------------------------------------------------------------------------------------------- programs


def _check_programs(where: str, content: bytes, count: int) -> None:
    """Look through pickles that follow each other, without running them.

    Raises:
        XstiltsError: one calls what rebuilds no tensor, uses a thing twice, or does not end within ``content``.
    """
    stream = io.BytesIO(content)
    for _ in range(count):
        last, names = "", set[Any]()
        try:
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name in CALLS and not CALLED.fullmatch(str(argument)):
                    called = None if argument is None else str(argument).replace(" ", ".")[:100]
                    raise fail(where, "is a pickle that names code, which is never run", called)
                if operation.name in ("BINPUT", "LONG_BINPUT"):
                    (names.add if last in NAMES else names.discard)(argument)
                elif operation.name in ("BINGET", "LONG_BINGET") and argument not in names:
                    raise fail(where, "is a pickle that holds one thing twice, which can grow without bounds")
                last = operation.name
        except ValueError as error:  # how the parser reports damage, and the end of what is read
            raise fail(where, "is damaged, or no file of tensors (its list of tensors cannot be parsed)") from error


# ------------------------------------------------------------------------------------------------------------- zips


def _copy(where: str, path: Path, size: int, copy: Path) -> None:
    """Copy the entries of a zip into another; their checksums are compared on the way."""
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as whole:
            entries = archive.infolist()
            _check_entries(where, entries, size)
            for entry in entries:
                with archive.open(entry) as source, whole.open(zipfile.ZipInfo(entry.filename), "w") as target:
                    _pour(where, source, target, entry)
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, NotImplementedError) as error:
        raise fail(where, f"is truncated or damaged ({error})") from error


def _pour(where: str, source: Any, target: Any, entry: zipfile.ZipInfo) -> None:
    if entry.filename.lower().endswith(".pkl"):
        content = source.read()
        _check_programs(where, content, 1)
        target.write(content)
        return
    while part := source.read(1 << 20):
        target.write(part)


def _check_entries(where: str, entries: list[zipfile.ZipInfo], size: int) -> None:
    """``torch.save`` does not compress, so entries that are larger than the file are a bomb."""
    names = [entry.filename for entry in entries]
    strange = [name for name in names if _leads_out(name)]
    if strange:
        raise fail(where, "is a zip with a name that leads out of it", strange[0][:100])
    if len(entries) > ENTRIES or len({name.lower() for name in names}) < len(names):
        raise fail(where, f"is a zip with more than {ENTRIES} entries, or with two of one name")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise fail(where, f"is a zip of {size:,} bytes that unpacks to {unpacked:,}")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise fail(where, "is a compressed zip; torch.save does not compress")
    if any(entry.file_size > PROGRAM for entry in entries if entry.filename.lower().endswith(".pkl")):
        raise fail(where, f"lists its tensors in more than {PROGRAM:,} bytes")


def _leads_out(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts


# ---------------------------------------------------------------------------------------------------------- tensors


def _check_tensor(where: str, key: str, tensor: object) -> None:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise fail(where, f"holds something that is no tensor under {key[:100]}", type(tensor).__name__)
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise fail(where, f"tensor {key[:100]} is not a plain one", str(tensor.layout))
    types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    if tensor.dtype not in types.values():
        raise fail(where, f"tensor {key[:100]} has another type", str(tensor.dtype).removeprefix("torch."), types)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise fail(where, f"tensor {key[:100]} repeats the numbers that it holds", str(tuple(tensor.shape)))
