"""Build a local mirror of the hub for machines without a network: ``<out>/<org>/<name>/<file as on the hub>``.

A file is believed only if its content has the hub's checksum. So a run that was killed is completed by the next one:
what is whole is kept, what is partial is completed or downloaded again. ``SHA256SUMS`` in each repository's folder
lists what was fetched; loading compares what it reads with it. Only what is listed there is ever replaced: a folder
that holds other files of the same names was made otherwise, and is left as it is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from xstilts import hub
from xstilts.data.layout import CHECKSUMS, README, Repository, read_checksums, read_repository
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.files import replacing
from xstilts.hub import SHA256_LENGTH, Kind, Listing, checksum_of
from xstilts.spec import GeneratedData, HubData, Task, UserData, unique

CLIENTS_OWN = ".cache"  # where the client keeps partial downloads
NEXT_STEPS = {  # end of what the client could not do → what helps
    "no connection to the hub": "run the same command where the hub can be reached, and copy --out from there",
    "HF_HUB_OFFLINE forbids to ask the hub": "unset it, and run the same command again",
}

Tell = Callable[[str], None]


def fetch_tasks(tasks: Sequence[Task], out: Path, tell: Tell) -> tuple[Problem, ...]:
    """Bring all splits of some tasks into a mirror, in all their languages.

    Args:
        tasks: those whose files only the user can supply are left out; see ``to_supply``.
        out: root of the mirror.
        tell: takes one line about each repository, and each task that needs none.

    Returns:
        What could not be had; everything else is there.
    """
    for task in tasks:
        if isinstance(task.data, GeneratedData):
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


def to_supply(tasks: Sequence[Task]) -> tuple[Problem, ...]:
    """Say of every task whose files cannot be fetched where they come from and what to put where."""
    what = "its files cannot be fetched; put them into a directory of yours, which --files then names."
    own = [(task.name, task.data.obtain) for task in tasks if isinstance(task.data, UserData)]
    return tuple(Problem(f"task {name}", f"{what} {obtain}") for name, obtain in own)


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
        found = run()
    except XstiltsError as error:
        found = list(error.problems)
    except OSError as error:
        found = [_disk_problem(error)]
    return [_with_next_step(problem) for problem in found]


def _with_next_step(problem: Problem) -> Problem:
    steps = [step for reason, step in NEXT_STEPS.items() if problem.what.endswith(reason)]
    return replace(problem, what="; ".join((problem.what, *steps)))


def _disk_problem(error: OSError) -> Problem:
    """What this machine's file system refuses."""
    return Problem(f"--out: {error.filename or 'the mirror'}", f"cannot be read or written ({error.strerror or error})")


def _fetch_splits(repo: str, revision: str, splits: Sequence[tuple[str, str]], out: Path, tell: Tell) -> list[Problem]:
    listing = hub.listing("dataset", repo, revision)
    folder = out / repo
    _check_header(folder, listing)
    repository = _on_hub(repo, listing, folder)
    problems: list[Problem] = []
    names = [README] if README in listing.checksums else []
    for config, split in splits:
        try:
            names += (path.relative_to(folder).as_posix() for path in repository.data_files(config, split))
        except XstiltsError as error:
            problems += error.problems
    return problems + _complete("dataset", repo, listing, unique(names), folder, tell)


def _check_header(folder: Path, listing: Listing) -> None:
    """Refuse a folder whose files another header lists, or none does; ``_check_ours`` tells what would be replaced."""
    there, on_hub = (folder / README).exists(), README in listing.checksums
    if there and not on_hub:
        raise _not_ours(folder, README, "the hub's copy has none, and this one would be taken for its header")
    others = [name for name in read_repository(folder).names if name not in listing.checksums] if not there else []
    if others and on_hub:
        raise _not_ours(folder, others[0], "the hub's header does not list it, so it would no longer be found")


