"""Features kept on disk: the same rows are tokenised once, and every later step or process reads them in a moment.

A file of the cache is named by what its content depends on: the rows, the task's labels, the code of the formats, the
tokenizer and the lengths. It is a safetensors file of the arrays of ``Packed``, mapped into memory, so that processes
share it. Files are checked in full when they are read; one that is damaged or belongs elsewhere is written again, never
believed. The cache is only a convenience: it may be deleted at any time, and where it cannot be written it is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import xstilts.batches
import xstilts.formats
from xstilts.batches import Packed
from xstilts.data import fingerprint
from xstilts.formats import Encoded, Text, encode
from xstilts.spec import Example, Task

LAYOUT = 1  # of the file
HEADER = "xstilts"
SIZE = 8  # bytes of the number with which a safetensors file begins: the length of its header
TYPES: dict[str, np.dtype[Any]] = {"I32": np.dtype(np.int32), "I64": np.dtype(np.int64)}
NAMES = frozenset(field.name for field in fields(Packed))

Arrays = Mapping[str, NDArray[Any]]


def encode_cached(task: Task, examples: Sequence[Example], text: Text, directory: Path | None) -> Encoded:
    """Turn examples into features, or read them where this was done before.

    Of several processes that need the same features one makes them, and the others wait for it.

    Args:
        task: the task.
        examples: the rows to encode, all of them.
        text: tokenizer and lengths.
        directory: of the cache; None = there is none.

    Returns:
        What ``formats.encode`` returns; with a cache the features are ``Packed``.

    Raises:
        XstiltsError: see ``formats.encode``.
    """
    if directory is None or not examples:
        return encode(task, examples, text)
    key = _key(task, examples, text)
    path = directory / f"{key}.safetensors"
    found = _read(path, key)
    if found is not None:
        return found
    with _alone(directory / f"{key}.lock") as writable:
        found = _read(path, key)
        if found is not None:
            return found
        encoded = encode(task, examples, text)
        packed = Encoded(Packed.of(encoded.features), encoded.truncated)
        if writable:
            _write(path, key, packed)
        return packed


# -------------------------------------------------------------------------------------------------------- identity


def _key(task: Task, examples: Sequence[Example], text: Text) -> str:
    parts = {
        "layout": LAYOUT,
        "rows": fingerprint(examples),
        "task": [task.name, task.version, task.labels, task.no_answer],
        "format": task.format,
        "code": _code(),
        "tokenizer": _tokenizer(text.tokenizer),
        "lengths": [text.max_length, text.doc_stride],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@cache
def _code() -> str:
    """Hash of the code that encodes. No version is raised by hand: a change of any line makes features anew."""
    folder = Path(xstilts.formats.__file__).parent
    digest = hashlib.sha256(tokenizers.__version__.encode())
    for path in (Path(xstilts.batches.__file__), *sorted(folder.glob("*.py"))):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def _tokenizer(tokenizer: Tokenizer) -> str:
    """Hash of a tokenizer as it is, which says more than the file it came from."""
    state = f"{tokenizer.encode_special_tokens}\0{tokenizer.to_str()}"
    return hashlib.sha256(state.encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------------- files


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Wait until no other process holds the lock file; yields whether there is a lock, else there is no cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel frees it when its process dies
        yield True
    finally:
        os.close(handle)


def _write(path: Path, key: str, encoded: Encoded) -> None:
    """Write a file under another name, then rename it; a full disk leaves the cache as it was."""
    assert isinstance(encoded.features, Packed)
    arrays = {name: np.ascontiguousarray(getattr(encoded.features, name)) for name in sorted(NAMES)}
    about = {"key": key, "truncated": encoded.truncated, "sha256": _digest(arrays)}
    temporary = path.with_name(f".{path.name}")  # one name, under the lock: a later run sweeps up after a kill
    try:
        save_file(arrays, temporary, {HEADER: json.dumps(about, sort_keys=True)})
        temporary.replace(path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path, key: str) -> Encoded | None:
    """Read a file; None where there is none, or none that could be believed."""
    try:
        content = np.asarray(np.memmap(path, np.uint8, "r"))
        about, arrays = _parse(content)
        if about["key"] != key or set(arrays) != NAMES or about["sha256"] != _digest(arrays):
            return None
        return Encoded(Packed(**arrays), int(about["truncated"]))
    except (AttributeError, LookupError, OSError, TypeError, ValueError):
        return None


def _parse(content: NDArray[np.uint8]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The facts and the arrays of a safetensors file.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is none, or a damaged one.
    """
    start = SIZE + int.from_bytes(content[:SIZE].tobytes(), "little")
    header = json.loads(content[SIZE:start].tobytes())
    about = json.loads(header.pop("__metadata__")[HEADER])
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        flat: NDArray[Any] = content[start + first : start + last].view(TYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return about, arrays


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
