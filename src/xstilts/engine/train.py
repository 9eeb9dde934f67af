"""The step ``Train``: a task, or a mixture of tasks, trained from a start, with one method, recipe and seed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from xstilts.backbone import load_tokenizer, weights_digest
from xstilts.data import subset
from xstilts.engine import compose, inference
from xstilts.engine.compose import ENCODER_FILE, HEAD_FILE, Model, Runtime, Trainee
from xstilts.engine.device import environment, peak_memory, reset_peak_memory
from xstilts.engine.features import encode_cached
from xstilts.engine.loop import Evaluation, Job, Loop, Member, Place, Stop
from xstilts.engine.masked import measure
from xstilts.engine.record import Progress
from xstilts.errors import fail
from xstilts.formats import Encoded, Text, load_format
from xstilts.key import key, stable_int
from xstilts.metrics import Metric, load_metric
from xstilts.significance.two_way import linearise, one_sample
from xstilts.spec import Example, Gold, Recipe, Sampling, Task, Train, is_candidate

DEV_LINES = 500  # of masked language modelling; more tell nothing more, and each masked token has many scores
UNMIXED = Sampling(kind="proportional")


@dataclass(frozen=True)
class TrainingData:
    """Labelled English examples: to train on, and to choose the best weights by. The recipe may take a subset.

    Attributes:
        dev: may be empty in a mixture, where the task declares none.
    """

    train: Sequence[Example]
    dev: Sequence[Example]


@dataclass(frozen=True)
class _Part:
    """Examples and their features."""

    examples: Sequence[Example]
    encoded: Encoded


class _Encoder(NamedTuple):
    """What turns examples into features, and the directory where they are kept."""

    text: Text
    cache: Path | None


@dataclass(frozen=True)
class _Ready:
    """One task of a training, ready to be trained and evaluated."""

    task: Task
    model: Model
    train: _Part
    dev: _Part | None


def run(step: Train, members: Sequence[tuple[Task, TrainingData]], directory: Path, runtime: Runtime) -> None:
    """Train, or go on from the checkpoint in ``directory``; on a CPU the weights are the same either way, bit for bit.

    Writes ``encoder.safetensors``, ``head.safetensors``, ``curve.jsonl`` and ``result.json``.

    Args:
        step: the training.
        members: its tasks with their data, in the order of ``step.tasks``.
        directory: the step's partial directory.
        runtime: where it runs.

    Raises:
        XstiltsError: data that cannot be trained on, a void start, a damaged artefact.
    """
    began = time.perf_counter()
    tasks = [task for task, _ in members]
    assert [task.name for task in tasks] == [task.name for task in step.tasks], "the data is not the step's"
    torch.set_num_threads(step.recipe.threads)
    reset_peak_memory(torch.device(runtime.device))
    text = Text(load_tokenizer(step.backbone), step.recipe.max_length, step.recipe.doc_stride)
    parts = [_encode(step.recipe, task, data, _Encoder(text, runtime.features)) for task, data in members]
    if all(dev is None for _, dev in parts):
        raise fail(f"train {_title(step)}", "no task has a dev split, by which the best weights could be chosen")
    trainee = compose.for_training(step, tasks, runtime)
    frozen = weights_digest(trainee.frozen)
    ready = [
        _Ready(task, trainee.model.member(task.name), train, dev)
        for task, (train, dev) in zip(tasks, parts, strict=True)
    ]
    loop = _loop(step, trainee, ready, text, Place(key(step), directory, runtime, began))
    compose.seed("training", step.seed)
    stop = loop.run()
    if weights_digest(trainee.frozen) != frozen:
        raise RuntimeError("training changed weights that are declared frozen; nothing was published")
    compose.save(trainee, step, directory)
    result = _result(ready, loop, stop) | _sizes(trainee, directory) | {"environment": environment(loop.device)}
    (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def _title(step: Train) -> str:
    return "+".join(task.name for task in step.tasks)


def _encode(recipe: Recipe, task: Task, data: TrainingData, encoder: _Encoder) -> tuple[_Part, _Part | None]:
    """Features of a task to train on, and to evaluate on where it has any."""
    train = _part(task, data.train, recipe.train_examples, encoder)
    if load_format(task.format).noise is None and not any(feature.weight for feature in train.encoded.features):
        raise fail(f"train {task.name}", "has nothing to train on: no row has a target")
    if not data.dev and not task.languages("dev"):
        return train, None
    return train, _dev(recipe, task, data.dev, encoder)


def _part(task: Task, examples: Sequence[Example], limit: int | None, encoder: _Encoder) -> _Part:
    kept = examples if limit is None else subset(examples, limit)
    encoded = encode_cached(task, kept, encoder.text, encoder.cache)
    if task.format != "mlm":  # a text is its own gold
        without = [example.item_id for example in kept if example.gold is None and not is_candidate(example)]
        if without:
            raise fail(f"train {task.name}", f"{len(without)} examples have no gold", without[0])
    return _Part(kept, encoded)


def _dev(recipe: Recipe, task: Task, examples: Sequence[Example], encoder: _Encoder) -> _Part:
    """What is evaluated on, the same for every seed: masks too."""
    noise = load_format(task.format).noise
    if noise is None:
        return _part(task, examples, recipe.dev_examples, encoder)
    part = _part(task, examples, min(recipe.dev_examples or DEV_LINES, DEV_LINES), encoder)
    features = noise(part.encoded.features, encoder.text, stable_int("dev"))
    return replace(part, encoded=replace(part.encoded, features=tuple(features)))


def _loop(step: Train, trainee: Trainee, members: Sequence[_Ready], text: Text, place: Place) -> Loop:
    if step.recipe.gradient_checkpointing:
        trainee.model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    job = Job(
        label=f"{_title(step)}, seed {step.seed}",
        model=trainee.model,
        trained=trainee.trained,
        members=tuple(_member(member, text) for member in members),
        sampling=step.mixture.sampling if step.mixture else UNMIXED,
        recipe=step.recipe,
        seed=stable_int("order", step.seed),
        evaluate=lambda: _evaluate(step.recipe, members),
        penalty=trainee.penalty,
    )
    return Loop(job, place)


def _member(member: _Ready, text: Text) -> Member:
    shape = load_format(member.task.format)
    noise = shape.noise
    noisy = None if noise is None else lambda features, seed: noise(features, text, seed)
    return Member(member.task.name, member.model, member.train.encoded.features, noisy, shape.coupled)


def _evaluate(recipe: Recipe, members: Sequence[_Ready]) -> Evaluation:
    """Score the model as it is on dev.

    The score of a mixture is the mean over its tasks. Masked language modelling counts only where there is nothing
    else: its share of right tokens is no accuracy of a task, and in a mixture it is there for the others.
    """
    found = {member.task.name: _evaluate_one(recipe, member) for member in members if member.dev is not None}
    scored = [member.task.name for member in members if member.task.format != "mlm" and member.dev is not None]
    chosen = [found[name] for name in scored or found]
    finite = all(math.isfinite(one.score) for one in found.values())
    score = sum(one.score for one in chosen) / len(chosen) if finite else math.nan
    by_task = {task: measured for one in found.values() for task, measured in one.by_task.items()}
    return Evaluation(score, all(one.constant for one in chosen), by_task)


def _evaluate_one(recipe: Recipe, member: _Ready) -> Evaluation:
    task, dev = member.task, member.dev
    assert dev is not None
    try:
        if task.format == "mlm":
            masked = measure(member.model, dev.encoded.features, recipe.precision)
            return Evaluation(masked.score, False, {task.name: masked._asdict()})
        predictions = inference.predict(member.model, task, dev.examples, dev.encoded, recipe.precision)
    except inference.NotFiniteError:
        return Evaluation(math.nan, False)
    metric = load_metric(task.metric)
    stats = inference.statistics(metric, dev.examples, predictions)
    score = inference.score(metric, list(stats.values()))
    if math.isnan(score):
        raise fail(f"train {task.name}: dev", f"gives nothing that {metric.name} could score")
    measured = {"score": score, **_interval(metric, dev.examples, stats)}
    varied = len(_distinct([example.gold for example in dev.examples])) > 1
    return Evaluation(score, varied and len(_distinct(predictions.values())) == 1, {task.name: measured})


def _interval(metric: Metric, examples: Sequence[Example], stats: Mapping[int, tuple[float, ...]]) -> dict[str, float]:
    """Ends of the 95 % interval of these very weights over examples like these, and their number.

    There are none where examples never vary or are all of one cluster.
    """
    rows, ratio = np.array(list(stats.values())), metric.ratios[0]
    above, below = rows @ np.array(ratio.numerator), rows @ np.array(ratio.denominator)
    _, clusters = np.unique([examples[index].cluster for index in stats], return_inverse=True)
    found = one_sample(linearise(above[None], below[None], clusters))
    ends = {} if math.isnan(found.low) else {"low": found.low, "high": found.high}
    return {**ends, "n": len(stats)}


def _distinct(values: Sequence[Gold] | Any) -> set[Any]:
    """The different answers, or in tagging the different tags."""
    found: set[Any] = set()
    for value in values:
        found |= set(value) if isinstance(value, tuple) else {value}
    return found


def _result(members: Sequence[_Ready], loop: Loop, stop: Stop) -> dict[str, Any]:
    """What happened, in numbers."""
    progress = loop.progress
    collapsed = stop.status == "ok" and progress.constant
    return {
        "kind": "train",
        "status": "collapsed" if collapsed else stop.status,
        "reason": "all predictions on dev are the same" if collapsed else stop.reason,
        "seconds": progress.seconds,
        "peak_memory_bytes": peak_memory(loop.device),
        "examples": sum(len(member.train.examples) for member in members),
        "truncated": sum(member.train.encoded.truncated for member in members),
        "examples_seen": progress.examples,
        "tokens": progress.tokens,
        "steps": progress.step,
        "best_step": progress.best_step,
        "dev_score": progress.best_score,
        "by_task": {member.task.name: _result_of(member, progress) for member in members},
        "padding_factor": progress.padded / progress.tokens,
        "examples_per_second": progress.examples_per_second,
        "fused_optimizer": loop.fused,
    }


def _result_of(member: _Ready, progress: Progress) -> dict[str, Any]:
    """What happened to one task."""
    return {
        "examples": len(member.train.examples),
        "truncated": member.train.encoded.truncated,
        "examples_seen": progress.by_task.get(member.task.name, 0),
        "dev": progress.best_by_task.get(member.task.name),
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
