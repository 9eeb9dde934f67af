"""The languages of the miniature, and how much pre-training text each one gets.

The shares are unequal on purpose, as in the corpora of real multilingual encoders. Three languages get none, so that a
study can see transfer to languages of which the tokenizer knows the characters and the model nothing; each has a
relative that is seen (bg and ru, et and fi, af and de).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Tier = Literal["high", "mid", "low", "unseen"]

#: Weight of one language of a tier in the pre-training text; shares are weights divided by their sum.
WEIGHTS: dict[Tier, float] = {"high": 1.0, "mid": 0.6, "low": 0.25, "unseen": 0.0}


class Language(NamedTuple):
    """One language of the miniature.

    Attributes:
        code: ISO 639-1 code, as XTREME-R and CLDR write it.
        tier: how much pre-training text it gets.
    """

    code: str
    tier: Tier


LANGUAGES: tuple[Language, ...] = (
    Language("en", "high"),
    Language("de", "high"),
    Language("fr", "high"),
    Language("es", "high"),
    Language("ru", "high"),
    Language("tr", "mid"),
    Language("ar", "mid"),
    Language("vi", "mid"),
    Language("zh", "mid"),
    Language("hi", "mid"),
    Language("fi", "mid"),
    Language("th", "mid"),
    Language("sw", "low"),
    Language("yo", "low"),
    Language("jv", "low"),
    Language("qu", "low"),
    Language("bg", "unseen"),
    Language("et", "unseen"),
    Language("af", "unseen"),
)

CODES: tuple[str, ...] = tuple(language.code for language in LANGUAGES)
SEEN: tuple[str, ...] = tuple(language.code for language in LANGUAGES if language.tier != "unseen")
UNSEEN: tuple[str, ...] = tuple(language.code for language in LANGUAGES if language.tier == "unseen")
TIERS: dict[str, Tier] = {language.code: language.tier for language in LANGUAGES}


def shares() -> dict[str, float]:
    """Share of every language in the pre-training text; sums to 1, unseen languages have 0."""
    total = sum(WEIGHTS[language.tier] for language in LANGUAGES)
    return {language.code: WEIGHTS[language.tier] / total for language in LANGUAGES}
