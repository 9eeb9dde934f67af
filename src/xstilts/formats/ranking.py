"""Ranking: the 20 nearest of the candidates of all languages, for queries of any language.

The candidates form one pool, so a sentence in the query's own language competes with its translations: this asks for
more than retrieval does (Roy et al. 2020, arXiv 2004.05484, "strong" alignment). Candidates of several languages may
share an ``item_id``; a candidate's name is its ``spec.candidate_key``.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.batches import Feature
from xstilts.formats import Format
from xstilts.formats._sentences import encode, head, pick, sides, vector
from xstilts.metrics.map20 import DEPTH
from xstilts.search import Vectors, top_k
from xstilts.spec import Example, Gold, Task, candidate_key


def join(task: Task, examples: Sequence[Example], features: Sequence[Feature], vectors: Vectors) -> dict[int, Gold]:
    """Keys of the ``DEPTH`` nearest candidates, nearest first, for queries; of equally near ones the first."""
    queries, candidates = sides(task, examples, range(len(examples)), "")
    rows = top_k(pick(vectors, queries), pick(vectors, candidates), DEPTH).rows
    keys = [candidate_key(examples[index]) for index in candidates]
    return {query: tuple(keys[row] for row in best) for query, best in zip(queries, rows, strict=True)}


FORMAT = Format("ranking", encode, head, join, vector, vectors=True, coupled=True)
