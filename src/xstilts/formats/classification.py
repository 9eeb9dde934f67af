"""Classification of one text or of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from xstilts.batches import IGNORED, NO_ANCHORS, Feature
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._heads import SentenceHead
from xstilts.formats._text import Text, bad_example, fields
from xstilts.spec import Example, Gold, Task, TextPair

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per example: ``<s> first </s>`` or ``<s> first </s></s> second </s>``."""
    inputs = fields(task, examples, TextPair)
    for example, pair in zip(examples, inputs, strict=True):
        if not pair.first.strip() or (pair.second is not None and not pair.second.strip()):
            raise bad_example(task, example, "has an empty text")
    firsts, seconds = text.ids([pair.first for pair in inputs]), text.ids([pair.second or "" for pair in inputs])
    rows = [
        text.row(first, None if pair.second is None else second)
        for pair, first, second in zip(inputs, firsts, seconds, strict=True)
    ]
    labels = {label: number for number, label in enumerate(task.labels)}
    features = tuple(
        Feature(index, (row.ids,), np.array([_target(task, example, labels)]), NO_ANCHORS)
        for index, (example, row) in enumerate(zip(examples, rows, strict=True))
    )
    return Encoded(features, sum(row.cut for row in rows))


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """XLM-R's sentence head with one output per label."""
    return SentenceHead(config, len(task.labels))


def reduce(feature: Feature, score: Scores) -> int:
    """Number of the label with the highest score."""
    return int(score[0].argmax())


def join(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], numbers: Sequence[int]
) -> dict[int, Gold]:
    """The label with the highest score."""
    return {feature.example: task.labels[number] for feature, number in zip(features, numbers, strict=True)}


def _target(task: Task, example: Example, labels: dict[str, int]) -> int:
    if example.gold is None:
        return IGNORED
    if not isinstance(example.gold, str) or example.gold not in labels:
        raise bad_example(task, example, "gold is outside the label space", example.gold)
    return labels[example.gold]


FORMAT = Format("classification", encode, head, join, reduce)
