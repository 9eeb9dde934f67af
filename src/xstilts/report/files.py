"""Tidy files for other programs: ``comparisons.json``, ``comparisons.csv``, ``compositions.csv`` and ``scores.csv``.

One row per outcome, system or score, all of them, at full precision. What cannot be said is ``null``, or an empty field
in CSV.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from xstilts.compare import Outcome
from xstilts.report.overview import COLUMNS, Overview
from xstilts.report.scores import Score
from xstilts.schema import Manifest

SCHEMA = 1
OUTCOME_COLUMNS = tuple(field.name for field in dataclasses.fields(Outcome))


def comparisons_json(manifest: Manifest, outcomes: Iterable[Outcome]) -> str:
    """All outcomes with what they are about."""
    content = {
        "schema": SCHEMA,
        "xstilts": manifest.xstilts,
        "study": manifest.study.name,
        "backbone": manifest.backbone.model_dump(),
        "seeds": list(manifest.study.seeds),
        "tasks": {name: task.model_dump(mode="json") for name, task in manifest.tasks.items()},
        "outcomes": [_record(outcome) for outcome in outcomes],
    }
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def comparisons_csv(outcomes: Iterable[Outcome]) -> str:
    """The same outcomes, one per line."""
    rows = ([_field(value) for value in _record(outcome).values()] for outcome in outcomes)
    return _csv(OUTCOME_COLUMNS, rows)


def compositions_csv(overview: Overview) -> str:
    """Every system, with what it scores and what it takes to keep."""
    return _csv(COLUMNS, ([_field(_plain(value)) for value in row.values(overview)] for row in overview.rows))


def scores_csv(scores: Iterable[Score]) -> str:
    """Every score, one per line."""
    return _csv(Score._fields, ([_field(_plain(value)) for value in score] for score in scores))


def _record(outcome: Outcome) -> dict[str, Any]:
    return {name: _plain(value) for name, value in dataclasses.asdict(outcome).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return list(value) if isinstance(value, tuple) else value


def _field(value: Any) -> str:
    if value is None:
        return ""
    return "; ".join(value) if isinstance(value, list) else str(value)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