def _on_hub(repo: str, listing: Listing, folder: Path) -> Repository:
    """What the hub's header says of the hub's files, as if they lay in ``folder``, which is not touched."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if README in listing.checksums:
            place = folder if _is_whole(folder / README, listing.checksums[README]) else place
            _fetch("dataset", repo, listing, README, place)
        try:
            found = read_repository(place)
        except XstiltsError as error:
            where = f"hub: {repo} at {listing.commit}: {README}"
            raise XstiltsError(*(replace(problem, where=where) for problem in error.problems)) from error
    return replace(found, folder=folder, names=tuple(sorted(listing.checksums)))


def _complete(kind: Kind, repo: str, listing: Listing, names: Sequence[str], folder: Path, tell: Tell) -> list[Problem]:
    """Fetch files, and those that the mirror holds already, so that all are of one commit; list their checksums."""
    before = read_checksums(folder)
    wanted = unique((*names, *(name for name in before if name in listing.checksums)))
    title = f"# {repo} at "
    _check_ours(folder, listing, wanted, before, title)
    folder.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    sums, whole = dict(before), 0
    for name in wanted:
        try:
            _fetch(kind, repo, listing, name, folder)
        except XstiltsError as error:
            problems += error.problems
            sums.pop(name, None)
            if _is_of_disk(error.__cause__):
                break  # it would refuse the other files, too
        except OSError as error:
            problems.append(_disk_problem(error))
            break
        else:
            sums[name] = _sha256(folder, listing, name)
            whole += 1
    if whole:
        _write_checksums(folder, title + listing.commit, sums)
    if not problems:
        shutil.rmtree(folder / CLIENTS_OWN, ignore_errors=True)
    tell(f"{repo} at {listing.commit[:8]}: {whole} of {len(wanted)} files are there")
    return problems


def _check_ours(folder: Path, listing: Listing, names: Sequence[str], ours: Mapping[str, str], title: str) -> None:
    """Refuse a folder in which a file would be replaced that was not fetched, or a header that was edited since."""
    sums = folder / CHECKSUMS
    if sums.exists() and not sums.read_text(encoding="utf-8").startswith(title):
        raise _not_ours(folder, CHECKSUMS, "it was not written by this command, and would be replaced")
    for name in names:
        path = folder / name
        if not path.exists() or _is_whole(path, listing.checksums[name]):
            continue
        if name not in ours:
            raise _not_ours(folder, name, "it is not the hub's, was not fetched by this command, and would be replaced")
        if name == README and not _is_whole(path, ours[name]):
            raise _not_ours(folder, name, "it was edited since it was fetched, and would be replaced")


def _not_ours(folder: Path, name: str, reason: str) -> XstiltsError:
    remedy = "nothing is changed; name an empty directory with --out"
    return fail(str(folder), f"is not a mirror that can be completed: it holds {name}; {reason}; {remedy}")


def _is_whole(path: Path, checksum: str) -> bool:
    return path.is_file() and checksum_of(path, len(checksum)) == checksum


def _is_of_disk(error: BaseException | None) -> bool:
    """Whether the file system of this machine raised it; those of the network have no number."""
    return isinstance(error, OSError) and error.errno is not None


def _fetch(kind: Kind, repo: str, listing: Listing, name: str, folder: Path) -> None:
    """Have one file whole: what is there with the right content is kept."""
    expected, path = listing.checksums[name], folder / name
    if _is_whole(path, expected):
        return
    path.unlink(missing_ok=True)
    hub.download(kind, repo, listing.commit, name, folder)
    if not _is_whole(path, expected):
        path.unlink()
        what = f"{name} is not what the hub says it is (wrong checksum) and is deleted; run again to download it"
        raise fail(f"hub: {repo} at {listing.commit}", what)


def _sha256(folder: Path, listing: Listing, name: str) -> str:
    """The hub knows sha256 of large files; of small ones it knows git's checksum."""
    known = listing.checksums[name]
    return known if len(known) == SHA256_LENGTH else checksum_of(folder / name, SHA256_LENGTH)


def _write_checksums(folder: Path, title: str, sums: Mapping[str, str]) -> None:
    lines = [title, *(f"{sums[name]}  {name}" for name in sorted(sums))]
    with replacing(folder / CHECKSUMS) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
