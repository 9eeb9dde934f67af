"""Fingerprints of rows that were taken before: a plan needs no rows, only to know that they have not changed.

The fingerprint of a task's rows is remembered under everything that decides them: the content of the files that hold
them, how the task declares them, and the code that reads them. So that hashing the files costs little, the hash of a
large file is remembered under what the file system knows of it, its change time included, which no program can set.
Nothing is remembered of files that are so young that they may still change unnoticed. All of it may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa

from xstilts.data.layout import CHECKSUMS, README
from xstilts.data.load import load_examples, parts_read
from xstilts.data.rows import fingerprint
from xstilts.data.sources import Sources, repositories
from xstilts.data.training import load_training
from xstilts.data.user import user_files
from xstilts.errors import Problem, XstiltsError
from xstilts.files import sha256
from xstilts.memo import recall, remember
from xstilts.spec import Example, GeneratedData, HubData, Split, Task, UserData

LARGE = 2**20  # bytes; hashing a smaller file is as fast as remembering its hash
SETTLED = 2 * 10**9  # nanoseconds after which a file that changes again has another change time on any file system
STARTED = time.time_ns()  # this file is imported before any rows are read; rows are read once per process


class Identity(NamedTuple):
    """What a step must know of its rows: their fingerprint and their number."""

    fingerprint: str
    rows: int


class _Asked(NamedTuple):
    """The rows that are meant; see ``identify``."""

    task: Task
    splits: tuple[Split, ...]
    languages: tuple[str, ...]
    translation: str | None
    sources: Sources

    def languages_of(self, split: Split) -> tuple[str, ...]:
        """Of the rows that are read for a split; training rows are read in all languages."""
        return (self.languages if split != "train" else ()) or self.task.languages(split)


class _File(NamedTuple):
    """A file that may decide the rows of one part of a task, and its name there."""

    part: str
    name: str
    path: Path


class _State(NamedTuple):
    """Hash of all that decides the rows, and when the youngest of their files last changed (nanoseconds)."""

    hash: str
    changed: int


def identify(
    task: Task,
    splits: tuple[Split, ...],
    languages: tuple[str, ...],
    translation: str | None,
    sources: Sources,
    directory: Path | None,
) -> Identity:
    """Return the fingerprint of the rows of some splits, one after another, and their number.

    Rows are read and checked unless that was done before and nothing has changed since.

    Args:
        task: the task.
        splits: in order.
        languages: empty = all that the task declares for a split.
        translation: language of the user's translation of the training rows; None = as published.
        sources: where data comes from.
        directory: where it is remembered; None = nowhere. Rows of generated tasks are always made anew.

    Raises:
        XstiltsError: see ``load_examples`` and ``load_translation``; with the problems of all splits.
    """
    asked = _Asked(task, splits, languages, translation, sources)
    if directory is None or isinstance(task.data, GeneratedData):
        return _take(asked)
    before = _state(asked, directory)
    known = None if before is None else _recall(directory, before.hash)
    if known is not None:
        return known
    found = _take(asked)
    after = _state(asked, directory)
    if after is not None and after == before and after.changed < STARTED - SETTLED:
        remember(directory / "rows" / f"{after.hash}.json", found)
    return found


def _take(asked: _Asked) -> Identity:
    rows: list[Example] = []
    problems: dict[Problem, None] = {}
    for split in asked.splits:
        try:
            if split == "train":
                rows += load_training(asked.task, asked.translation, asked.sources)
            else:
                rows += load_examples(asked.task, split, asked.languages_of(split), asked.sources)
        except XstiltsError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise XstiltsError(*problems)
    return Identity(fingerprint(rows), len(rows))


# ------------------------------------------------------------------------------------------------ what decides them


def _state(asked: _Asked, directory: Path) -> _State | None:
    """None where the files cannot be had: the loader says what is wrong."""
    task = asked.task
    assert not isinstance(task.data, GeneratedData)
    try:
        files = [file for split in asked.splits for file in _files(asked, split)]
        hashes = [(file.part, file.name, _hash(file.path, directory)) for file in files]
        changed = max((file.path.stat().st_ctime_ns for file in files), default=0)
    except (OSError, XstiltsError):
        return None
    parts = {
        "task": [task.name, task.version, task.format, task.labels],
        "declared": [repr(part) for part in task.data.parts],
        "columns": task.data.columns if isinstance(task.data, HubData) else None,
        "asked": [asked.splits, asked.languages, asked.translation],
        "subset": task.name in asked.sources.subsets,
        "files": hashes,
        "code": _code(),
    }
    return _State(_of_text(json.dumps(parts, sort_keys=True)), changed)


def _files(asked: _Asked, split: Split) -> Iterator[_File]:
    """The files that may decide the rows of a split, in an order that decides them, too."""
    task, sources = asked.task, asked.sources
    if isinstance(task.data, HubData):
        yield from _hub_files(task.data, split, asked.languages_of(split), sources)
    elif isinstance(task.data, UserData):
        yield from _user_files(task.name, task.data, split, asked.languages_of(split), sources)
    if split == "train" and asked.translation is not None and sources.files is not None:
        folder = sources.files / "translated" / task.name / asked.translation
        yield from (_File("translation", path.name, path) for path in sorted(folder.glob(f"{split}.*")))


def _hub_files(data: HubData, split: Split, languages: tuple[str, ...], sources: Sources) -> Iterator[_File]:
    parts = parts_read(data.parts, split, languages)
    found = repositories(sources, parts)
    for (repo, _), repository in found.items():
        for path in (repository.folder / README, repository.folder / CHECKSUMS):
            if path.is_file():
                yield _File(repo, path.name, path)
    for part in parts:
        repository = found[part.repo, part.revision]
        for path in repository.data_files(part.config, part.hub_split):
            yield _File(f"{split} {part.language}", path.relative_to(repository.folder).as_posix(), path)


def _user_files(
    task: str, data: UserData, split: Split, languages: tuple[str, ...], sources: Sources
) -> Iterator[_File]:
    """All files of the folders that hold the task's: to read one of them, a task may look into others beside it."""
    folders: dict[Path, None] = {}
    parts = parts_read(data.parts, split, languages)
    user_files(sources.files, task, [part.pattern for part in parts], data.obtain)  # refuses where there are none
    assert sources.files is not None
    for part in parts:
        first, *rest = PurePosixPath(part.pattern).parts
        folders[sources.files if not rest or set("*?[") & set(first) else sources.files / first] = None
    for folder in folders:
        for path in _below(folder):
            yield _File("user", path.relative_to(folder.parent).as_posix(), path)


def _below(folder: Path) -> Iterator[Path]:
    """All files below a folder, those behind symbolic links included, each folder once."""
    seen: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(root) / name for name in sorted(names))


@cache
def _code() -> str:
    """Hash of the code that reads rows: no version is raised by hand while it is being written."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(pa.__version__.encode())
    for path in (package / "spec.py", *sorted(package.glob("data/*.py")), *sorted(package.glob("tasks/*.py"))):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------ remembering


def _hash(path: Path, directory: Path) -> str:
    """sha256 of a file's content."""
    seen = path.stat()
    if seen.st_size < LARGE:
        return sha256(path)
    known = [str(path.resolve()), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]
    memory = directory / "files" / f"{_of_text(json.dumps(known))}.json"
    found = recall(memory)
    if isinstance(found, str):
        return found
    before = time.time_ns()
    content = sha256(path)
    if before - max(seen.st_mtime_ns, seen.st_ctime_ns) > SETTLED:
        remember(memory, content)
    return content


def _recall(directory: Path, state: str) -> Identity | None:
    known = recall(directory / "rows" / f"{state}.json")
    return Identity(*known) if isinstance(known, list) and len(known) == len(Identity._fields) else None


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
