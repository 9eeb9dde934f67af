"""MLQA's scores against a second way to compute them, published examples, and by hand in its scripts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.errors import XstiltsError
from xstilts.metrics.mlqa import LANGUAGES, METRIC, normalise
from xstilts.spec import Answers

PIECES = (
    "a", "an", "the", "el", "la", "unas", "un", "ein", "einer", "die", "des", "của", "là", "cái", "chiếc", "những",
    "The", "Der", "elbe", "ال", "البحر", "مقالة", "والبحر", "ا", "ل", "\u064e", "北", "京大学", "龥", "龦", "㐀", "の",
    "東", "दिल्ली", "।", "của\u0323", "5", "$", "-", "_", "×", "«", "。", "،", "？", "\u200b", " ", "  ", "\u3000",
    "\xa0", "\x1c",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=8)
SPACED = st.lists(st.sampled_from(PIECES), max_size=5).map(" ".join)


def scored(language, pred, *gold):
    return METRIC.stats(Answers(tuple(gold), (0,) * len(gold)), pred, language)[:2]


def percent(*rows):
    return tuple(100 * sum(column) / len(rows) for column in zip(*rows, strict=True))


@settings(max_examples=3000, deadline=None)
@given(st.sampled_from(LANGUAGES), st.lists(TEXTS | SPACED, max_size=3), TEXTS | SPACED)
def test_scores_are_those_of_a_second_implementation(qa_oracle, language, golds, pred):
    assert scored(language, pred, *golds) == pytest.approx(qa_oracle.mlqa(golds, pred, language), abs=1e-9)


def test_the_examples_of_the_tests_of_mt5():
    text = "this is a string"
    assert percent(scored("en", text, "", text), scored("en", text, text, text)) == (100.0, 100.0)
    assert percent(scored("en", "", text, text), scored("en", "", text, text)) == (0.0, 0.0)
    assert scored("es", "this a string", "this unas a string") == (1.0, 1.0)
    assert scored("en", "abd", "abc abd", "$$$$") == pytest.approx((2 / 3, 0.0))


@pytest.mark.parametrize(
    ("language", "text", "form"),
    [
        ("en", "The «Norman», a theory", "norman theory"),
        ("es", "¿El Niño? a la mar", "niño a mar"),
        ("de", "Einen Rhein, des Rheins", "rhein rheins"),
        ("vi", "Những người của Hà Nội", "người hà nội"),
        ("hi", "नई दिल्ली।", "नई दिल्ली"),
        ("ar", "البحر، الأحمر", "بحر أحمر"),
        ("ar", "مقالة", "مق ة"),
        ("ar", "والبحر", "و بحر"),
        ("zh", "北京大学在2008年 Beijing University", "北 京 大 学 在 2008 年 beijing university"),
        ("zh", "《东京、大阪》", "东 京 大 阪"),
        ("zh", "の東㐀", "の 東 㐀"),  # kana and rare characters are no Han character to the script
        ("zh", "the 北京", "the 北 京"),
    ],
)
def test_normal_forms(language, text, form):
    assert normalise(text, language) == form


@pytest.mark.parametrize(
    ("language", "pred", "gold", "expected"),
    [
        ("zh", "北京", "北京市", (0.8, 0.0)),
        ("zh", "北 京", "北京", (1.0, 1.0)),
        ("zh", "2008年", "2008 年", (1.0, 1.0)),
        ("ar", "البحر", "بحر", (1.0, 1.0)),
        ("hi", "नई दिल्ली।", "दिल्ली", (2 / 3, 0.0)),
        ("vi", "hà nội", "của Hà Nội", (1.0, 1.0)),
        ("en", "the", "The", (0.0, 1.0)),
        ("de", "", "Rhein", (0.0, 0.0)),
    ],
)
def test_rules(language, pred, gold, expected):
    assert scored(language, pred, gold) == pytest.approx(expected)


def test_unanswerable_questions():
    assert scored("zh", "") == (1.0, 1.0)
    assert scored("zh", "北京") == (0.0, 0.0)


def test_a_language_without_rules_is_an_error():
    with pytest.raises(
        XstiltsError, match=r"metric mlqa: has no rules for this language; given 'th' \(allowed: ar, de"
    ):
        METRIC.stats(Answers(("กรุงเทพ",), (0,)), "กรุงเทพ", "th")


def test_the_score_is_the_mean_of_f1_and_exact_match():
    sums = METRIC.stats(Answers(("北京市",), (0,)), "北京", "zh")
    assert {ratio.name: ratio.of(sums) for ratio in METRIC.ratios} == pytest.approx({"qa": 40, "f1": 80, "em": 0})
