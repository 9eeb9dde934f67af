"""Build a local mirror of the hub for machines without a network: ``<out>/<org>/<name>/<file as on the hub>``.

A file is believed only if its content has the hub's checksum. So a run that was killed is completed by the next one:
what is whole is kept, what is partial is completed or downloaded again. ``SHA256SUMS`` in each repository's folder
lists what was fetched; loading compares what it reads with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from xstilts import hub
from xstilts.data.layout import CHECKSUMS, README, read_checksums, read_repository
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.hub import SHA256_LENGTH, Kind, Listing, checksum_of
from xstilts.spec import GeneratedData, HubData, Task, UserData, unique

CLIENTS_OWN = ".cache"  # where the client keeps partial downloads

Tell = Callable[[str], None]


def fetch_tasks(tasks: Sequence[Task], out: Path, tell: Tell) -> tuple[Problem, ...]:
    """Bring all splits of some tasks into a mirror, in all their languages.

    Args:
        tasks: tasks whose data cannot be fetched are told what to do instead.
        out: root of the mirror.
        tell: takes one line about each repository, and each task that has none.

    Returns:
        What could not be had; everything else is there.
    """
    for task in tasks:
        if isinstance(task.data, UserData):
            tell(f"{task.name}: cannot be fetched; --files DIR names the directory of its files. {task.data.obtain}")
        elif isinstance(task.data, GeneratedData):
            tell(f"{task.name}: nothing to fetch, its rows are generated")
    parts = [part for task in tasks if isinstance(task.data, HubData) for part in task.data.parts]
    problems: list[Problem] = []
    for repo in unique(part.repo for part in parts):
        here = [part for part in parts if part.repo == repo]
        revisions = unique(part.revision for part in here)
        if len(revisions) > 1:
            what = "the tasks read different revisions of it; fetch them into different directories"
            problems.append(Problem(f"hub: {repo}", what, ", ".join(revisions)))
            continue
        splits = tuple(dict.fromkeys((part.config, part.hub_split) for part in here))
        problems += _collect(partial(_fetch_splits, repo, revisions[0], splits, out, tell))
    return tuple(problems)


def fetch_files(repo: str, revision: str | None, names: Sequence[str], out: Path, tell: Tell) -> tuple[Problem, ...]:
    """Bring named files of a model into a mirror, such as those of a backbone.

    Returns:
        What could not be had; everything else is there.
    """

    def run() -> list[Problem]:
        listing = hub.listing("model", repo, revision)
        where = f"hub: {repo} at {listing.commit}"
        missing = [Problem(where, "no such file", name) for name in names if name not in listing.checksums]
        there = [name for name in names if name in listing.checksums]
        return missing + _complete("model", repo, listing, there, out / repo, tell)

    return tuple(_collect(run))


def _collect(run: Callable[[], list[Problem]]) -> list[Problem]:
    try:
        return run()
    except XstiltsError as error:
        return list(error.problems)


def _fetch_splits(repo: str, revision: str, splits: Sequence[tuple[str, str]], out: Path, tell: Tell) -> list[Problem]:
    listing = hub.listing("dataset", repo, revision)
    folder = out / repo
    if README in listing.checksums:
        _fetch("dataset", repo, listing, README, folder)
    folder.mkdir(parents=True, exist_ok=True)
    repository = replace(read_repository(folder), names=tuple(sorted(listing.checksums)))
    problems: list[Problem] = []
    names = [README] if README in listing.checksums else []
    for config, split in splits:
        try:
            names += (path.relative_to(folder).as_posix() for path in repository.data_files(config, split))
        except XstiltsError as error:
            problems += error.problems
    return problems + _complete("dataset", repo, listing, unique(names), folder, tell)


def _complete(kind: Kind, repo: str, listing: Listing, names: Sequence[str], folder: Path, tell: Tell) -> list[Problem]:
    """Fetch files, and those that the mirror holds already, so that all are of one commit; list their checksums."""
    before = read_checksums(folder)
    wanted = unique((*names, *(name for name in before if name in listing.checksums)))
    problems: list[Problem] = []
    whole = []
    for name in wanted:
        try:
            _fetch(kind, repo, listing, name, folder)
            whole.append(name)
        except XstiltsError as error:
            problems += error.problems
    if whole:
        others = {name: checksum for name, checksum in before.items() if name not in listing.checksums}
        _write_checksums(folder, f"{repo} at {listing.commit}", others | _sha256(folder, listing, whole))
    if not problems:
        shutil.rmtree(folder / CLIENTS_OWN, ignore_errors=True)
    tell(f"{repo} at {listing.commit[:8]}: {len(whole)} of {len(wanted)} files are there")
    return problems


def _fetch(kind: Kind, repo: str, listing: Listing, name: str, folder: Path) -> None:
    """Have one file whole: what is there with the right content is kept."""
    expected, path = listing.checksums[name], folder / name
    if path.is_file() and checksum_of(path, len(expected)) == expected:
        return
    path.unlink(missing_ok=True)
    hub.download(kind, repo, listing.commit, name, folder)
    if checksum_of(path, len(expected)) != expected:
        path.unlink()
        what = f"{name} is not what the hub says it is (wrong checksum) and is deleted; run again to download it"
        raise fail(f"hub: {repo} at {listing.commit}", what)


def _sha256(folder: Path, listing: Listing, names: Sequence[str]) -> dict[str, str]:
    """Name → sha256; the hub knows that of large files, of small ones it knows git's checksum."""
    large = {name: listing.checksums[name] for name in names if len(listing.checksums[name]) == SHA256_LENGTH}
    return {name: large.get(name) or checksum_of(folder / name, SHA256_LENGTH) for name in names}


def _write_checksums(folder: Path, title: str, sums: Mapping[str, str]) -> None:
    lines = [f"# {title}", *(f"{sums[name]}  {name}" for name in sorted(sums))]
    temporary = folder / f".{CHECKSUMS}"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(folder / CHECKSUMS)
