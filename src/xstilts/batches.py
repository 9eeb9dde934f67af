"""Rows of numbers, and how they are put into batches.

A ``Feature`` is one unit of training or prediction after tokenising: a sentence (pair), a piece of a tagged sentence, a
window of a long context, or all options of a multiple-choice question. Batches are made of features of similar length,
because what a batch costs is its longest row times its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The special tokens of every XLM-R vocabulary (fairseq's order); ``backbone.py`` refuses any other.
BOS, PAD, EOS, UNK = 0, 1, 2, 3

IGNORED = -100  # a target that is not there: no gold, or a token that is not scored
BUCKET = 50  # batches sorted by length together; measured padding is about 3 % then, and order stays random
MOST_PADDING = 1.1  # tokens computed on over tokens, beyond which a batch is computed in parts
LEAST = 8  # features of such a part

Ids = NDArray[np.int32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """One unit of training or prediction.

    Attributes:
        example: index of the example it comes from; one example may have several features.
        rows: token ids of its sequences: one, or one per option of a multiple-choice question.
        targets: class of every slot of the head's scores ``(slots,)``; ``IGNORED`` where there is none.
        anchors: tokens that stand for a piece of the input, ``(anchors, 3)``: position in the row, and the piece as a
            range: of words (tagging) or of characters of the context (span). Empty where the format needs none.
    """

    example: int
    rows: tuple[Ids, ...]
    targets: Indices
    anchors: Ids

    @property
    def length(self) -> int:
        """Tokens of its longest row."""
        return max(len(row) for row in self.rows)

    @property
    def weight(self) -> int:
        """Number of targets, the terms it adds to the loss."""
        return int((self.targets != IGNORED).sum())


NO_ANCHORS: Ids = np.empty((0, 3), np.int32)


class Batch(NamedTuple):
    """Features as tensors; ``rows`` = features, except for multiple choice, where it is features × options.

    Attributes:
        ids: token ids ``(rows, tokens)``.
        mask: 1 for a token, 0 for padding ``(rows, tokens)``.
        targets: ``(features, slots)``.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def collate(features: Sequence[Feature]) -> Batch:
    """Pad features to the longest of them."""
    rows = [row for feature in features for row in feature.rows]
    ids = np.full((len(rows), max(map(len, rows))), PAD, np.int64)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    targets = np.full((len(features), max(len(feature.targets) for feature in features)), IGNORED, np.int64)
    for place, feature in zip(targets, features, strict=True):
        place[: len(feature.targets)] = feature.targets
    tokens = torch.from_numpy(ids)
    return Batch(tokens, (tokens != PAD).long(), torch.from_numpy(targets))


def lengths(features: Sequence[Feature]) -> Indices:
    """Length of each feature in tokens ``(features,)``."""
    return np.array([feature.length for feature in features], np.int64)


def epoch_batches(lengths: Indices, batch: int, seed: int, epoch: int) -> list[Indices]:
    """Return the batches of one epoch, each an array of feature indices sorted by length.

    A function of its arguments alone, so that a training can be resumed anywhere. Features are shuffled, sorted by
    length within stretches of ``BUCKET`` batches, cut into batches, and the batches shuffled again.

    Args:
        lengths: tokens of each feature ``(features,)``.
        batch: features per batch; the last batch of an epoch may be smaller.
        seed: of the training.
        epoch: number of the epoch, from 0.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[Indices] = []
    for start in range(0, len(order), batch * BUCKET):
        bucket = order[start : start + batch * BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[first : first + batch] for first in range(0, len(bucket), batch)]
    return [batches[index] for index in random.permutation(len(batches))]


def micro_batches(features: Sequence[Feature], size: int) -> list[list[Feature]]:
    """Cut a batch, sorted by length, into parts that are computed one after another.

    A part has at most ``size`` features, and ends earlier where lengths drift apart: a small data set has batches that
    hold 10 and 100 tokens. It does not end before ``LEAST`` features, because a pass has a price of its own.
    """
    parts: list[list[Feature]] = [[]]
    real = rows = 0
    for feature in features:
        tokens = sum(len(row) for row in feature.rows)
        padded = feature.length * (rows + len(feature.rows))
        full = len(parts[-1]) >= size
        if full or (len(parts[-1]) >= LEAST and padded > MOST_PADDING * (real + tokens)):
            parts.append([])
            real = rows = 0
        parts[-1].append(feature)
        real += tokens
        rows += len(feature.rows)
    return parts


def sorted_batches(features: Sequence[Feature], tokens: int) -> list[Indices]:
    """Return batches for prediction: longest features first, at most ``tokens`` tokens each, padding included."""
    sizes = lengths(features)
    batches: list[list[int]] = [[]]
    width = 0
    for index in np.argsort(-sizes, kind="stable"):
        rows = len(features[index].rows)
        if batches[-1] and width * rows * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        if not batches[-1]:
            width = int(sizes[index])
        batches[-1].append(int(index))
    return [np.array(batch, np.int64) for batch in batches if batch]
