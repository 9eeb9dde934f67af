"""Sentence retrieval: the nearest candidate by cosine of pooled hidden states, at one hidden layer.

Without training, that layer is the last one the encoder runs (Hu et al. 2020, arXiv 2003.11080, §3.1 and appendix).
Every query is compared with all candidates of its language; the search is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.batches import Feature
from xstilts.formats import Format
from xstilts.formats._sentences import by_language, encode, head, pick, vector
from xstilts.search import Vectors, nearest
from xstilts.spec import Example, Gold, Task


def join(task: Task, examples: Sequence[Example], features: Sequence[Feature], vectors: Vectors) -> dict[int, Gold]:
    """``item_id`` of the nearest candidate, for queries; of equally near ones the first."""
    found: dict[int, Gold] = {}
    for queries, candidates in by_language(task, examples).values():
        rows = nearest(pick(vectors, queries), pick(vectors, candidates))
        found |= {query: examples[candidates[row]].item_id for query, row in zip(queries, rows, strict=True)}
    return found


FORMAT = Format("retrieval", encode, head, join, vector, vectors=True, coupled=True)
