"""What the QA metrics share: the best of several gold answers, in the normal form of each metric.

A normal form is a string of tokens with one space between them; metrics differ in how they get there.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

# Articles that are words of their own, from the MLQA script (Lewis et al. 2020, arXiv 1910.07475). The Vietnamese
# words are a possessive, a copula, classifiers and a plural; the list is kept as it is.
ARTICLES: dict[str, tuple[str, ...]] = {
    "en": ("a", "an", "the"),
    "es": ("un", "una", "unos", "unas", "el", "la", "los", "las"),
    "de": ("ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"),
    "vi": ("của", "là", "cái", "chiếc", "những"),
}


def f1(gold: Sequence[str], pred: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall of tokens, in [0, 1]; 0 where nothing is shared."""
    shared = (Counter(gold) & Counter(pred)).total()
    return 2.0 * shared / (len(gold) + len(pred)) if shared else 0.0


def compare(golds: Sequence[str], pred: str) -> tuple[float, float]:
    """Return (F1, exact match), each the best over the gold answers.

    A question without a gold answer is right exactly when nothing is predicted, as in SQuAD 2.0.

    Args:
        golds: gold answers in normal form.
        pred: predicted answer in normal form; empty = "no answer".
    """
    if not golds:
        return float(not pred), float(not pred)
    return max(f1(gold.split(), pred.split()) for gold in golds), float(pred in golds)


@lru_cache(maxsize=4096)
def is_punctuation(char: str) -> bool:
    """Whether a character is punctuation of any script, or one of the ASCII symbols that SQuAD drops with it."""
    return char in string.punctuation or unicodedata.category(char).startswith("P")
