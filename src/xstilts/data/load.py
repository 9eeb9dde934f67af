"""Load the rows of a task, from the hub, a mirror or its own generator, checked; every problem is told in one error."""

from __future__ import annotations

import gc
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from xstilts.data.checks import Checker
from xstilts.data.columns import UNREADABLE, Reading, listed, named, origin
from xstilts.data.findings import At, Findings, Flaw
from xstilts.data.layout import Repository
from xstilts.data.progress import watched
from xstilts.data.sources import Sources, repositories
from xstilts.data.table import read_rows, unit_of
from xstilts.data.user import user_files
from xstilts.errors import Problem, XstiltsError
from xstilts.spec import POOL, Example, GeneratedData, HubData, Part, Row, Split, Task, UserData, UserPart

MOST_KEPT = 1_000_000  # Examples, about a kilobyte each; many steps of one process read the same rows
P = TypeVar("P", Part, UserPart)
T = TypeVar("T")
# What a task's own reading of a damaged file of the user's may raise, inside an archive, too.
DAMAGE = (AttributeError, EOFError, LookupError, OSError, TypeError, ValueError)
DAMAGED_ARCHIVE = (tarfile.TarError, zipfile.BadZipFile, zlib.error)


def load_examples(task: Task, split: Split, languages: tuple[str, ...], sources: Sources) -> tuple[Example, ...]:
    """Load one split of a task in some of its languages, and what all languages of the split share (``spec.POOL``).

    The same arguments are read and checked once per process.

    Returns:
        The Examples in the order of ``languages``, inside a language in the order of the data set.

    Raises:
        XstiltsError: every problem found: languages that the task does not declare, data that is not there, damaged
            files, missing columns, wrong row counts, rows that break what ``checks.py`` asks of an Example, and
            parallel test languages whose items differ. A declared subset may lack rows of ``train`` and ``dev`` only.
    """
    return _kept.get((Same(task), split, languages, sources), lambda: _load(task, split, languages, sources))


