"""Rows of numbers, and how they are put into batches.

A ``Feature`` is one unit of training or prediction after tokenising: a sentence (pair), a piece of a tagged sentence, a
window of a long context, or all options of a multiple-choice question. Batches are made of features of similar length,
because what a batch costs is its longest row times its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xstilts.spec import Sampling

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
            range: of words (tagging), of characters of the context (span) or of tokens (mlm, where there is one anchor
            per slot). Empty where the format needs none.
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


@dataclass(frozen=True, slots=True, eq=False)
class Packed(Sequence[Feature]):
    """Features as flat arrays; one is put together when it is asked for.

    Arrays may be memory maps. ``…_ends`` begin with 0 and say where each piece ends, so that piece ``n`` lies at
    ``ends[n]:ends[n + 1]``.

    Attributes:
        examples: of each feature ``(features,)``.
        feature_ends: in rows ``(features + 1,)``; every feature has a row.
        row_ends: in tokens ``(rows + 1,)``.
        ids: of all rows ``(tokens,)``.
        target_ends: in targets ``(features + 1,)``.
        targets: ``(targets,)``.
        anchor_ends: in anchors ``(features + 1,)``.
        anchors: ``(anchors, 3)``.
    """

    examples: Ids
    feature_ends: Indices
    row_ends: Indices
    ids: Ids
    target_ends: Indices
    targets: Ids
    anchor_ends: Indices
    anchors: Ids

    @classmethod
    def of(cls, features: Sequence[Feature]) -> Packed:
        """Copy features into flat arrays; there must be at least one."""
        rows = [row for feature in features for row in feature.rows]
        return cls(
            examples=np.array([feature.example for feature in features], np.int32),
            feature_ends=_ends([len(feature.rows) for feature in features]),
            row_ends=_ends([len(row) for row in rows]),
            ids=np.concatenate(rows).astype(np.int32, copy=False),
            target_ends=_ends([len(feature.targets) for feature in features]),
            targets=np.concatenate([feature.targets for feature in features]).astype(np.int32),
            anchor_ends=_ends([len(feature.anchors) for feature in features]),
            anchors=np.concatenate([feature.anchors for feature in features]).astype(np.int32, copy=False),
        )

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> Feature: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Feature, ...]: ...

    def __getitem__(self, index: int | slice) -> Feature | tuple[Feature, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = range(len(self))[index]  # counts from the end where negative, refuses what is not there
        ends = self.row_ends[self.feature_ends[number] : self.feature_ends[number + 1] + 1].tolist()
        targets = self.targets[self.target_ends[number] : self.target_ends[number + 1]]
        return Feature(
            int(self.examples[number]),
            tuple(self.ids[start:end] for start, end in pairwise(ends)),
            targets.astype(np.int64),
            self.anchors[self.anchor_ends[number] : self.anchor_ends[number + 1]],
        )

    @property
    def lengths(self) -> Indices:
        """Length of each feature in tokens ``(features,)``."""
        longest: Indices = np.maximum.reduceat(np.diff(self.row_ends), self.feature_ends[:-1])
        return longest


def _ends(sizes: Sequence[int]) -> Indices:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


class Batch(NamedTuple):
    """Features as tensors; ``rows`` = features, except for multiple choice, where it is features × options.

    Attributes:
        ids: token ids ``(rows, tokens)``.
        mask: 1 for a token, 0 for padding ``(rows, tokens)``.
        targets: ``(features, slots)``.
        anchors: position in its row of every anchor ``(features, anchors)``, 0 as padding.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor
    anchors: Tensor

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
    anchors = np.zeros((len(features), max(len(feature.anchors) for feature in features)), np.int64)
    for number, feature in enumerate(features):
        targets[number, : len(feature.targets)] = feature.targets
        anchors[number, : len(feature.anchors)] = feature.anchors[:, 0]
    tokens = torch.from_numpy(ids)
    return Batch(tokens, (tokens != PAD).long(), torch.from_numpy(targets), torch.from_numpy(anchors))


def lengths(features: Sequence[Feature]) -> Indices:
    """Length of each feature in tokens ``(features,)``."""
    if isinstance(features, Packed):
        return features.lengths
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
    return _shuffled(lengths, batch, np.random.default_rng([seed, epoch]))


class Turn(NamedTuple):
    """One batch of a mixture: the number of its task, and the indices of its features, sorted by length."""

    task: int
    indices: Indices


