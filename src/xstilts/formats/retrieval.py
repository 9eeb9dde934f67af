"""Sentence retrieval without training: the nearest candidate by cosine of mean-pooled hidden states.

The state of a sentence is the mean over its tokens, special tokens and padding left out, at one hidden layer, which is
the last one the encoder runs (Hu et al. 2020, arXiv 2003.11080, §3.1 and appendix). Every query is compared with all
candidates of its language; the search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from xstilts.batches import BOS, EOS, IGNORED, NO_ANCHORS, PAD, Batch, Feature, Indices
from xstilts.errors import fail
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._text import Text, bad_example, fields
from xstilts.spec import Example, Gold, Sentence, Task

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

BLOCK = 1024  # queries compared at a time


class MeanPool(nn.Module):
    """Mean of the states of all tokens that are not special; has no parameters."""

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(rows, 1, hidden)``; zero for a sentence of special tokens alone."""
        special = (batch.ids == PAD) | (batch.ids == BOS) | (batch.ids == EOS)
        kept = (~special).unsqueeze(-1).float()
        return (hidden.float() * kept).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp(min=1)


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per sentence."""
    inputs = fields(task, examples, Sentence)
    for example, sentence in zip(examples, inputs, strict=True):
        if not sentence.text.strip():
            raise bad_example(task, example, "has an empty text")
    rows = [text.row(ids) for ids in text.ids([sentence.text for sentence in inputs])]
    none = np.array([IGNORED])
    features = tuple(Feature(index, (row.ids,), none, NO_ANCHORS) for index, row in enumerate(rows))
    return Encoded(features, sum(row.cut for row in rows))


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """Mean pooling in the place of a head."""
    return MeanPool()


def decode(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], scores: Sequence[Scores]
) -> dict[int, Gold]:
    """``item_id`` of the nearest candidate, for queries."""
    inputs = fields(task, examples, Sentence)
    vectors = np.concatenate(scores)
    found: dict[int, Gold] = {}
    rows_of: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        rows_of.setdefault(example.language, []).append(index)
    for language, rows in rows_of.items():
        queries = [index for index in rows if inputs[index].role == "query"]
        candidates = [index for index in rows if inputs[index].role == "candidate"]
        if not queries or not candidates:
            raise fail(f"task {task.name}, language {language}", "needs queries and candidates")
        best = np.concatenate(list(nearest(vectors[queries], vectors[candidates])))
        found |= {query: examples[candidates[row]].item_id for query, row in zip(queries, best, strict=True)}
    return found


def nearest(queries: Scores, candidates: Scores) -> Iterator[Indices]:
    """Yield, block by block, the row of the candidate with the highest cosine; of equal ones the first.

    Args:
        queries: ``(queries, hidden)``.
        candidates: ``(candidates, hidden)``.
    """
    unit = _unit(candidates).T
    for start in range(0, len(queries), BLOCK):
        yield (_unit(queries[start : start + BLOCK]) @ unit).argmax(axis=1)


def _unit(vectors: Scores) -> Scores:
    """Scale rows to length 1; a zero row stays zero."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Scores = vectors / np.maximum(size, np.finfo(np.float32).tiny)
    return unit


FORMAT = Format("retrieval", encode, head, decode)
