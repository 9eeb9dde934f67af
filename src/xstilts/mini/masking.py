"""Batches of pre-training pairs: token ids with masks put in, and what the losses ask of every token and pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from xstilts.mini.pairs import Side, draw_pair

MASKED = (0.05, 0.35)  # share of the tokens that are to be predicted, drawn for each pair
HIDDEN = 0.9  # share of those that show as <mask>; the others stay
MULTIPLE = 8  # tokens; few shapes, because oneDNN prepares its kernels anew for every shape
POOL = 12  # batches drawn at a time, for bucketing by length

Integers: TypeAlias = NDArray[np.int64]


class Batch(NamedTuple):
    """One step's pairs, of shape (pairs, tokens).

    Attributes:
        ids: with ``<mask>`` put in.
        attention: 1 for tokens, 0 for padding.
        targets: original ids where something is to be predicted, else -100.
        agrees: 1 / 0 for tokens of facts, -100 elsewhere.
        covers: 1 / 0 for each pair, -100 where nothing is compared; shape (pairs,).
    """

    ids: Integers
    attention: Integers
    targets: Integers
    agrees: Integers
    covers: Integers


class Row(NamedTuple):
    """One pair as token ids, with the agreement of each token and of the pair."""

    ids: list[int]
    agrees: list[int]
    covers: int


def encode_pairs(pairs: list[tuple[Side, Side]], tokenizer: Tokenizer) -> list[Row]:
    """Token ids and labels of every pair."""
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch([(a.written.text, b.written.text) for a, b in pairs])
    rows = []
    for pair, encoding in zip(pairs, encodings, strict=True):
        labels = []
        for side, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True):
            label = -100
            if side is not None:
                spans = pair[side].written.spans
                facts = (
                    agrees
                    for span, agrees in zip(spans, pair[side].agrees, strict=True)
                    if start < span.end and end > span.start
                )
                agrees = next(facts, None)
                label = -100 if agrees is None else int(agrees)
            labels.append(label)
        second = pair[1].agrees
        rows.append(Row(encoding.ids, labels, -100 if None in second else int(all(second))))
    return rows


def mask_batch(rows: list[Row], rng: np.random.Generator, mask: int) -> Batch:
    """Pad and mask; the masking rate of each pair is drawn from ``MASKED``."""
    width = -(-max(len(row.ids) for row in rows) // MULTIPLE) * MULTIPLE
    ids = np.full((len(rows), width), 1, dtype=np.int64)
    agrees = np.full((len(rows), width), -100, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        agrees[index, : len(row.ids)] = row.agrees
    chosen = rng.random(ids.shape) < rng.uniform(*MASKED, (len(rows), 1))
    chosen &= ids > 3
    targets = np.where(chosen, ids, -100)
    masked = np.where(chosen & (rng.random(ids.shape) < HIDDEN), mask, ids)
    agrees[chosen] = -100
    covers = np.array([row.covers for row in rows], dtype=np.int64)
    arrays = (masked, (ids != 1).astype(np.int64), targets, agrees, covers)
    return Batch(*arrays)


def batches(tokenizer: Tokenizer, size: int, seed: int) -> Iterator[Batch]:
    """Endless batches of ``size`` pairs; pairs of like length share a batch."""
    rng = np.random.default_rng(seed + 2)
    mask = tokenizer.token_to_id("<mask>")
    while True:
        rows = encode_pairs([draw_pair(rng) for _ in range(size * POOL)], tokenizer)
        rows.sort(key=lambda row: len(row.ids))
        for index in rng.permutation(POOL):
            yield mask_batch(rows[index * size : (index + 1) * size], rng, mask)
