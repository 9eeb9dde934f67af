"""The step ``Predict``: one split of a task in all its languages, one row per example."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from xstilts.backbone import load_tokenizer
from xstilts.engine import compose, inference
from xstilts.engine.compose import Runtime
from xstilts.engine.device import environment
from xstilts.engine.features import encode_cached
from xstilts.errors import fail
from xstilts.formats import Text, load_format
from xstilts.metrics import load_metric
from xstilts.results import SCHEMA
from xstilts.spec import Answers, Example, Gold, Predict, Task, unique


def run(
    step: Predict,
    task: Task,
    examples: Sequence[Example],
    directory: Path,
    runtime: Runtime,
    calibration: Sequence[Example] = (),
) -> None:
    """Predict, score and write ``predictions.parquet`` and ``result.json``.

    Rows are in the order of the examples; in retrieval there is one per query. ``gold`` and ``pred`` are JSON text.

    Args:
        step: the step.
        task: its task.
        examples: what to predict.
        directory: of the step.
        runtime: where it runs.
        calibration: examples of the split ``step.calibration``, in the languages of the step.

    Raises:
        XstiltsError: examples that cannot be read, a damaged or foreign artefact, nothing to choose a threshold on.
    """
    began = time.perf_counter()
    torch.set_num_threads(step.threads)
    text = Text(load_tokenizer(step.backbone), step.max_length, step.doc_stride)
    encoded = encode_cached(task, examples, text, runtime.features)
    device = torch.device(runtime.device)
    model = compose.for_prediction(step, task, runtime).to(device)
    form = load_format(task.format)
    join = form.join
    if form.calibrate is not None:
        if not calibration:
            raise fail(f"predict {task.name}", "needs development data to choose a threshold on")
        there = encode_cached(task, calibration, text, runtime.features)
        with inference.reduced(model, form, there.features, step.precision, directory) as values:
            join = form.calibrate(task, calibration, there.features, values)
    with inference.reduced(model, form, encoded.features, step.precision, directory) as values:
        predictions = join(task, examples, encoded.features, values)
    metric = load_metric(task.metric)
    stats = inference.statistics(metric, examples, predictions)
    _write(directory / "predictions.parquet", examples, predictions, stats)
    scores = {}
    for language in unique(examples[index].language for index in predictions):
        score = inference.score(metric, [row for index, row in stats.items() if examples[index].language == language])
        scores[language] = None if math.isnan(score) else score  # JSON has no NaN
    result = {
        "kind": "predict",
        "examples": len(predictions),
        "truncated": encoded.truncated,
        "scores": scores,
        "seconds": time.perf_counter() - began,
        "environment": environment(device),
    }
    (directory / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write(
    path: Path,
    examples: Sequence[Example],
    predictions: Mapping[int, Gold],
    stats: Mapping[int, tuple[float, ...]],
) -> None:
    indices = sorted(predictions)
    rows = [examples[index] for index in indices]
    columns = {
        "item_id": [example.item_id for example in rows],
        "cluster": [example.cluster for example in rows],
        "language": [example.language for example in rows],
        "gold": [_json(example.gold) for example in rows],
        "pred": [_json(predictions[index]) for index in indices],
        "stats": [list(stats[index]) for index in indices],
    }
    pq.write_table(pa.table(columns, schema=SCHEMA), path, compression="zstd")


def _json(value: Gold) -> str:
    plain = dataclasses.asdict(value) if isinstance(value, Answers) else value
    return json.dumps(plain, ensure_ascii=False)