def mixture_batches(lengths: Sequence[Indices], batch: int, sampling: Sampling, seed: int, epoch: int) -> list[Turn]:
    """Return the batches of one epoch of a mixture; each holds features of one task.

    A function of its arguments alone. An epoch has as many batches as are needed to go once through the data of every
    task. ``shares`` says how many of them each task gives; under ``proportional`` sampling that is every feature once.
    A task goes through its own shuffled features again and again, and each epoch goes on where the last one ended:
    nothing is seen a second time before all of the task was seen once. The order of the tasks is random.

    With one task these are the batches of ``epoch_batches``.

    Args:
        lengths: for each task the tokens of each feature ``(features,)``.
        batch: features per batch; the last batch of a pass through a task may be smaller.
        sampling: see ``spec.Sampling``.
        seed: of the training.
        epoch: number of the epoch, from 0.
    """
    counts = shares(lengths, batch, sampling)
    own = [_stretch(task, sizes, batch, (seed, epoch), counts[task]) for task, sizes in enumerate(lengths)]
    turns = np.repeat(np.arange(len(lengths)), counts)
    random = np.random.default_rng([seed, epoch, len(lengths)])  # tasks have the numbers below
    return [Turn(int(task), next(own[task])) for task in random.permutation(turns)]


def _stretch(task: int, lengths: Indices, batch: int, place: tuple[int, int], count: int) -> Iterator[Indices]:
    """The batches that a task gives to an epoch: ``count`` of them, from where the last epoch left off."""
    seed, epoch = place
    per_pass = -(-len(lengths) // batch)
    number, done = divmod(epoch * count, per_pass)
    while True:
        # the first task is shuffled as it would be alone
        random = np.random.default_rng([seed, number, task] if task else [seed, number])
        yield from _shuffled(lengths, batch, random)[done:]
        number, done = number + 1, 0


def shares(lengths: Sequence[Indices], batch: int, sampling: Sampling) -> tuple[int, ...]:
    """Return how many batches of an epoch each task of a mixture gives.

    Not drawn but allotted, so that they do not differ from seed to seed: the epoch's batches times the sampling's
    probability, rounded by largest remainders, and at least one, because a head that never trains is of no use.

    Args:
        lengths: for each task the tokens of each feature ``(features,)``.
        batch: features per batch.
        sampling: see ``spec.Sampling``.
    """
    own = [-(-len(sizes) // batch) for sizes in lengths]
    if sampling.kind == "proportional":
        return tuple(own)
    wanted = probabilities([len(sizes) for sizes in lengths], sampling) * sum(own)
    counts = np.floor(wanted).astype(int)
    counts[np.argsort(counts - wanted, kind="stable")[: sum(own) - counts.sum()]] += 1
    for task in np.flatnonzero(counts == 0):
        counts[counts.argmax()] -= 1
        counts[task] = 1
    return tuple(counts.tolist())


def probabilities(sizes: Sequence[int], sampling: Sampling) -> NDArray[np.float64]:
    """Return the probability of each task of a mixture ``(tasks,)``.

    These are the strategies of T5 (Raffel et al. 2020, arXiv 1910.10683, §3.5.2): ``capped`` is its examples-
    proportional mixing with an artificial limit, ``temperature`` its temperature-scaled mixing without one.

    Args:
        sizes: features of each task.
        sampling: see ``spec.Sampling``.
    """
    weights: NDArray[np.float64] = np.array(sizes, np.float64)
    if sampling.temperature is not None:
        weights = (weights / weights.max()) ** (1 / sampling.temperature)
    elif sampling.cap is not None:
        weights = np.minimum(weights, sampling.cap)
    elif sampling.kind == "uniform":
        weights = np.ones(len(sizes))
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def _shuffled(lengths: Indices, batch: int, random: np.random.Generator) -> list[Indices]:
    order = random.permutation(len(lengths))
    batches: list[Indices] = []
    for start in range(0, len(order), batch * BUCKET):
        bucket = order[start : start + batch * BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[first : first + batch] for first in range(0, len(bucket), batch)]
    return [batches[index] for index in random.permutation(len(batches))]


def micro_batches(features: Sequence[Feature], size: int, coupled: bool = False) -> list[list[Feature]]:
    """Cut a batch, sorted by length, into parts that are computed one after another.

    A part has at most ``size`` features, and ends earlier where lengths drift apart: a small data set has batches that
    hold 10 and 100 tokens. It does not end before ``LEAST`` features, because a pass has a price of its own. With
    ``coupled`` features, which are scored against each other, only ``size`` ends a part.
    """
    parts: list[list[Feature]] = [[]]
    real = rows = 0
    for feature in features:
        tokens = sum(len(row) for row in feature.rows)
        padded = feature.length * (rows + len(feature.rows))
        full = len(parts[-1]) >= size
        drifts = not coupled and len(parts[-1]) >= LEAST and padded > MOST_PADDING * (real + tokens)
        if full or drifts:
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