class Same(Generic[T]):
    """A value as a cache key, equal to itself only: it need not be hashable, nor be hashed."""

    def __init__(self, value: T) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class Kept:
    """Examples that were loaded before; those not asked for the longest go when all together are too many.

    Args:
        most: number of Examples; the newest are kept, however many.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._loads: dict[Hashable, tuple[Example, ...]] = {}  # the latest asked for is the last

    def get(self, key: Hashable, load: Callable[[], tuple[Example, ...]]) -> tuple[Example, ...]:
        """What ``load`` gave for this key, or gives now."""
        found = self._loads.pop(key, None)
        if found is None:
            found = load()
        self._loads[key] = found
        while len(self._loads) > 1 and sum(map(len, self._loads.values())) > self.most:
            del self._loads[next(iter(self._loads))]
        return found


_kept = Kept(MOST_KEPT)


def _load(task: Task, split: Split, languages: tuple[str, ...], sources: Sources) -> tuple[Example, ...]:
    declared = task.languages(split)
    unknown = [language for language in languages if language not in declared]
    if unknown:
        where, what = f"task {task.name}: {split}", "the task has no such language in this split"
        raise XstiltsError(*(Problem(where, what, language, declared) for language in unknown))
    findings = Findings()
    checker = Checker(task, findings, parallel=task.parallel and split == "test")
    if isinstance(task.data, GeneratedData):
        examples = _generate(task.data, split, languages, checker)
    elif isinstance(task.data, UserData):
        examples = _read_user(task.data, split, languages, sources, checker)
    else:
        examples = _read(task.data, split, languages, sources, checker)
    with _no_garbage():
        loaded = tuple(watched(examples, f"reading {task.name}, {split}", _expected(task, split, languages)))
    checker.finish()
    findings.raise_if_any()
    return loaded


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep Python from looking for garbage, again and again, among new objects that all stay: a quarter of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _expected(task: Task, split: Split, languages: tuple[str, ...]) -> int | None:
    """Number of Examples, for the bar, where every part declares its rows and a row is an Example."""
    if isinstance(task.data, GeneratedData) or task.retrieves:
        return None
    rows = [part.rows for part in task.data.parts if part.split == split and part.language in languages]
    return None if None in rows else sum(filter(None, rows))


def _generate(data: GeneratedData, split: Split, languages: tuple[str, ...], checker: Checker) -> Iterator[Example]:
    for language in languages:
        where = f"{checker.task.name}/{split}/{language}"
        examples = data.examples(split, language)
        if not examples:
            checker.findings.add(Problem(where, "no examples"))
        for number, example in enumerate(examples, 1):
            _check(checker, example, At(where, "example", number), {})
            yield example


def _check(checker: Checker, example: Example, at: At, fields: Mapping[str, str]) -> None:
    """Note what is wrong with an Example; of ``fields`` see ``UserData``."""
    for spot, flaw in checker.check(example, at):
        field = fields.get(spot.part)
        checker.findings.add_row(at, f"field {field!r} ({spot.part})" if field else spot.part, flaw)


def _read(
    data: HubData, split: Split, languages: tuple[str, ...], sources: Sources, checker: Checker
) -> Iterator[Example]:
    parts = parts_read(data.parts, split, languages)
    folders = repositories(sources, parts)
    for part in parts:
        try:
            yield from _read_part(data, part, folders[part.repo, part.revision], sources, checker)
        except XstiltsError as error:
            checker.findings.add(*error.problems)
            checker.lost = True


def parts_read(parts: Sequence[P], split: Split, languages: tuple[str, ...]) -> list[P]:
    """The parts of a task that are read for a split in some languages, in the order in which they are read."""
    wanted = [(split, language) for language in (*languages, POOL)]
    return [part for own in wanted for part in parts if (part.split, part.language) == own]


def _read_part(
    data: HubData, part: Part, repository: Repository, sources: Sources, checker: Checker
) -> Iterator[Example]:
    row = kept = lost = 0
    reading = Reading(data.read, part, data.columns if part.columns is None else part.columns)
    for file in repository.data_files(part.config, part.hub_split):
        repository.check_content(file)
        name, unit = str(file), unit_of(file)
        for number, values in read_rows(file, reading.columns):
            at = At(name, unit, number)
            examples = _read_row(reading, values, row, at, checker.findings)
            if examples is None:
                lost += 1
            else:
                kept += len(examples)
                for index, example in enumerate(examples):
                    for spot, flaw in checker.check(example, at):
                        columns = origin(reading, values, row, index, spot)
                        checker.findings.add_row(at, named(spot, columns), flaw)
                yield from examples
            row += 1
    checker.lost = checker.lost or lost > 0
    where = f"{repository.folder}: config {part.config!r}, split {part.hub_split!r}"
    expected = part.rows if part.rows is not None else repository.counts.get((part.config, part.hub_split))
    _check_count(checker, sources, part.split, where, row, expected)
    if not kept and not lost:
        checker.findings.add(Problem(where, "no examples"))


def _read_row(reading: Reading, row: Row, number: int, at: At, findings: Findings) -> tuple[Example, ...] | None:
    """The Examples of a row; None, and a note, if it cannot be read."""
    missing = [column for column, value in row.items() if value is None]
    for column in missing:
        findings.add_row(at, listed((column,)), Flaw("no value"))
    try:
        return None if missing else reading(row, number)
    except UNREADABLE as error:
        shape = f"the row is not what the task expects ({type(error).__name__}: {error})"
        types = ", ".join(f"{column} {type(value).__name__}" for column, value in row.items())
        findings.add_row(at, listed(reading.columns), Flaw(shape, types))
        return None


def _read_user(
    data: UserData, split: Split, languages: tuple[str, ...], sources: Sources, checker: Checker
) -> Iterator[Example]:
    parts = parts_read(data.parts, split, languages)
    found = user_files(sources.files, checker.task.name, [part.pattern for part in parts], data.obtain)
    for part, files in zip(parts, found, strict=True):
        kept, damaged = 0, list[Problem]()
        for file in files:
            for number, example in enumerate(_read_file(data, part, file, damaged), 1):
                _check(checker, example, At(str(file), "example", number), data.fields)
                kept += 1
                yield example
        if damaged:
            checker.findings.add(*damaged)
            checker.lost = True
            continue  # that examples are lacking is no news
        where = f"{sources.files}: {part.pattern}"
        _check_count(checker, sources, part.split, where, kept, part.rows)
        if not kept:
            checker.findings.add(Problem(where, "no examples"))


def _read_file(data: UserData, part: UserPart, file: Path, damaged: list[Problem]) -> Iterator[Example]:
    """The Examples of a file, as far as it can be read; why no further is noted."""
    try:
        yield from data.read(file, part)
    except XstiltsError as error:
        damaged += error.problems
    except (*DAMAGE, *DAMAGED_ARCHIVE) as error:
        damaged.append(Problem(str(file), f"cannot be read ({error})"))


def _check_count(
    checker: Checker, sources: Sources, split: Split, where: str, found: int, expected: int | None
) -> None:
    """A declared subset may hold fewer rows, never more; what is tested on is whole."""
    if expected is None or found == expected:
        return
    may_be_subset = split != "test" and found < expected
    if may_be_subset and checker.task.name in sources.subsets:
        return
    remedy = f'; if it is a subset on purpose, let the study declare subsets = ["{checker.task.name}"]'
    hint = remedy if may_be_subset else ""
    checker.findings.add(Problem(where, f"{found:,} rows where {expected:,} are declared{hint}"))
