"""A model over many features: batches by length, one pass, scores in the order of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from xstilts.batches import Feature, collate, sorted_batches
from xstilts.engine.device import Precision, autocast
from xstilts.errors import Problem, XstiltsError
from xstilts.formats import Encoded, Scores, load_format
from xstilts.metrics import Metric
from xstilts.spec import Example, Gold, Task

# Tokens per forward pass, padding included: what stays in the cache of a CPU, what fills a GPU.
CPU_TOKENS = 1024
GPU_TOKENS = 32768


class NotFiniteError(XstiltsError):
    """A model whose scores are not numbers."""


def predict(
    model: nn.Module, task: Task, examples: Sequence[Example], encoded: Encoded, precision: Precision
) -> dict[int, Gold]:
    """Return the prediction of every example, by its index; in retrieval of the queries only."""
    scores = score_features(model, encoded.features, precision)
    return load_format(task.format).decode(task, examples, encoded.features, scores)


def score_features(model: nn.Module, features: Sequence[Feature], precision: Precision) -> list[Scores]:
    """Return the head's scores ``(slots, classes)`` of each feature, padded to its batch.

    The model (see ``compose.Model``) is left in evaluation mode.

    Raises:
        NotFiniteError: a score is NaN or infinite, so that any prediction made of it would be an accident.
    """
    device = next(model.parameters()).device
    found: dict[int, Scores] = {}
    model.eval()
    with torch.inference_mode(), autocast(device, precision):
        for indices in sorted_batches(features, CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
            scores = model(collate([features[index] for index in indices]).to(device)).float()
            if not (scores.isfinite() | scores.isneginf()).all():  # a span's padding scores -inf
                raise NotFiniteError(Problem("model", "its scores are not finite numbers"))
            scores = scores.cpu().numpy()
            found.update(zip(indices.tolist(), scores, strict=True))
    return [found[index] for index in range(len(features))]


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
