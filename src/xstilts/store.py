"""The store: key → finished directory, shared by any number of processes and studies.

A step is worked on in ``partial/<key>`` and published by one atomic rename, so a directory in ``steps/`` is complete.
Locks are ``flock``: the kernel frees them when their process dies, however it dies. One object owns every path.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xstilts.errors import XstiltsError, fail
from xstilts.files import flush, sha256, told, write_json

State = Literal["done", "partial", "to do"]
WEIGHTS = "encoder.safetensors"
SCRATCH = "checkpoint"  # directory in a partial step: kept until the moment of publishing, never published


@dataclass(frozen=True)
class Store:
    """Finished steps under one root directory.

    Raises:
        XstiltsError: every method, when the disk is full, read-only or holds something that is not ours.
    """

    root: Path

    # ------------------------------------------------------------------------------------------------- reading

    def directory(self, key: str) -> Path:
        """Path of a finished step."""
        return self.root / "steps" / key

    def partial(self, key: str) -> Path:
        """Path where a step is being worked on."""
        return self.root / "partial" / key

    def manifest(self, study: str, backbone: str) -> Path:
        """Path of the file that maps a study's cells to keys."""
        readable = "".join(c if c.isalnum() or c in "-_." else "_" for c in backbone)
        return self.root / "studies" / f"{study}@{readable}.json"

    def is_done(self, key: str) -> bool:
        """Whether the step is finished (its weights may have been evicted)."""
        return self.directory(key).is_dir()

    def has_weights(self, key: str) -> bool:
        """Whether a finished training still has its encoder weights."""
        return (self.directory(key) / WEIGHTS).is_file()

    def state(self, key: str) -> State:
        """Whether a step is done, begun, or neither."""
        if self.is_done(key):
            return "done"
        return "partial" if self.partial(key).is_dir() else "to do"

    def verified(self, key: str) -> Path:
        """Path of a finished step after comparing every file with the checksums taken when it was published.

        Raises:
            XstiltsError: a file is missing or differs, or the directory holds another step.
        """
        directory = self.directory(key)
        try:
            sums = json.loads((directory / "files.json").read_text())
            items = sorted(dict(sums).items())
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(directory, f"files.json cannot be read ({error})") from error
        for name, expected in items:
            path = directory / name
            if not path.is_file():
                raise _damaged(directory, f"{name} is missing")
            if sha256(path) != expected:
                raise _damaged(directory, f"{name} differs from what was published")
        found = json.loads((directory / "step.json").read_text(encoding="utf-8")).get("key")
        if found != key:
            raise _damaged(directory, f"it holds step {found}")
        return directory

    # ------------------------------------------------------------------------------------------------- writing

    def prepare(self) -> None:
        """Create the store's directories."""
        with told(self.root):
            for name in ("steps", "partial", "locks", "studies"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            for old in (self.root / "partial").glob("*.old"):
                self._sweep(old)

    @contextlib.contextmanager
    def lock(self, key: str, shared: bool = False) -> Iterator[bool]:
        """Try to lock a key without waiting; yields whether it was obtained.

        Args:
            key: the step.
            shared: a reader's lock, which only keeps the step from being evicted or replaced.
        """
        with told(self.root):
            handle = os.open(self.root / "locks" / f"{key}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)

    def begin(self, key: str) -> Path:
        """Return the partial directory of a locked key, keeping what an interrupted run left in it."""
        with told(self.root):
            self.partial(key).mkdir(parents=True, exist_ok=True)
        return self.partial(key)

    def publish(self, key: str) -> None:
        """Checksum and flush the files of a partial directory, then make it the finished one."""
        source, target = self.partial(key), self.directory(key)
        with told(source):
            for path in source.glob(".*"):
                path.unlink()  # what a kill left of a file that was being written
            files = sorted(path for path in source.iterdir() if path.is_file() and path.name != "files.json")
            sums = {path.name: sha256(path) for path in files}
            write_json(source / "files.json", sums)
            for path in files:
                flush(path)
            shutil.rmtree(source / SCRATCH, ignore_errors=True)
            if target.exists():  # trained again because its weights had been evicted
                old = self.partial(f"{key}.old")
                target.rename(old)  # killed here, ``prepare`` puts it back
                source.rename(target)
                shutil.rmtree(old)
            else:
                source.rename(target)
            flush(target.parent)

    def _sweep(self, old: Path) -> None:
        """Put back, or delete, what a process that was killed while publishing left aside."""
        key = old.name.removesuffix(".old")
        with self.lock(key) as free:
            if free and old.is_dir():
                if self.is_done(key):
                    shutil.rmtree(old)
                else:
                    old.rename(self.directory(key))

    def evict(self, key: str) -> None:
        """Delete the encoder weights of a finished, locked training and keep everything else."""
        directory = self.directory(key)
        with told(directory):
            (directory / WEIGHTS).unlink(missing_ok=True)  # first: weights without a checksum must never be read
            sums = json.loads((directory / "files.json").read_text())
            sums.pop(WEIGHTS, None)
            write_json(directory / "files.json", sums)


def _damaged(directory: Path, what: str) -> XstiltsError:
    return fail(str(directory), f"not a sound artefact of this store: {what}; delete this directory to make it again")
