"""Files: written whole or not at all, identified by content; what the file system refuses is one clear error."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from xstilts.errors import XstiltsError, fail


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another path to write to, which then takes the place of ``path``: a reader never sees half of a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Yield a directory to fill, which takes the name of the wanted one when it is whole.

    Raises:
        XstiltsError: something with that name is there.
    """
    if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
        raise fail(str(directory), "exists and is not empty; nothing is overwritten")
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        flush(temporary)
        temporary.replace(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    with told(path), replacing(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def told(where: Path) -> Iterator[None]:
    """Turn what the file system refuses into one clear error."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, where) from error


def disk_error(error: OSError, where: Path) -> XstiltsError:
    """The error to raise when the file system refuses: what it refused, and where."""
    place = str(error.filename or where)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return fail(place, "the disk is full; finished steps are untouched: make room and run the same command again")
    return fail(place, f"the file system refuses: {(error.strerror or str(error)).lower()}")


def flush(path: Path) -> None:
    """Have what was written to a file, or to a directory's list of files, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
