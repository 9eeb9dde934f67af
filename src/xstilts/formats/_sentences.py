"""What the formats of sentence retrieval share: sentences become vectors, and vectors are searched.

Trained is a dual encoder: a training row is a pair (query, positive), its feature has two rows, and the positives of
the other pairs of the batch are the negatives (Henderson et al. 2017, arXiv 1705.00652, §4). So the batch decides how
hard the task is, and a ``micro_batch`` smaller than the batch makes it easier: each part has only its own negatives,
and a part of one pair teaches nothing. Lengths that drift apart never cut such a batch. Both towers are the same
encoder, at its last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from xstilts.batches import IGNORED, NO_ANCHORS, Feature
from xstilts.errors import fail
from xstilts.formats import Encoded, Scores, Text
from xstilts.formats._pool import Pool
from xstilts.formats._text import Row, bad_example, fields
from xstilts.search import Subset, Vectors
from xstilts.spec import Example, Sentence, Task, TextPair

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

VECTOR = np.array([IGNORED])  # no target: the sentence is searched with or among
OWN = np.array([0])  # class of a pair's own positive


class Sides(NamedTuple):
    """Indices of the examples that are searched with, and of those that are searched among."""

    queries: list[int]
    candidates: list[int]


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per sentence with one row, or one per pair with two.

    Raises:
        XstiltsError: inputs of another kind, both kinds together, or an empty text.
    """
    if isinstance(examples[0].fields, TextPair):
        return _encode_pairs(task, examples, text)
    inputs = fields(task, examples, Sentence)
    rows = _rows(task, examples, [sentence.text for sentence in inputs], text)
    features = tuple(Feature(index, (row.ids,), VECTOR, NO_ANCHORS) for index, row in enumerate(rows))
    return Encoded(features, sum(row.cut for row in rows))


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """Mean pooling in the place of a head."""
    return Pool()


def vector(feature: Feature, score: Scores) -> Scores:
    """What is kept of a sentence: its vector ``(hidden,)``."""
    vector: Scores = score[0]
    return vector


def sides(task: Task, examples: Sequence[Example], indices: Sequence[int], where: str) -> Sides:
    """Sort examples by role.

    Args:
        task: for the message.
        examples: all examples.
        indices: those of them that belong together.
        where: what holds them together, for the message.

    Raises:
        XstiltsError: one of the sides is empty.
    """
    inputs = fields(task, examples, Sentence)
    found = Sides(
        [index for index in indices if inputs[index].role == "query"],
        [index for index in indices if inputs[index].role == "candidate"],
    )
    if not found.queries or not found.candidates:
        raise fail(f"task {task.name}{where}", "needs queries and candidates")
    return found


def by_language(task: Task, examples: Sequence[Example]) -> dict[str, Sides]:
    """Queries and candidates of each language.

    Raises:
        XstiltsError: a language has one of the two only.
    """
    indices: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        indices.setdefault(example.language, []).append(index)
    return {language: sides(task, examples, own, f", language {language}") for language, own in indices.items()}


def pick(vectors: Vectors, indices: Sequence[int]) -> Subset:
    """The vectors with these indices; nothing is copied, or read from disk, before a block of them is searched."""
    return Subset(vectors, np.array(indices, np.int64))


def _encode_pairs(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    pairs = fields(task, examples, TextPair)
    queries = _rows(task, examples, [pair.first for pair in pairs], text)
    positives = _rows(task, examples, [pair.second or "" for pair in pairs], text)
    both = list(zip(queries, positives, strict=True))
    features = tuple(
        Feature(index, (query.ids, positive.ids), OWN, NO_ANCHORS) for index, (query, positive) in enumerate(both)
    )
    return Encoded(features, sum(query.cut or positive.cut for query, positive in both))


def _rows(task: Task, examples: Sequence[Example], texts: Sequence[str], text: Text) -> list[Row]:
    for example, each in zip(examples, texts, strict=True):
        if not each.strip():
            raise bad_example(task, example, "has an empty text")
    return [text.row(ids) for ids in text.ids(texts)]
