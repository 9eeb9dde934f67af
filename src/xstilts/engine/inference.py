"""A model over many features: batches by length, one pass, and of its scores only what the format needs is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xstilts.batches import Feature, collate, sorted_batches
from xstilts.engine.device import Precision, autocast
from xstilts.errors import Problem, XstiltsError
from xstilts.formats import Encoded, Join, Scores, load_format
from xstilts.metrics import Metric
from xstilts.spec import Example, Gold, Task

# Tokens per forward pass, padding included: what stays in the cache of a CPU, what fills a GPU.
CPU_TOKENS = 1024
GPU_TOKENS = 32768


class NotFiniteError(XstiltsError):
    """A model whose scores are not numbers."""


def predict(
    model: nn.Module,
    task: Task,
    examples: Sequence[Example],
    encoded: Encoded,
    precision: Precision,
    calibrated: Join | None = None,
) -> dict[int, Gold]:
    """Return the prediction of every example, by its index; in retrieval of the queries only.

    Args:
        model: see ``compose.Model``; left in evaluation mode.
        task: of the examples.
        examples: what to predict.
        encoded: their features.
        precision: of the forward pass.
        calibrated: what ``calibrate`` returned; None = nothing was set on development data.

    Raises:
        NotFiniteError: see ``score_features``.
    """
    form = load_format(task.format)
    values = _each(model, encoded.features, precision, form.reduce)
    return (calibrated or form.join)(task, examples, encoded.features, values)


def calibrate(
    model: nn.Module, task: Task, examples: Sequence[Example], encoded: Encoded, precision: Precision
) -> Join:
    """Set on development data what the task's format sets there (``Format.calibrate``)."""
    form = load_format(task.format)
    assert form.calibrate is not None, f"format {form.name} sets nothing on development data"
    values = _each(model, encoded.features, precision, form.reduce)
    return form.calibrate(task, examples, encoded.features, values)


def score_features(model: nn.Module, features: Sequence[Feature], precision: Precision) -> list[Scores]:
    """Return the head's scores ``(slots, classes)`` of each feature, padded to its batch.

    Raises:
        NotFiniteError: a score is NaN or infinite, so that any prediction made of it would be an accident.
    """
    return _each(model, features, precision, lambda feature, score: score)


def _each(
    model: nn.Module, features: Sequence[Feature], precision: Precision, reduce: Callable[[Feature, Scores], Any]
) -> list[Any]:
    """What is kept of the scores of each feature, batch by batch: those of a whole split may not fit into memory."""
    device = next(model.parameters()).device
    found: list[Any] = [None] * len(features)
    model.eval()
    with torch.inference_mode(), autocast(device, precision):
        for indices in sorted_batches(features, CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
            batch = [features[index] for index in indices]
            scores = model(collate(batch).to(device)).float()
            if not (scores.isfinite() | scores.isneginf()).all():  # a span's padding scores -inf
                raise NotFiniteError(Problem("model", "its scores are not finite numbers"))
            for index, feature, score in zip(indices.tolist(), batch, scores.cpu().numpy(), strict=True):
                found[index] = reduce(feature, score)
    return found


def statistics(
    metric: Metric, examples: Sequence[Example], predictions: Mapping[int, Gold]
) -> dict[int, tuple[float, ...]]:
    """The metric's statistics of each predicted example, by its index."""
    return {
        index: metric.stats(examples[index].gold, prediction, examples[index].language)
        for index, prediction in predictions.items()
    }


def score(metric: Metric, rows: Sequence[tuple[float, ...]]) -> float:
    """The score in percent of examples with these statistics; NaN where nothing was scored."""
    return metric.score([sum(column) for column in zip(*rows, strict=True)])
