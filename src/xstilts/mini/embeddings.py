"""Word embeddings to begin pre-training with, from which tokens occur in the same records.

A truncated SVD of the token x parallel-record matrix: tokens that occur in the same records, in whatever language,
start near each other (Latent Semantic Indexing across languages, Dumais et al. 1997; Levy et al. 2017, arXiv
1608.05426, show how strong that baseline is). Here it alone retrieves most parallel records, before any training.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import svds
from tokenizers import Tokenizer

from xstilts.mini.fact import pick
from xstilts.mini.pairs import draw_language, draw_record


def svd_embeddings(tokenizer: Tokenizer, width: int, seed: int, records: int = 16_000) -> NDArray[np.float32]:
    """Token vectors from parallel records, shape (vocabulary, width), standard deviation 0.05.

    Every column is a record written in four languages and several forms; an entry is log(1 + count) times the inverse
    document frequency of the token. Tokens never seen get small random vectors.
    """
    rng = np.random.default_rng(seed + 1)
    rows: list[int] = []
    columns: list[int] = []
    for column in range(records):
        facts = [shown.fact for shown in draw_record(rng)[:2]]
        texts = []
        for _ in range(4):
            language = draw_language(rng)
            texts += [fact.text(pick(rng, fact.exact + fact.implied), language) for fact in facts]
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
            rows += encoding.ids
            columns += [column] * len(encoding.ids)
    size = tokenizer.get_vocab_size()
    counts = scipy.sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, records)).tocsr()
    counts.data = np.log1p(counts.data)
    frequency = np.maximum(counts.getnnz(axis=1), 1)
    weighted = scipy.sparse.diags(np.log(records / frequency)) @ counts
    left, values, _ = svds(weighted.astype(np.float32), k=width, v0=rng.standard_normal(min(size, records)))
    vectors = left * np.sqrt(values)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = 0.05 * math.sqrt(width)
    seen = norms > 1e-6
    noise = rng.standard_normal(vectors.shape) * 0.02
    result: NDArray[np.float32] = np.where(seen, vectors / np.maximum(norms, 1e-6) * scale, noise).astype(np.float32)
    return result
