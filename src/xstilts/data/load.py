"""Load the rows of a task, from the hub, a mirror or its own generator, checked; every problem is told in one error."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from xstilts.data.checks import Checker
from xstilts.data.findings import Findings, Flaw
from xstilts.data.layout import Repository
from xstilts.data.sources import Sources, repositories
from xstilts.data.table import read_rows
from xstilts.data.user import user_files
from xstilts.errors import Problem, XstiltsError
from xstilts.spec import Example, GeneratedData, HubData, Part, Split, Task, UserData, UserPart

CACHED_LOADS = 32  # many steps of one process read the same rows


def load_examples(task: Task, split: Split, languages: tuple[str, ...], sources: Sources) -> tuple[Example, ...]:
    """Load one split of a task in some of its languages.

    The same arguments are read and checked once per process.

    Returns:
        The Examples in the order of ``languages``, inside a language in the order of the data set.

    Raises:
        XstiltsError: every problem found: languages that the task does not declare, data that is not there, damaged
            files, missing columns, wrong row counts, and rows that break what ``checks.py`` asks of an Example.
    """
    return _load(_Identity(task), split, languages, sources)


class _Identity:
    """A task as a cache key, equal to itself only: its own fields need not be hashable."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.task is other.task

    def __hash__(self) -> int:
        return id(self.task)


@lru_cache(maxsize=CACHED_LOADS)
def _load(key: _Identity, split: Split, languages: tuple[str, ...], sources: Sources) -> tuple[Example, ...]:
    task = key.task
    declared = task.languages(split)
    unknown = [language for language in languages if language not in declared]
    if unknown:
        where, what = f"task {task.name}: {split}", "the task has no such language in this split"
        raise XstiltsError(*(Problem(where, what, language, declared) for language in unknown))
    findings = Findings()
    checker = Checker(task, findings)
    if isinstance(task.data, GeneratedData):
        examples = tuple(_generate(task.data, split, languages, checker))
    elif isinstance(task.data, UserData):
        examples = tuple(_read_user(task.data, split, languages, sources, checker))
    else:
        examples = tuple(_read(task.data, split, languages, sources, checker))
    checker.finish()
    findings.raise_if_any()
    return examples


def _generate(data: GeneratedData, split: Split, languages: tuple[str, ...], checker: Checker) -> Iterator[Example]:
    for language in languages:
        where = f"{checker.task.name}/{split}/{language}"
        examples = data.examples(split, language)
        if not examples:
            checker.findings.add(Problem(where, "no examples"))
        for row, example in enumerate(examples):
            checker.check(example, where, row)
            yield example


def _read(
    data: HubData, split: Split, languages: tuple[str, ...], sources: Sources, checker: Checker
) -> Iterator[Example]:
    parts = [part for language in languages for part in data.parts if (part.split, part.language) == (split, language)]
    folders = repositories(sources, parts)
    for part in parts:
        try:
            yield from _read_part(data, part, folders[part.repo, part.revision], sources, checker)
        except XstiltsError as error:
            checker.findings.add(*error.problems)


def _read_part(
    data: HubData, part: Part, repository: Repository, sources: Sources, checker: Checker
) -> Iterator[Example]:
    row = kept = 0
    for file in repository.data_files(part.config, part.hub_split):
        for row_of_file, values in enumerate(read_rows(file, data.columns)):
            missing = [column for column, value in values.items() if value is None]
            for column in missing:
                checker.findings.add_row(str(file), row_of_file, column, Flaw("no value"))
            try:
                examples = () if missing else data.read(values, part, row)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                shape = f"the row is not what the task expects ({type(error).__name__}: {error})"
                checker.findings.add_row(str(file), row_of_file, ", ".join(data.columns), Flaw(shape))
                examples = ()
            for example in examples:
                checker.check(example, str(file), row_of_file)
            yield from examples
            kept += len(examples)
            row += 1
    where = f"{repository.folder}: config {part.config!r}, split {part.hub_split!r}"
    expected = part.rows if part.rows is not None else repository.counts.get((part.config, part.hub_split))
    _check_count(checker, sources, where, row, expected)
    if not kept:
        checker.findings.add(Problem(where, "no examples"))


def _read_user(
    data: UserData, split: Split, languages: tuple[str, ...], sources: Sources, checker: Checker
) -> Iterator[Example]:
    parts = [part for language in languages for part in data.parts if (part.split, part.language) == (split, language)]
    for part in parts:
        try:
            files = user_files(sources.files, checker.task.name, part.pattern, data.obtain)
        except XstiltsError as error:
            checker.findings.add(*error.problems)
            continue
        kept = 0
        for file in files:
            for example in _read_file(data, part, file, checker):
                checker.check(example, str(file), kept)
                kept += 1
                yield example
        _check_count(checker, sources, f"{sources.files}: {part.pattern}", kept, part.rows)
        if not kept:
            checker.findings.add(Problem(f"{sources.files}: {part.pattern}", "no examples"))


def _read_file(data: UserData, part: UserPart, file: Path, checker: Checker) -> Iterator[Example]:
    try:
        yield from data.read(file, part)
    except (LookupError, OSError, ValueError) as error:
        checker.findings.add(Problem(str(file), f"cannot be read ({error})"))


def _check_count(checker: Checker, sources: Sources, where: str, found: int, expected: int | None) -> None:
    """A declared subset may hold fewer rows, never more."""
    subset = checker.task.name in sources.subsets
    if expected is None or found == expected or (subset and found < expected):
        return
    remedy = f'; if it is a subset on purpose, let the study declare subsets = ["{checker.task.name}"]'
    hint = remedy if found < expected else ""
    checker.findings.add(Problem(where, f"{found:,} rows where {expected:,} are declared{hint}"))
