"""Mining: find the sentences of two corpora that translate each other, most of which have no translation at all.

Pairs are scored by the ratio margin and taken greedily (``search.mine``); the pairs above a threshold are predicted.
The threshold is a development set's, one for each language, and never the test's own.

A sentence that stands several times in its corpus is embedded once, and no pair with it is predicted, because nobody
could tell which of its copies is meant; both as in the released code of XTREME (arXiv 2003.11080).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xstilts.batches import Feature
from xstilts.errors import fail
from xstilts.formats import Format, Join
from xstilts.formats._sentences import Sides, by_language, encode, head, pick, vector
from xstilts.formats._text import fields
from xstilts.search import Vectors, best_threshold, mine
from xstilts.spec import Example, Gold, Sentence, Task

NONE = ""  # predicted for a sentence without a translation


class _Mined(NamedTuple):
    """A pair as indices of its examples, and its margin."""

    query: int
    candidate: int
    score: float


def join(task: Task, examples: Sequence[Example], features: Sequence[Feature], vectors: Vectors) -> dict[int, Gold]:
    """``item_id`` of the candidate that each query was paired with, however low the margin; empty = with none."""
    thresholds = dict.fromkeys((example.language for example in examples), -math.inf)
    return _predict(task, examples, vectors, thresholds)


def calibrate(task: Task, examples: Sequence[Example], features: Sequence[Feature], vectors: Vectors) -> Join:
    """Choose the threshold of each language that gives the highest F1 here; return the ``join`` that applies them."""
    thresholds: dict[str, float] = {}
    for language, both in by_language(task, examples).items():
        pairs = _mine(task, examples, both, vectors)
        right = np.array([examples[pair.candidate].item_id in _gold(examples[pair.query]) for pair in pairs], bool)
        total = sum(len(_gold(examples[query])) for query in both.queries)
        thresholds[language] = best_threshold(np.array([pair.score for pair in pairs]), right, total)

    def calibrated(
        task: Task, examples: Sequence[Example], features: Sequence[Feature], vectors: Vectors
    ) -> dict[int, Gold]:
        return _predict(task, examples, vectors, thresholds)

    return calibrated


def _predict(
    task: Task, examples: Sequence[Example], vectors: Vectors, thresholds: Mapping[str, float]
) -> dict[int, Gold]:
    found: dict[int, Gold] = {}
    for language, both in by_language(task, examples).items():
        if language not in thresholds:
            raise fail(f"task {task.name}", "no threshold was chosen for this language", language, thresholds)
        found |= dict.fromkeys(both.queries, NONE)
        for pair in _mine(task, examples, both, vectors):
            if pair.score >= thresholds[language]:
                found[pair.query] = examples[pair.candidate].item_id
    return found


def _mine(task: Task, examples: Sequence[Example], both: Sides, vectors: Vectors) -> list[_Mined]:
    """Pairs of two corpora, best first, without those that a repeated sentence is part of."""
    texts = [sentence.text.strip() for sentence in fields(task, examples, Sentence)]
    queries, candidates = _distinct(both.queries, texts), _distinct(both.candidates, texts)
    pairs = mine(pick(vectors, list(queries)), pick(vectors, list(candidates)))
    source, target = list(queries), list(candidates)
    return [
        _Mined(source[one], target[other], float(score))
        for one, other, score in zip(*pairs, strict=True)
        if queries[source[one]] == candidates[target[other]] == 1
    ]


def _distinct(indices: Sequence[int], texts: Sequence[str]) -> dict[int, int]:
    """Index of the first example of each text → how often the text occurs."""
    counts = Counter(texts[index] for index in indices)
    first: dict[str, int] = {}
    for index in indices:
        first.setdefault(texts[index], index)
    return {index: counts[text] for text, index in first.items()}


def _gold(example: Example) -> tuple[str, ...]:
    assert isinstance(example.gold, tuple), "the gold of a mining query is a tuple of item ids"
    return example.gold


FORMAT = Format("mining", encode, head, join, vector, calibrate, vectors=True, coupled=True)
