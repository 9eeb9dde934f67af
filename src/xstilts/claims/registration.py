"""Was a claim there before the results? What the repository and the store say of it.

A commit's date can be set by whoever commits: this is evidence against forgetting and drifting, not against forgery.
"""

from __future__ import annotations

import json
import subprocess
import tomllib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from xstilts.claims.load import digest
from xstilts.results import Results
from xstilts.schema import verified
from xstilts.store import Store


class Status(StrEnum):
    """How a study's claims and its first result lie in time."""

    BEFORE = "committed before the first result"
    AFTER = "edited after first result"
    NO_RESULT = "no result yet"
    NO_GIT = "not under version control"


@dataclass(frozen=True, slots=True)
class Registration:
    """When a study's claims took their present form.

    Attributes:
        sha256: of the study's claims; see :class:`~xstilts.claims.load.Claims`.
        status: how that lies to the first result.
        commit: the first one that holds them as they are now; None where none does.
        committed: its date, ISO 8601.
        first_result: when the study's first prediction was finished, ISO 8601; None where there is none.
    """

    sha256: str
    status: Status
    commit: str | None = None
    committed: str | None = None
    first_result: str | None = None


def registration(path: Path, sha256: str, results: Results, store: Path) -> Registration:
    """Compare the history of a file of claims with the results of a study.

    Comments, layout and claims about other studies may change without the study's claims losing their date.

    Args:
        path: the file of claims.
        sha256: of the study's claims.
        results: of the study.
        store: root of the store.
    """
    first = first_result(results, store)
    commits = _commits(path)
    if commits is None:
        return Registration(sha256, Status.NO_GIT, first_result=_shown(first))
    held = None
    for commit, when in commits:  # the newest first: as long as they hold the same claims
        if _digest_at(path, commit, results.manifest.study.name) != sha256:
            break
        held = commit, when
    began = held[1] if held else None
    return Registration(sha256, _status(began, first), held[0] if held else None, _shown(began), _shown(first))


def _status(held: datetime | None, first: datetime | None) -> Status:
    if first is None:
        return Status.NO_RESULT
    return Status.BEFORE if held is not None and held < first else Status.AFTER


def first_result(results: Results, store: Path) -> datetime | None:
    """When the first of a study's predictions was finished; None where none was, or their steps do not say.

    Raises:
        XstiltsError: a step's account is damaged.
    """
    keys = {cell.predict for cells in results.cells.values() for cell in cells.values()}
    steps = (json.loads(verified(Store(store).directory(key) / "step.json")) for key in sorted(keys))
    return min((datetime.fromisoformat(step["finished"]) for step in steps if "finished" in step), default=None)


def _commits(path: Path) -> list[tuple[str, datetime]] | None:
    """Commits that touched a file, the newest first; None where it is not under version control."""
    listed = _git(path, "log", "--format=%H %cI", "--", path.name)
    found = [line.split() for line in (listed or "").splitlines()]
    return [(commit, datetime.fromisoformat(when)) for commit, when in found] or None


def _digest_at(path: Path, commit: str, study: str) -> str | None:
    content = _git(path, "show", f"{commit}:./{path.name}")
    try:
        return None if content is None else digest(tomllib.loads(content), study)
    except tomllib.TOMLDecodeError:
        return None


def _git(path: Path, *command: str) -> str | None:
    """What git says in a file's directory; None where it fails or is not installed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(path.resolve().parent), *command], capture_output=True, encoding="utf-8", check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _shown(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
