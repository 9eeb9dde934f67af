"""The step ``Train``: one task, trained on English from a start, with one method, recipe and seed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xstilts.backbone import load_tokenizer, weights_digest
from xstilts.data import subset
from xstilts.engine import compose, inference
from xstilts.engine.compose import ENCODER_FILE, HEAD_FILE, Runtime, Trainee
from xstilts.engine.device import environment, peak_memory, reset_peak_memory
from xstilts.engine.loop import Evaluation, Job, Loop, Place, Stop
from xstilts.errors import fail
from xstilts.formats import Encoded, Text, encode
from xstilts.key import key, stable_int
from xstilts.metrics import load_metric
from xstilts.spec import Example, Gold, Recipe, Task, Train


@dataclass(frozen=True)
class TrainingData:
    """Labelled English examples: to train on, and to choose the best weights by. The recipe may take a subset."""

    train: Sequence[Example]
    dev: Sequence[Example]


@dataclass(frozen=True)
class _Part:
    """Examples and their features."""

    examples: Sequence[Example]
    encoded: Encoded


def run(step: Train, task: Task, data: TrainingData, directory: Path, runtime: Runtime) -> None:
    """Train, or go on from the checkpoint in ``directory``; on a CPU the weights are the same either way, bit for bit.

    Writes ``encoder.safetensors``, ``head.safetensors``, ``curve.jsonl`` and ``result.json``.

    Raises:
        XstiltsError: data that cannot be trained on, a void start, a damaged artefact.
    """
    began = time.perf_counter()
    torch.set_num_threads(step.recipe.threads)
    reset_peak_memory(torch.device(runtime.device))
    train = _encode(step, task, data.train, step.recipe.train_examples)
    dev = _encode(step, task, data.dev, step.recipe.dev_examples)
    trainee = compose.for_training(step, task, runtime)
    frozen = weights_digest(trainee.frozen)
    loop = _loop(step, task, trainee, (train, dev), Place(key(step), directory, runtime, began))
    compose.seed("training", step.seed)
    stop = loop.run()
    if weights_digest(trainee.frozen) != frozen:
        raise RuntimeError("training changed weights that are declared frozen; nothing was published")
    compose.save(trainee, step, directory)
    result = _result(train, loop, stop) | _sizes(trainee, directory) | {"environment": environment(loop.device)}
    (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def _encode(step: Train, task: Task, examples: Sequence[Example], limit: int | None) -> _Part:
    kept = examples if limit is None else subset(examples, limit)
    text = Text(load_tokenizer(step.backbone), step.recipe.max_length, step.recipe.doc_stride)
    encoded = encode(task, kept, text)
    without = [example.item_id for example in kept if example.gold is None]
    if without:
        raise fail(f"train {task.name}", f"{len(without)} examples have no gold", without[0])
    return _Part(kept, encoded)


def _loop(step: Train, task: Task, trainee: Trainee, parts: tuple[_Part, _Part], place: Place) -> Loop:
    train, dev = parts
    if step.recipe.gradient_checkpointing:
        trainee.model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    job = Job(
        label=f"{task.name}, seed {step.seed}",
        model=trainee.model,
        trained=trainee.trained,
        features=train.encoded.features,
        recipe=step.recipe,
        seed=stable_int("order", step.seed),
        evaluate=lambda: _evaluate(step.recipe, task, trainee, dev),
    )
    return Loop(job, place)


def _evaluate(recipe: Recipe, task: Task, trainee: Trainee, dev: _Part) -> Evaluation:
    """Score the model as it is on dev."""
    try:
        predictions = inference.predict(trainee.model, task, dev.examples, dev.encoded, recipe.precision)
    except inference.NotFiniteError:
        return Evaluation(math.nan, False)
    metric = load_metric(task.metric)
    score = inference.score(metric, list(inference.statistics(metric, dev.examples, predictions).values()))
    if math.isnan(score):
        raise fail(f"train {task.name}: dev", f"gives nothing that {metric.name} could score")
    varied = len(_distinct([example.gold for example in dev.examples])) > 1
    return Evaluation(score, varied and len(_distinct(predictions.values())) == 1)


def _distinct(values: Sequence[Gold] | Any) -> set[Any]:
    """The different answers, or in tagging the different tags."""
    found: set[Any] = set()
    for value in values:
        found |= set(value) if isinstance(value, tuple) else {value}
    return found


def _result(train: _Part, loop: Loop, stop: Stop) -> dict[str, Any]:
    """What happened, in numbers."""
    progress = loop.progress
    collapsed = stop.status == "ok" and progress.constant
    return {
        "kind": "train",
        "status": "collapsed" if collapsed else stop.status,
        "reason": "all predictions on dev are the same" if collapsed else stop.reason,
        "seconds": progress.seconds,
        "peak_memory_bytes": peak_memory(loop.device),
        "examples": len(train.examples),
        "truncated": train.encoded.truncated,
        "examples_seen": progress.examples,
        "tokens": progress.tokens,
        "steps": progress.step,
        "best_step": progress.best_step,
        "dev_score": progress.best_score,
        "padding_factor": progress.padded / progress.tokens,
        "examples_per_second": progress.examples_per_second,
        "fused_optimizer": loop.fused,
    }


def _sizes(trainee: Trainee, directory: Path) -> dict[str, int]:
    """Parameters and bytes; what is trained and what is stored include the head."""
    module, head = _count(trainee.module), _count(trainee.head)
    return {
        "trainable_parameters": _count(trainee.trained),
        "head_parameters": head,
        "total_parameters": _count(dict(trainee.model.named_parameters())),
        "stored_parameters": module + head,
        "stored_bytes": sum((directory / name).stat().st_size for name in (ENCODER_FILE, HEAD_FILE)),
    }


def _count(parameters: Mapping[str, torch.Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters.values())
