"""Formats, one file per input shape: examples → features → scores of a head → predictions.

Every head turns hidden states into scores ``(features, slots, classes)`` with one target per slot, so that one loss
serves all formats: the mean cross-entropy over the targets of a batch.

| format | slots | classes | head |
|---|---|---|---|
| classification | 1 | labels | dense, tanh, linear on ``<s>`` |
| choice | 1 | options | the same with one output per option |
| tagging | tokens | labels | linear; the first piece of each word is scored |
| span | 2 (start, end) | tokens | linear; ``<s>`` means "no answer" |
| mlm | masked tokens | vocabulary | dense, gelu, layer norm, the word embeddings |
| retrieval, ranking, mining | 1 | hidden | none: pooled hidden states |
| … in training | 1 | features | none: similarity of a pair's query to every positive of the batch, its own first |

Heads are the plain ones of XLM-R's own fine-tuning code, the same under every method. The file name is the format's
name; there is no list to edit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from xstilts.batches import IGNORED, Feature
from xstilts.errors import fail
from xstilts.formats._pool import POOLINGS, Pool, pool
from xstilts.formats._text import Text
from xstilts.spec import Example, FormatName, Gold, Task

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

__all__ = ["POOLINGS", "Encoded", "Format", "Join", "Pool", "Scores", "Text", "encode", "load_format", "loss", "pool"]

Scores: TypeAlias = NDArray[np.float32]
Join: TypeAlias = "Callable[[Task, Sequence[Example], Sequence[Feature], Any], dict[int, Gold]]"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Examples as features.

    Attributes:
        features: in the order of their examples.
        truncated: examples that did not fit whole: input was cut, a sentence to tag was split into rows, or no window
            holds the whole answer.
    """

    features: Sequence[Feature]
    truncated: int


def whole(feature: Feature, score: Scores) -> Any:
    """Keep all scores of a feature."""
    return score


@dataclass(frozen=True, slots=True)
class Format:
    """One input shape.

    Attributes:
        name: file name in ``formats/``.
        encode: (task, examples, text) → features.
        head: (task, configuration of the encoder) → module that maps (hidden ``(rows, tokens, hidden)``, batch) to
            scores ``(features, slots, classes)``; weights are drawn from torch's global generator.
        join: (task, examples, features, value of each feature) → prediction by index of the example; in retrieval of
            the queries only.
        reduce: (feature, its scores ``(slots, classes)``, padding included) → the small value that ``join`` needs. It
            is called as each batch is computed, so that the scores of a whole split are never held.
        calibrate: as ``join``, on development data with gold → the ``join`` to use on other data; None = nothing is
            set on development data.
        vectors: whether ``reduce`` keeps vectors of one size; those of a split then lie in a file and not in memory,
            and ``join`` gets them as ``search.Vectors``, otherwise a list.
        over_tokens: whether the classes are the tokens of a row, of which padding scores -inf; no other score may.
        coupled: the features of a batch are scored against each other in training, so a batch is not cut to save
            padding.
        noise: (features, text, seed) → the features as a training step sees them; None = as they are.
    """

    name: FormatName
    encode: Callable[[Task, Sequence[Example], Text], Encoded]
    head: Callable[[Task, XLMRobertaConfig], nn.Module]
    join: Join
    reduce: Callable[[Feature, Scores], Any] = whole
    calibrate: Callable[[Task, Sequence[Example], Sequence[Feature], Any], Join] | None = None
    vectors: bool = False
    over_tokens: bool = False
    coupled: bool = False
    noise: Callable[[Sequence[Feature], Text, int], list[Feature]] | None = None


def load_format(name: FormatName) -> Format:
    """Import ``formats/<name>.py`` and return its ``FORMAT``."""
    found = importlib.import_module(f"{__name__}.{name}").FORMAT
    assert isinstance(found, Format) and found.name == name, f"formats/{name}.py must expose FORMAT named {name!r}"
    return found


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """Turn examples into features.

    Raises:
        XstiltsError: no examples, inputs of another format or empty, gold outside the task's label space.
    """
    if not examples:
        raise fail(f"task {task.name}", "has no examples here")
    return load_format(task.format).encode(task, examples, text)


def loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the cross-entropies of all slots that have a target.

    Args:
        scores: ``(features, slots, classes)``.
        targets: ``(features, slots)``, ``IGNORED`` where there is none.
    """
    return nn.functional.cross_entropy(
        scores.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
