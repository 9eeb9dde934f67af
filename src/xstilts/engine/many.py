"""Many models over the same rows: one backbone, one set of features, and one pass where that is exact.

Models whose modules are of one kind are carried by one encoder, and which of them work is switched; see ``carrier``.

Bottlenecks can work side by side (the ``Parallel`` block of the adapters library; Rücklé et al. 2021, arXiv 2010.11918,
§4): the batch is repeated once for each model where the first adapters lie, and what is below them, with the modules
that all models share at the bottom, is computed once. The library reads the shape of the first of them for all, and
gives all its inverse block: so only modules go together that have adapters at the same places and read the same, and
none has an inverse block unless it lies in what is shared. Some rows are computed both ways first, and compared. Where
the two differ, and for all other kinds, there is one pass for each model.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from xstilts.batches import Feature, collate, lengths
from xstilts.engine import inference
from xstilts.engine.carrier import Carrier, Piece, Setting, Whole, carry
from xstilts.errors import fail
from xstilts.formats import Format, Scores, load_format
from xstilts.methods import bottleneck
from xstilts.search import Floats, Rows
from xstilts.spec import Example, Gold

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

MOST = 8  # models of one pass: a batch is cut to one feature at least, which is then repeated this often
TOLERANCE = 1e-4  # of scores, relative to the largest; rounding in fp32 is a hundred times smaller
# What the libraries raise where shapes or names do not work together.
FAILURES = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Examples and their features."""

    examples: Sequence[Example]
    features: Sequence[Feature]


@dataclass(frozen=True, slots=True)
class Served:
    """What one model said.

    Attributes:
        predictions: of every example by its index; in retrieval of the queries only.
        together: numbers of the models that were computed in the same pass, its own included.
        seconds: of that pass.
        remark: why a pass of its own was needed where one together was tried; None = it was not, or went well.
    """

    predictions: dict[int, Gold]
    together: tuple[int, ...]
    seconds: float
    remark: str | None = None


def predict(
    models: Sequence[Whole], base: XLMRobertaModel, setting: Setting, rows: Encoded, calibration: Encoded | None = None
) -> list[Served]:
    """Predict the same rows with every model.

    Args:
        models: any number, of any kinds.
        base: the backbone, on the device that computes; left as it is.
        setting: how they are asked.
        rows: what to predict.
        calibration: development rows, for formats that set something on them.

    Returns:
        One for each model, in their order.

    Raises:
        XstiltsError: a module or head that does not fit, no development rows where they are needed, scores that are
            not finite numbers.
    """
    found: dict[int, Served] = {}
    for own in _carried(models):
        carrier = carry({number: models[number] for number in own}, base, setting)
        for numbers in passes([models[number] for number in own], base.config.num_hidden_layers):
            together = tuple(own[number] for number in numbers)
            remark = _disagreement(carrier, together, rows.features) if len(together) > 1 else None
            for each in ((number,) for number in together) if remark else (together,):
                began = time.perf_counter()
                try:
                    said = _serve(carrier, each, setting, rows, calibration)
                except inference.NotFiniteError as error:
                    names = ", ".join(models[number].name for number in each)
                    raise fail(f"module {names}", "its scores are not finite numbers") from error
                seconds = time.perf_counter() - began
                found |= {n: Served(one, each, seconds, remark) for n, one in zip(each, said, strict=True)}
    return [found[number] for number in range(len(models))]


# --------------------------------------------------------------------------------------------------- who goes together


def passes(models: Sequence[Whole], layers: int) -> list[tuple[int, ...]]:
    """Numbers of the models that are computed in one pass, each once.

    Args:
        models: of one kind.
        layers: of the encoder.
    """
    alike: dict[Hashable, list[int]] = {}
    for number, model in enumerate(models):
        alike.setdefault(_alike(model, layers) or number, []).append(number)
    groups = alike.values()
    return [tuple(own[first : first + MOST]) for own in groups for first in range(0, len(own), MOST)]


def _alike(model: Whole, layers: int) -> Hashable | None:
    """What models must have in common to be computed together; None where a model can only be alone."""
    if model.kind != "bottleneck" or any(level.fused_by is not None for level in model.levels):
        return None
    *below, top = [level.modules[0] for level in model.levels]
    shape = _options(top)
    places = _places(shape, layers)
    if shape.inverse or any(not _places(_options(piece), layers) <= places for piece in below):
        return None
    return tuple(piece.identity for piece in below), places, shape.where, shape.reads


