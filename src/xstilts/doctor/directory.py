"""Checks of the files, whether they can be read as a module or not."""

from __future__ import annotations

import os
import stat
from itertools import islice
from pathlib import Path

from xstilts.doctor.checks import Check

MOST = 10_000  # entries that are looked at
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
CODE = (".py", ".so", ".sh", ".exe", ".dll", ".js", ".ipynb")


def checks(directory: Path) -> tuple[Check, ...]:
    """Look at the files of a directory without opening one."""
    try:
        entries = sorted(islice(os.scandir(directory), MOST), key=lambda entry: entry.name)
        sizes = {entry.name: _size(entry) for entry in entries}
    except OSError as error:
        found = f"the directory cannot be listed ({(error.strerror or str(error)).lower()})"
        return (Check("files", "refused", found, "nothing of it is used"),)
    return _files(sizes), _pickle(sizes), _code(sizes), _paths(directory, entries)


def _size(entry: os.DirEntry[str]) -> int | None:
    """Bytes of a regular file; None = something else."""
    try:
        about = entry.stat()
    except OSError:  # a link that leads nowhere
        return None
    return about.st_size if stat.S_ISREG(about.st_mode) else None


def _files(sizes: dict[str, int | None]) -> Check:
    regular = [size for size in sizes.values() if size is not None]
    return Check("files", "ok", f"{len(regular)} files, {sum(regular) / 1e6:,.1f} MB")


def _pickle(sizes: dict[str, int | None]) -> Check:
    found = [name for name in sizes if name.endswith(PICKLES)]
    if not found:
        return Check("pickle", "ok", "none")
    means = "a pickle can name code: it is read by a reader that knows tensors only, or not at all; nothing in it runs"
    return Check("pickle", "note", _some(found), means)


def _code(sizes: dict[str, int | None]) -> Check:
    found = [name for name in sizes if name.endswith(CODE)]
    if not found:
        return Check("code", "ok", "none")
    return Check("code", "warning", _some(found), "never run; a module needs none, so ask what it is for")


def _paths(directory: Path, entries: list[os.DirEntry[str]]) -> Check:
    """Links may lead to the blobs of the hub's cache, as those of its snapshots do."""
    root = directory.resolve()
    places = (root, root.parent.parent / "blobs") if root.parent.name == "snapshots" else (root,)
    out = [entry.name for entry in entries if entry.is_symlink() and not _leads_to(Path(entry.path), places)]
    if out:
        return Check("paths", "unsafe", f"{_some(out)} leads out of the directory", "it may name a file of your own")
    return Check("paths", "ok", "no link leads out of the directory")


def _leads_to(path: Path, places: tuple[Path, ...]) -> bool:
    try:
        return any(path.resolve().is_relative_to(place) for place in places)
    except RuntimeError:  # links that lead to each other
        return False


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", … {len(names) - 3} more" if len(names) > 3 else "")
