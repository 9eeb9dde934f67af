"""Extractive question answering by MLQA's rules, in its seven languages.

Scores are those of ``mlqa_evaluation_v1.py`` (Lewis et al. 2020, arXiv 1910.07475), which XTREME runs on MLQA:
lower case; punctuation of every script dropped; articles of the answer's language dropped; tokens between white space,
in Chinese each character of U+4E00–U+9FA5; the best over the gold answers. ``qa`` is the mean of F1 and exact match, as
XTREME averages them (Hu et al. 2020, arXiv 2003.11080, §3).

Traps, all kept:
    * In Arabic every ال goes, inside a word too, and leaves a space there: مقالة becomes two tokens.
    * An answer that normalises to nothing has F1 = 0 even against itself, and exact match 1.
    * Vietnamese text must be composed (NFC) for its articles to be found.

Beyond the script: a question without a gold answer is right exactly when nothing is predicted (there are none in MLQA);
a language without rules is an error here as there.
"""

from __future__ import annotations

import re

from xstilts.errors import fail
from xstilts.metrics import Metric, Ratio
from xstilts.metrics._answers import ARTICLES, compare, is_punctuation
from xstilts.spec import Answers

LANGUAGES = ("en", "es", "hi", "vi", "de", "ar", "zh")
_DROPPED = {language: re.compile(rf"\b({'|'.join(words)})\b") for language, words in ARTICLES.items()}
_DROPPED["ar"] = re.compile("ال")  # the script's other alternative, with ``^`` behind letters, never matches
_HAN = re.compile("([\u4e00-\u9fa5])")


def normalise(text: str, language: str) -> str:
    """Return the normal form of an answer.

    Raises:
        XstiltsError: MLQA has no rules for this language.
    """
    if language not in LANGUAGES:
        raise fail("metric mlqa", "has no rules for this language", language, LANGUAGES)
    kept = "".join(char for char in text.lower() if not is_punctuation(char))
    if language in _DROPPED:
        kept = _DROPPED[language].sub(" ", kept)
    if language == "zh":
        kept = _HAN.sub(r" \1 ", kept)
    return " ".join(kept.split())


def stats(gold: Answers | None, pred: str, language: str) -> tuple[float, float, float]:
    """Count one question as ``(f1, exact, total)``.

    Raises:
        XstiltsError: MLQA has no rules for this language.
    """
    if gold is None:
        return (0.0, 0.0, 0.0)
    golds = [normalise(text, language) for text in gold.texts]
    return (*compare(golds, normalise(pred, language)), 1.0)


METRIC = Metric(
    name="mlqa",
    version=1,
    columns=("f1", "exact", "total"),
    ratios=(
        Ratio("qa", (0.5, 0.5, 0), (0, 0, 1)),
        Ratio("f1", (1, 0, 0), (0, 0, 1)),
        Ratio("em", (0, 1, 0), (0, 0, 1)),
    ),
    stats=stats,
)
