"""A model over many features: batches by length, one pass, and of its scores only what the format needs is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xstilts.batches import PAD, Batch, Feature, collate, sorted_batches
from xstilts.engine.device import Precision, autocast
from xstilts.engine.vectors import VectorFile
from xstilts.errors import Problem, XstiltsError
from xstilts.formats import Encoded, Format, load_format
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
    """Return the prediction of every example, by its index; in retrieval of the queries only.

    Args:
        model: see ``compose.Model``; left in evaluation mode.
        task: of the examples.
        examples: what to predict.
        encoded: their features.
        precision: of the forward pass.

    Raises:
        NotFiniteError: see ``reduced``.
    """
    form = load_format(task.format)
    with reduced(model, form, encoded.features, precision) as values:
        return form.join(task, examples, encoded.features, values)


class Share(NamedTuple):
    """A model, and the indices of the features that it computes."""

    model: Callable[[], nn.Module]
    indices: Sequence[int]


@contextlib.contextmanager
def reduced(
    model: nn.Module | Sequence[Share],
    form: Format,
    features: Sequence[Feature],
    precision: Precision,
    directory: Path | None = None,
) -> Iterator[Any]:
    """What ``form.reduce`` keeps of each feature, as ``form.join`` and ``form.calibrate`` take it.

    Args:
        model: see ``compose.Model``; left in evaluation mode. Or several, each for some of the features; they are
            built one after the other.
        form: the format of the features.
        features: what to compute.
        precision: of the forward pass.
        directory: where the file of vectors lies while it is needed; None = the system's temporary directory.

    Raises:
        NotFiniteError: a score is NaN or infinite, so that any prediction made of it would be an accident.
        OSError: vectors do not fit on the disk.
    """
    with contextlib.ExitStack() as files:
        found: Any = [None] * len(features)
        if form.vectors:
            found = files.enter_context(VectorFile(len(features), directory))
        if isinstance(model, nn.Module):
            _fill(found, model, form, features, precision)
        else:
            for share in model:
                own = [features[index] for index in share.indices]
                _fill(_At(found, share.indices), share.model(), form, own, precision)
        yield found


class _At:
    """A place for values of some features among those of all."""

    def __init__(self, found: Any, indices: Sequence[int]) -> None:
        self.found, self.indices = found, indices

    def __setitem__(self, index: int, value: Any) -> None:
        self.found[self.indices[index]] = value


def _fill(found: Any, model: nn.Module, form: Format, features: Sequence[Feature], precision: Precision) -> None:
    """Keep of each feature what is needed, batch by batch: the scores of a whole split may not fit into memory."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode(), autocast(device, precision):
        for indices in sorted_batches(features, CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
            own = [features[index] for index in indices]
            batch = collate(own).to(device)
            scores = model(batch).float()
            _check(form, scores, batch)
            for index, feature, score in zip(indices.tolist(), own, scores.cpu().numpy(), strict=True):
                found[index] = form.reduce(feature, score)


def _check(form: Format, scores: Tensor, batch: Batch) -> None:
    known = scores.isfinite()
    if form.over_tokens:
        known |= scores.isneginf() & (batch.ids == PAD)[:, None, :]
    if not known.all():
        raise NotFiniteError(Problem("model", "its scores are not finite numbers"))


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
