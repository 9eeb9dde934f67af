"""The user's translations of training rows: the same items in another language.

``<files>/translated/<task>/<language>/train.jsonl`` holds one JSON object a line, in any order, for each row:

    TextPair   {"item_id": …, "first": …, "second": …}           "second" where the published row has one
    Choices    {"item_id": …, "prompt": …, "options": […, …]}
    Passage    {"item_id": …, "question": …, "context": …, "answers": {"texts": […], "starts": […]}}

The gold of a row is the published one where it does not depend on the text; answers are given with the text, and are
empty exactly where the published ones are. Words and sentences of retrieval tasks have no translation of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xstilts.data.checks import Checker, some
from xstilts.data.columns import listed, named
from xstilts.data.findings import At, Findings, Flaw
from xstilts.data.load import MOST_KEPT, Kept, Same
from xstilts.data.progress import watched
from xstilts.data.sources import Sources
from xstilts.data.table import read_rows, unit_of
from xstilts.errors import Problem, fail
from xstilts.spec import Answers, Choices, Example, FormatName, Passage, Split, Task, TextPair

ANSWERS = ("answers.texts", "answers.starts")
COLUMNS: dict[FormatName, tuple[str, ...]] = {
    "classification": ("first",),
    "choice": ("prompt", "options"),
    "span": ("question", "context", *ANSWERS),
}
_kept = Kept(MOST_KEPT)

Row = Mapping[str, Any]


def translatable(task: Task) -> bool:
    """Whether rows of the task's format can be given in translation."""
    return task.format in COLUMNS


def load_translation(
    task: Task, split: Split, language: str, sources: Sources, published: tuple[Example, ...]
) -> tuple[Example, ...]:
    """Load the user's translation of a task's training rows.

    The same arguments are read and checked once per process.

    Args:
        task: the task.
        split: ``train``; weights are selected on the English dev split, which stays as published.
        language: of the translation; names its folder.
        sources: where the user's files are.
        published: the rows that are translated.

    Returns:
        The translated Examples in the order of ``published``, with its item ids and clusters.

    Raises:
        XstiltsError: a format or split that is not translated, no such file, and everything found in it: lines that
            cannot be read, items that are missing, unknown or given twice, rows that break what ``checks.py`` asks.
    """
    where = f"task {task.name}"
    if task.format not in COLUMNS:
        raise fail(where, "rows of this format have no translation that can be read", task.format, COLUMNS)
    if split != "train":
        raise fail(where, "only training rows can be translated", split, ("train",))
    names = ", ".join(("item_id", *_columns(task, published)))
    layout = f"translated/{task.name}/{language}/{split}.jsonl"
    told = f"one JSON object a line, for each of the {len(published):,} published rows, with {names}"
    if sources.files is None:
        raise fail(where, f"name the directory of your translations with --files; it holds {layout}: {told}")
    path = sources.files / layout
    if not path.is_file():
        raise fail(str(path), f"is not there; it should hold {told}")
    known = (Same(task), language, path, Same(published))
    return _kept.get(known, lambda: _load(task, language, path, published))


def _load(task: Task, language: str, path: Path, published: tuple[Example, ...]) -> tuple[Example, ...]:
    findings = Findings()
    rows = _rows(task, path, published, findings)
    checker = Checker(task, findings)
    translated = []
    for example in published:
        if example.item_id in rows:
            at, row = rows[example.item_id]
            made = _translate(example, language, row, findings, at)
            if made:
                for spot, flaw in checker.check(made, at):
                    findings.add_row(at, named(spot, ANSWERS if spot.part == "gold" else (spot.part,)), flaw)
                translated.append(made)
    findings.raise_if_any()
    return tuple(translated)


def _columns(task: Task, published: tuple[Example, ...]) -> tuple[str, ...]:
    """The columns that a translation needs beside ``item_id``."""
    pairs = any(isinstance(each.fields, TextPair) and each.fields.second is not None for each in published)
    return (*COLUMNS[task.format], "second") if pairs else COLUMNS[task.format]


def _rows(task: Task, path: Path, published: tuple[Example, ...], findings: Findings) -> dict[str, tuple[At, Row]]:
    """Item → where its row is, and the row; what is wrong with the set of items is noted."""
    rows: dict[str, tuple[At, Row]] = {}
    read = read_rows(path, ("item_id", *_columns(task, published)))
    for number, row in watched(read, f"reading {path.name} of {task.name}", len(published)):
        item, at = row["item_id"], At(str(path), unit_of(path), number)
        if not isinstance(item, str):
            findings.add_row(at, listed(("item_id",)), Flaw("not a text", str(item)))
        elif item in rows:
            findings.add_row(at, listed(("item_id",)), Flaw("given twice", item))
        else:
            rows[item] = (at, row)
    expected = {example.item_id for example in published}
    for what, items in (
        ("are missing", expected - rows.keys()),
        ("are not in the published data", rows.keys() - expected),
    ):
        if items:
            findings.add(Problem(str(path), f"{len(items):,} items {what}", some(items)))
    return rows


def _translate(example: Example, language: str, row: Row, findings: Findings, at: At) -> Example | None:
    """Make the translated Example; None, and a note, if the row has not the shape of the published one."""
    for column, flaw in _shape_flaws(example, row):
        findings.add_row(at, listed((column,)), flaw)
        return None
    fields, gold = example.fields, example.gold
    if isinstance(fields, TextPair):
        fields = TextPair(row["first"], None if fields.second is None else row["second"])
    elif isinstance(fields, Choices):
        fields = Choices(row["prompt"], tuple(row["options"]))
    else:
        fields = Passage(row["question"], row["context"])
        gold = Answers(tuple(row["answers"]["texts"]), tuple(row["answers"]["starts"]))
    return Example(example.item_id, language, example.cluster, fields, gold)


def _shape_flaws(example: Example, row: Row) -> Iterator[tuple[str, Flaw]]:
    """What would stand in the way of making the Example; the texts themselves are checked as those of every task."""
    if isinstance(example.fields, TextPair):
        if example.fields.second is not None and row["second"] is None:
            yield "second", Flaw("no value")
    elif isinstance(example.fields, Choices):
        options, expected = row["options"], len(example.fields.options)
        if not isinstance(options, list):
            yield "options", Flaw("not a list", str(options))
        elif len(options) != expected:
            yield "options", Flaw(f"{len(options)} options where the published row has {expected}")
    elif isinstance(example.fields, Passage):
        assert isinstance(example.gold, Answers)
        for name, values in row["answers"].items():
            if not isinstance(values, list):
                yield f"answers.{name}", Flaw("not a list", str(values))
            elif bool(values) != bool(example.gold.texts):
                kind = "unanswerable" if not example.gold.texts else "answerable"
                yield f"answers.{name}", Flaw(f"the published question is {kind}", f"{len(values)} answers")
