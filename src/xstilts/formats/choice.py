"""Multiple choice: every option is read after the prompt, and the options compete in one softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from xstilts.batches import IGNORED, NO_ANCHORS, Feature
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._heads import SentenceHead
from xstilts.formats._text import Text, bad_example, fields
from xstilts.spec import Choices, Example, Gold, Task

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per example with one row per option: ``<s> prompt </s></s> option </s>``, or the option alone."""
    inputs = fields(task, examples, Choices)
    for example, choices in zip(examples, inputs, strict=True):
        _check(task, example, choices, len(inputs[0].options))
    prompts = text.ids([choices.prompt for choices in inputs])
    options = iter(text.ids([option for choices in inputs for option in choices.options]))
    features, truncated = [], 0
    for index, (example, choices, prompt) in enumerate(zip(examples, inputs, prompts, strict=True)):
        own = [next(options) for _ in choices.options]
        rows = [text.row(prompt, option) if choices.prompt.strip() else text.row(option) for option in own]
        truncated += any(row.cut for row in rows)
        target = IGNORED if example.gold is None else example.gold
        features.append(Feature(index, tuple(row.ids for row in rows), np.array([target], np.int64), NO_ANCHORS))
    return Encoded(tuple(features), truncated)


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """XLM-R's sentence head with one output: the score of an option."""
    return SentenceHead(config, 1)


def reduce(feature: Feature, score: Scores) -> int:
    """Index of the option with the highest score."""
    return int(score[0].argmax())


def join(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], numbers: Sequence[int]
) -> dict[int, Gold]:
    """Index of the option with the highest score."""
    return {feature.example: number for feature, number in zip(features, numbers, strict=True)}


def _check(task: Task, example: Example, choices: Choices, count: int) -> None:
    if len(choices.options) < 2 or not all(option.strip() for option in choices.options):
        raise bad_example(task, example, "needs at least two options, none of them empty", choices.options)
    if len(choices.options) != count:
        raise bad_example(task, example, f"must have {count} options like the others", len(choices.options))
    gold = example.gold
    if gold is not None and not (isinstance(gold, int) and 0 <= gold < count):
        raise bad_example(task, example, "gold is not the index of an option", gold)


FORMAT = Format("choice", encode, head, join, reduce)
