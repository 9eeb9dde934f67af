"""The step ``Predict``: one split of a task in all its languages, one row per example."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from xstilts.backbone import load_tokenizer
from xstilts.batches import Feature
from xstilts.engine import compose, inference
from xstilts.engine.compose import Runtime
from xstilts.engine.device import environment
from xstilts.engine.features import encode_cached
from xstilts.engine.inference import Share
from xstilts.errors import fail
from xstilts.formats import Text, load_format
from xstilts.key import key
from xstilts.metrics import load_metric
from xstilts.results import SCHEMA
from xstilts.spec import SOURCE_LANGUAGE, Answers, Example, Gold, Predict, Sentence, Task, unique


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
    models = _models(step, task, runtime, device)
    form = load_format(task.format)
    join = form.join
    if form.calibrate is not None:
        if not calibration:
            raise fail(f"predict {task.name}", "needs development data to choose a threshold on")
        there = encode_cached(task, calibration, text, runtime.features)
        shares = models(calibration, there.features)
        with inference.reduced(shares, form, there.features, step.precision, directory) as values:
            join = form.calibrate(task, calibration, there.features, values)
    shares = models(examples, encoded.features)
    with inference.reduced(shares, form, encoded.features, step.precision, directory) as values:
        predictions = join(task, examples, encoded.features, values)
    metric = load_metric(task.metric)
    stats = inference.statistics(metric, examples, predictions)
    write_rows(directory / "predictions.parquet", examples, predictions, stats)
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


def _models(
    step: Predict, task: Task, runtime: Runtime, device: torch.device
) -> Callable[[Sequence[Example], Sequence[Feature]], list[Share]]:
    """How features are shared out: to one model, or to the one that has the language adapter of their example."""

    @functools.lru_cache(maxsize=1)  # one at a time is held, and the only one is built once
    def model(language: str | None) -> compose.Model:
        return compose.for_prediction(step, task, runtime, language).to(device)

    def shares(examples: Sequence[Example], features: Sequence[Feature]) -> list[Share]:
        if step.swap is None:
            return [Share(functools.partial(model, None), range(len(features)))]
        adapters = dict(step.swap.by)
        found: dict[str, tuple[str, list[int]]] = {}  # adapter → a language that has it, and the features
        for index, feature in enumerate(features):
            language = _written_in(task, examples[feature.example])
            adapter = key(adapters.get(language, step.swap.out))
            found.setdefault(adapter, (language, []))[1].append(index)
        return [Share(functools.partial(model, language), indices) for language, indices in found.values()]

    return shares


def _written_in(task: Task, example: Example) -> str:
    """The language of a text; one side of retrieval and mining is English, whatever language the pair is of."""
    english = {"retrieval": "query", "mining": "candidate"}.get(task.format)
    is_english = isinstance(example.fields, Sentence) and example.fields.role == english
    return SOURCE_LANGUAGE if is_english else example.language


def write_rows(
    path: Path,
    examples: Sequence[Example],
    predictions: Mapping[int, Gold],
    stats: Mapping[int, tuple[float, ...]],
) -> None:
    """Write one row per predicted example, in the order of the examples; ``results.SCHEMA``."""
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
