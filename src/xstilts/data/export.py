"""The training rows that a user translates, written as ``translation.py`` reads their translation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xstilts.data.load import load_examples
from xstilts.data.sources import Sources
from xstilts.data.translation import COLUMNS, translatable
from xstilts.errors import fail
from xstilts.files import replacing, told
from xstilts.spec import SOURCE_LANGUAGE, Answers, Choices, Example, Passage, Task, TextPair


def export_rows(task: Task, sources: Sources, out: Path) -> tuple[Path, int]:
    """Write the training rows of a task, one JSON object a line, with the fields that a translation needs.

    The file appears whole or not at all; one that is there is replaced.

    Args:
        task: of a format that can be translated, with training rows.
        sources: where its rows are.
        out: directory; the file is ``<out>/translated/<task>/en/train.jsonl``.

    Returns:
        The file, and the number of its rows.

    Raises:
        XstiltsError: a task without training rows, a format that is not translated, rows that cannot be had or are
            wrong, a disk that refuses.
    """
    if not translatable(task):
        what = "rows of this format are not translated; with --lang they stay as they are"
        raise fail(f"task {task.name}", what, task.format, COLUMNS)
    languages = task.languages("train")
    if not languages:
        raise fail(f"task {task.name}", "has no training rows to translate")
    examples = load_examples(task, "train", languages, sources)
    path = out / "translated" / task.name / SOURCE_LANGUAGE / "train.jsonl"
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows(examples))
    return path, len(examples)


def rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """What ``load_translation`` reads back as these examples; where any has a second text, every row has the field."""
    pairs = any(isinstance(each.fields, TextPair) and each.fields.second is not None for each in examples)
    return [{"item_id": each.item_id, **_fields(each, pairs)} for each in examples]


def _fields(example: Example, pairs: bool) -> dict[str, Any]:
    fields, gold = example.fields, example.gold
    if isinstance(fields, TextPair):
        return {"first": fields.first, "second": fields.second} if pairs else {"first": fields.first}
    if isinstance(fields, Choices):
        return {"prompt": fields.prompt, "options": list(fields.options)}
    assert isinstance(fields, Passage) and isinstance(gold, Answers)
    answers = {"texts": list(gold.texts), "starts": list(gold.starts)}
    return {"question": fields.question, "context": fields.context, "answers": answers}
