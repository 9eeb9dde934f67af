"""An evaluation as people and machines read it."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xstilts.evaluation.records import Evaluated, Evaluation, Score
from xstilts.files import flush, new_directory, sha256, told, write_json

PREDICTIONS, SCORES, ACCOUNT = "predictions.parquet", "scores.csv", "evaluation.json"


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[Path]:
    """Yield a directory that takes the name of ``directory`` when all is written.

    Raises:
        XstiltsError: it exists and is not empty, or the disk refuses.
    """
    with told(directory), new_directory(directory) as folder:
        yield folder


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write scores, an account, and for each module a directory with its predictions."""
    from xstilts.engine.predict import write_rows

    for module in evaluation.modules:
        own = folder / module.name
        own.mkdir()
        write_rows(own / PREDICTIONS, evaluation.examples, module.predictions, module.stats)
        flush(own / PREDICTIONS)
    with (folder / SCORES).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(Score._fields)
        table.writerows(
            tuple("" if isinstance(v, float) and math.isnan(v) else v for v in s) for s in evaluation.scores()
        )
    flush(folder / SCORES)
    write_json(folder / ACCOUNT, account(evaluation, folder))


def account(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """What was evaluated, on what, and how, as values for JSON."""
    task, metric, backbone = evaluation.task, evaluation.metric, evaluation.backbone
    return {
        "xstilts": importlib.metadata.version("xstilts"),
        "task": {
            "name": task.name,
            "version": task.version,
            "metric": f"{metric.name} {metric.version}",
            "split": evaluation.request.split,
            "languages": list(evaluation.languages),
            "fingerprint": evaluation.fingerprint,
            "truncated": evaluation.truncated,
        },
        "backbone": {"name": backbone.name, "fingerprint": backbone.fingerprint},
        "max_length": evaluation.lengths.max_length,
        "doc_stride": evaluation.lengths.doc_stride,
        "precision": evaluation.precision,
        "layer": evaluation.layer,
        "pooling": evaluation.request.pooling,
        "labels": list(evaluation.request.labels),
        "modules": [_module(module, folder) for module in evaluation.modules],
        "scores": [{name: _number(value) for name, value in each._asdict().items()} for each in evaluation.scores()],
        "seconds": evaluation.seconds,
        "environment": dict(evaluation.environment),
    }


def _module(module: Evaluated, folder: Path) -> dict[str, Any]:
    return {
        "name": module.name,
        "source": module.candidate.source,
        "digest": module.candidate.digest,
        "below": list(module.candidate.below),
        "together": list(module.together),
        "seconds": module.seconds,
        "remarks": list(module.remarks),
        "predictions": {"file": f"{module.name}/{PREDICTIONS}", "sha256": sha256(folder / module.name / PREDICTIONS)},
    }


def _number(value: Any) -> Any:
    """JSON has no NaN, and an empty cell says that there is no number."""
    return None if isinstance(value, float) and math.isnan(value) else value


def lines(evaluation: Evaluation) -> list[str]:
    """A table of languages and modules, and below it what a reader of it should know."""
    from xstilts.report.words import aligned

    ratio = evaluation.metric.ratios[0].name
    scores = {(each.language, each.module): each for each in evaluation.scores() if each.metric == ratio}
    names = [module.name for module in evaluation.modules]
    rows = [("language", "examples", *names)]
    for language in dict.fromkeys(language for language, _ in scores):
        own = [scores[language, name] for name in names]
        rows.append((language, f"{own[0].examples:,}", *map(_cell, own)))
    title = f"{evaluation.task.name}, {evaluation.request.split}: {ratio} in percent with 95 % intervals"
    return [title, "", *aligned(rows), "", *_notes(evaluation)]


def _cell(score: Score) -> str:
    if math.isnan(score.score):
        return "not scored"
    return f"{score.score:.1f}" + ("" if math.isnan(score.low) else f" [{score.low:.1f}, {score.high:.1f}]")


def _notes(evaluation: Evaluation) -> Iterator[str]:
    yield "Intervals speak of these very modules; whether two of them differ is not read off them."
    if evaluation.task.caveat:
        yield f"{evaluation.task.name}: {evaluation.task.caveat}"
    for module in evaluation.modules:
        yield f"{module.name}: {module.candidate.source}"
        yield from (f"{module.name}: {remark}" for remark in module.remarks)
    for together in dict.fromkeys(module.together for module in evaluation.modules):
        seconds = next(module.seconds for module in evaluation.modules if module.together == together)
        yield f"{', '.join(together)}: {'one pass, ' if len(together) > 1 else ''}{seconds:.1f} s"