def _options(piece: Piece) -> bottleneck.Options:
    return bottleneck.Options.model_validate(piece.method.options)


def _places(options: bottleneck.Options, layers: int) -> frozenset[tuple[str, int]]:
    kept = set(range(layers)) - bottleneck.left_out(options, layers)
    return frozenset((place, layer) for place in bottleneck.PLACES[options.where] for layer in kept)


def _carried(models: Sequence[Whole]) -> list[list[int]]:
    """Numbers of the models that share an encoder: all of one kind; full fine-tuning is an encoder itself."""
    found: dict[Hashable, list[int]] = {}
    for number, model in enumerate(models):
        found.setdefault(number if model.kind == "full" else model.kind, []).append(number)
    return list(found.values())


# ----------------------------------------------------------------------------------------------------------- an encoder


# ------------------------------------------------------------------------------------------------------------- a pass


def _disagreement(carrier: Carrier, numbers: Sequence[int], features: Sequence[Feature]) -> str | None:
    """Compute some features together and one by one, in fp32; None if both say the same."""
    device = next(carrier.encoder.parameters()).device
    batch = collate([features[index] for index in _some(features, 2 * len(numbers))]).to(device)
    with torch.inference_mode():
        alone = [carrier.model((number,)).eval()(batch).float() for number in numbers]
        try:
            parts = carrier.model(numbers).eval()(batch).float().chunk(len(numbers), dim=1)
            worst = float(torch.stack([_difference(*both) for both in zip(parts, alone, strict=True)]).max())
        except FAILURES as error:
            return f"the library fails to compute them together ({type(error).__name__}), so one by one"
    if not worst <= TOLERANCE:  # NaN, too
        return f"computed together, scores differ by {worst:.1g} of the largest, so one by one"
    return None


def _some(features: Sequence[Feature], count: int) -> list[int]:
    """Features of different lengths, so that there is padding, and of the shorter half, so that they cost little."""
    order = np.argsort(lengths(features), kind="stable")
    order = order[: max(count, len(order) // 2)]
    return [int(order[place]) for place in np.unique(np.linspace(0, len(order) - 1, count).astype(int))]


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Largest difference relative to the largest score of ``other``; equal infinities do not differ."""
    apart = (one - other).abs().where(one != other, 0)
    return apart.max() / other.where(other.isfinite(), 0).abs().max().clamp(min=torch.finfo(other.dtype).tiny)


def _serve(
    carrier: Carrier, numbers: Sequence[int], setting: Setting, rows: Encoded, calibration: Encoded | None
) -> list[dict[int, Gold]]:
    """The predictions of models in one pass."""
    task, form, count = setting.task, load_format(setting.task.format), len(numbers)
    model = carrier.model(numbers)
    kept = form if count == 1 else replace(form, reduce=partial(_each, form, count))
    joins = [form.join] * count
    if form.calibrate is not None:
        if calibration is None:
            raise fail(f"task {task.name}", "needs development data to choose a threshold on")
        with inference.reduced(model, kept, calibration.features, setting.precision, setting.directory) as values:
            joins = [
                form.calibrate(task, calibration.examples, calibration.features, own)
                for own in _of_each(values, count, form)
            ]
    with inference.reduced(model, kept, rows.features, setting.precision, setting.directory) as values:
        shared = zip(joins, _of_each(values, count, form), strict=True)
        return [join(task, rows.examples, rows.features, own) for join, own in shared]


def _each(form: Format, count: int, feature: Feature, scores: Scores) -> Any:
    """``Format.reduce`` of several models: of scores ``(models · slots, classes)`` a tuple, or one long vector."""
    values = [form.reduce(feature, own) for own in np.split(scores, count)]
    return np.concatenate(values) if form.vectors else tuple(values)


def _of_each(values: Any, count: int, form: Format) -> Iterator[Any]:
    """The values of each model."""
    if count == 1:
        yield values
    else:
        for number in range(count):
            yield _Vectors(values, number, count) if form.vectors else [value[number] for value in values]


@dataclass(frozen=True, slots=True)
class _Vectors:
    """The vectors of one of several models, ``search.Vectors``, out of long ones."""

    long: Any
    number: int
    count: int

    def __len__(self) -> int:
        return len(self.long)

    def __getitem__(self, rows: slice | Rows, /) -> Floats:
        found: Floats = np.split(self.long[rows], self.count, axis=1)[self.number]
        return np.ascontiguousarray(found)
