"""Tagging: one tag per word, predicted at the word's first piece.

A sentence that does not fit is cut between words into rows that do, so no word stays without a tag; XTREME's data
were prepared the same way (Hu et al. 2020, arXiv 2003.11080, released code). A single word longer than a row keeps its
first pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from xstilts.batches import IGNORED, Feature, Ids, Indices
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._heads import TokenHead
from xstilts.formats._text import Text, bad_example, fields
from xstilts.spec import Example, Gold, Task, Words

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


class _Cut(NamedTuple):
    """Neighbouring words that fill one row, and the number of the first of them."""

    first: int
    words: list[Ids]


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per row; ``anchors`` hold the position of each word's first piece and the word's number."""
    inputs = fields(task, examples, Words)
    labels = {label: number for number, label in enumerate(task.labels)}
    features, truncated = [], 0
    for index, (example, words) in enumerate(
        zip(examples, text.words([sentence.words for sentence in inputs]), strict=True)
    ):
        targets = _targets(task, example, len(words), labels)
        cuts = list(_cuts(words, text.max_length - 2))
        features += [_feature(index, cut, targets, text) for cut in cuts]
        truncated += len(cuts) > 1 or any(len(word) > text.max_length - 2 for word in words)
    return Encoded(tuple(features), truncated)


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """One linear map to the tags at every token."""
    return TokenHead(config, len(task.labels))


def reduce(feature: Feature, score: Scores) -> Indices:
    """Number of the tag with the highest score at each word's first piece ``(words of the row,)``."""
    best: Indices = score[feature.anchors[:, 0]].argmax(axis=1)
    return best


def join(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], numbers: Sequence[Indices]
) -> dict[int, Gold]:
    """The tag with the highest score at each word's first piece; rows of one sentence are joined again."""
    tags: dict[int, tuple[str, ...]] = {}
    for feature, best in zip(features, numbers, strict=True):
        tags[feature.example] = tags.get(feature.example, ()) + tuple(task.labels[number] for number in best)
    return dict(tags)


def _cuts(words: list[Ids], room: int) -> Iterator[_Cut]:
    here, used = _Cut(0, []), 0
    for number, word in enumerate(words):
        kept = word[:room]
        if used + len(kept) > room:
            yield here
            here, used = _Cut(number, []), 0
        here.words.append(kept)
        used += len(kept)
    yield here


def _feature(index: int, cut: _Cut, targets: list[int], text: Text) -> Feature:
    row = text.row(np.concatenate(cut.words))
    sizes = [len(word) for word in cut.words]
    positions = 1 + np.cumsum([0, *sizes[:-1]])  # 1: the row begins with <s>
    numbers = np.arange(cut.first, cut.first + len(sizes))
    slots = np.full(len(row.ids), IGNORED, np.int64)
    slots[positions] = targets[cut.first : cut.first + len(sizes)]
    return Feature(index, (row.ids,), slots, np.stack([positions, numbers, numbers + 1], axis=1).astype(np.int32))


def _targets(task: Task, example: Example, words: int, labels: dict[str, int]) -> list[int]:
    if words == 0:
        raise bad_example(task, example, "has no words")
    if example.gold is None:
        return [IGNORED] * words
    if not isinstance(example.gold, tuple) or len(example.gold) != words:
        raise bad_example(task, example, f"needs one tag for each of its {words} words", example.gold)
    outside = [tag for tag in example.gold if tag not in labels]
    if outside:
        raise bad_example(task, example, "gold is outside the label space", outside[0])
    return [labels[tag] for tag in example.gold]


FORMAT = Format("tagging", encode, head, join, reduce)
