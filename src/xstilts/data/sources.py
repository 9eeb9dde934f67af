"""Where data comes from: the hub, a local mirror of it, or the user. Above this file the first two look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xstilts.data import hub, mirror
from xstilts.data.layout import Repository, read_repository
from xstilts.errors import Problem, XstiltsError
from xstilts.spec import Part


@dataclass(frozen=True, slots=True)
class Sources:
    """Where data comes from.

    Attributes:
        mirror: root of a local mirror of the hub, ``<root>/<org>/<name>/``; None = the hub.
        files: directory of the files that only the user can supply; see ``spec.UserData``.
        subsets: tasks whose training and dev files are declared to hold only a part of the published rows.
    """

    mirror: Path | None = None
    files: Path | None = None
    subsets: frozenset[str] = frozenset()


def repositories(sources: Sources, parts: Sequence[Part]) -> Mapping[tuple[str, str], Repository]:
    """Make the files of some parts available.

    Returns:
        (repository, revision) → its folder. A mirror has one state, whatever the revision.

    Raises:
        XstiltsError: everything that cannot be had, in one error.
    """
    wanted: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for part in parts:
        wanted.setdefault((part.repo, part.revision), []).append((part.config, part.hub_split))
    found: dict[tuple[str, str], Repository] = {}
    problems: list[Problem] = []
    for (repo, revision), splits in wanted.items():
        try:
            folder = mirror.folder(sources.mirror, repo) if sources.mirror else hub.folder(repo, revision, splits)
            found[repo, revision] = read_repository(folder)
        except XstiltsError as error:
            problems += error.problems
    if problems:
        raise XstiltsError(*problems)
    return found
