"""Extractive question answering by SQuAD's rules, which XTREME applies to XQuAD and TyDiQA in every language.

``f1`` and ``em`` are the official scores (Rajpurkar et al. 2016, arXiv 1606.05250; ``evaluate-v1.1.py``, unchanged in
XTREME's ``third_party/evaluate_squad.py``): lower case, ASCII punctuation dropped, the words a, an, the dropped in
whatever language, tokens between white space, the best over the gold answers. ``qa`` is their mean, XTREME's score of a
QA task (Hu et al. 2020, arXiv 2003.11080, §3). A question without a gold answer, which that script cannot score, is
right exactly when nothing is predicted (SQuAD 2.0: Rajpurkar et al. 2018, arXiv 1806.03822).

One case is left to SQuAD 1.1 where the two disagree: a gold answer of an answerable question that normalises to
nothing ("the", "$"). SQuAD 1.1 keeps it, as exact match with F1 = 0; SQuAD 2.0 drops it. No answer of XQuAD is one.

Beside them stand ``aware_f1`` and ``aware_em``, which treat languages alike. They differ from the official scores in:

- punctuation: every Unicode punctuation character is dropped, not only the ASCII ones («, ।, ؟, 、);
- articles: those of the answer's language (en, es, de, vi as in MLQA; el, ro; in Arabic the prefix at the beginning of
  a word), and English ones in English only: Spanish "a" and Vietnamese "an" are words;
- tokens: in scripts written without spaces (Han, kana, Thai, Lao, Khmer, Burmese) each character with its combining
  marks is one, so that white space there does not count; officially a whole clause is one token, and F1 is exact match;
- gold answers that normalise to nothing are dropped, as in SQuAD 2.0.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

from xstilts.metrics import Metric, Ratio
from xstilts.metrics._answers import ARTICLES, compare, is_punctuation
from xstilts.spec import Answers

_OFFICIAL_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_AWARE_ARTICLES = {
    **ARTICLES,
    "el": (
        *("ο", "η", "το", "οι", "τα", "του", "της", "των", "τον", "την", "τη", "τους", "τις"),
        *("ένας", "μία", "μια", "ένα", "ενός", "μιας", "έναν"),
    ),
    "ro": ("un", "o", "unui", "unei", "niște"),
}
_ARABIC_ARTICLE = "ال"
_UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


def normalise(text: str) -> str:
    """Return the official normal form of an answer."""
    return " ".join(_OFFICIAL_ARTICLES.sub(" ", text.lower().translate(_NO_ASCII_PUNCTUATION)).split())


def normalise_aware(text: str, language: str) -> str:
    """Return the normal form of an answer by the rules of its language: tokens with one space between them."""
    kept = "".join(char for char in text.lower() if not is_punctuation(char))
    articles = _AWARE_ARTICLES.get(language, ())
    words = (word for word in tokens(" ".join(kept.split())) if word not in articles)
    if language == "ar":
        words = (word.removeprefix(_ARABIC_ARTICLE) or word for word in words)
    return " ".join(words)


def tokens(text: str) -> tuple[str, ...]:
    """Split at spaces, and in unspaced scripts into characters with their combining marks."""
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


def stats(gold: Answers | None, pred: str, language: str) -> tuple[float, float, float, float, float]:
    """Count one question as ``(f1, exact, aware_f1, aware_exact, total)``; an empty prediction says "no answer"."""
    if gold is None:
        return (0.0, 0.0, 0.0, 0.0, 0.0)
    official = compare([normalise(text) for text in gold.texts], normalise(pred))
    forms = [normalise_aware(text, language) for text in gold.texts]
    aware = compare([form for form in forms if form], normalise_aware(pred, language))
    return (*official, *aware, 1.0)


@lru_cache(maxsize=4096)
def _is_unspaced(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_UNSPACED)


METRIC = Metric(
    name="squad",
    version=2,
    columns=("f1", "exact", "aware_f1", "aware_exact", "total"),
    ratios=(
        Ratio("qa", (0.5, 0.5, 0, 0, 0), (0, 0, 0, 0, 1)),
        Ratio("f1", (1, 0, 0, 0, 0), (0, 0, 0, 0, 1)),
        Ratio("em", (0, 1, 0, 0, 0), (0, 0, 0, 0, 1)),
        Ratio("aware_f1", (0, 0, 1, 0, 0), (0, 0, 0, 0, 1)),
        Ratio("aware_em", (0, 0, 0, 1, 0), (0, 0, 0, 0, 1)),
    ),
    stats=stats,
)
