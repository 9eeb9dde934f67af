"""Extractive question answering: exact match and token F1, each the best over the gold answers.

Answers are compared as in the official SQuAD 2.0 script (Rajpurkar et al. 2018, arXiv 1806.03822): lower case, no
punctuation, no English articles, white space collapsed; an unanswerable question is right exactly when nothing is
predicted. The score is the mean of F1 and exact match, as in XTREME's average (Hu et al. 2020, arXiv 2003.11080, §3).

What differs from the official script, so that one metric serves all scripts (as in MLQA, Lewis et al. 2020, arXiv
1910.07475):

- every Unicode punctuation character is removed, not only the ASCII ones («, ।, ؟, 、);
- in scripts written without spaces between words (Han, kana, Thai, Lao, Khmer, Burmese) each character with its
  combining marks is a token; the official script would make a whole clause one token and F1 equal to exact match.

Articles of other languages are not removed: the metric sees no language.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from functools import lru_cache

from xstilts.metrics import Metric, Ratio
from xstilts.spec import Answers

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def normalise(text: str) -> str:
    """Return the form in which answers are compared."""
    kept = "".join(char for char in text.lower() if not _is_punctuation(char))
    return " ".join(_ARTICLES.sub(" ", kept).split())


def tokens(text: str) -> tuple[str, ...]:
    """Split a normalised answer into the units that F1 counts."""
    pieces: list[str] = []
    fresh = True  # the next character starts a token
    for char in text:
        if char == " ":
            fresh = True
        elif pieces and unicodedata.category(char).startswith("M"):
            pieces[-1] += char
        elif fresh or _is_unspaced(char):
            pieces.append(char)
            fresh = _is_unspaced(char)
        else:
            pieces[-1] += char
    return tuple(pieces)


def f1(gold: tuple[str, ...], pred: tuple[str, ...]) -> float:
    """Return the harmonic mean of precision and recall of tokens, in [0, 1]."""
    if not gold or not pred:
        return float(gold == pred)
    shared = (Counter(gold) & Counter(pred)).total()
    return 2.0 * shared / (len(gold) + len(pred))


def stats(gold: Answers | None, pred: str, language: str) -> tuple[float, float, float]:
    """Count one question as ``(f1, exact, total)``; an empty prediction says "no answer"."""
    if gold is None:
        return (0.0, 0.0, 0.0)
    # As in the official script: an answer that normalises to nothing cannot be told from "no answer".
    accepted = [text for text in map(normalise, gold.texts) if text] or [""]
    given = normalise(pred)
    best = max(f1(tokens(text), tokens(given)) for text in accepted)
    return (best, float(given in accepted), 1.0)


@lru_cache(maxsize=4096)
def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")


@lru_cache(maxsize=4096)
def _is_unspaced(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_UNSPACED)


METRIC = Metric(
    name="squad",
    version=1,
    columns=("f1", "exact", "total"),
    ratios=(
        Ratio("qa", (0.5, 0.5, 0), (0, 0, 1)),
        Ratio("f1", (1, 0, 0), (0, 0, 1)),
        Ratio("em", (0, 1, 0), (0, 0, 1)),
    ),
    stats=stats,
)
