"""The official SQuAD scores against three other ways to them, and the language-aware ones by hand."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics

from xstilts.metrics._answers import f1
from xstilts.metrics.squad import METRIC, normalise, normalise_aware, tokens
from xstilts.spec import Answers

WORDS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=4).map(tuple)
# Articles on their own, inside words and behind odd neighbours; signs that are punctuation only outside ASCII; scripts
# without spaces; marks that split an English word; white space that str.split knows and "\s" hardly.
PIECES = (
    "a", "an", "the", "The", "THEN", "a_b", "berlin", "Berlin", "ß", "İ", "5", "$", "%", "-", "'", '"', ".", "_", "×",
    "€", "«", "»", "。", "،", "।", "？", "北京", "大学", "กรุง", "เทพ", "दिल्ली", "بر", "لين", "a\u0301", "\u0301",
    "\u200b", "\u200d", "\ufeff", "👩‍🚀", " ", "  ", "\t", "\n", "\u3000", "\xa0", "\x1c", "\u2028",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=8)
GOLDS = st.lists(TEXTS, max_size=3)


def scored(pred, *gold, language="en"):
    return METRIC.stats(Answers(tuple(gold), (0,) * len(gold)), pred, language)


def official(pred, *gold, language="en"):
    return scored(pred, *gold, language=language)[:2]


def aware(language, pred, *gold):
    return scored(pred, *gold, language=language)[2:4]


def percent(rows):
    """Scores by name over several questions, as the official scripts print them."""
    sums = [sum(column) for column in zip(*rows, strict=True)]
    return {ratio.name: ratio.of(sums) for ratio in METRIC.ratios}


# ------------------------------------------------------------------------------------------------------- oracles


@settings(max_examples=2000, deadline=None)
@given(GOLDS, TEXTS)
def test_official_scores_are_those_of_a_second_implementation(qa_oracle, golds, pred):
    assert official(pred, *golds) == pytest.approx(qa_oracle.squad(golds, pred), abs=1e-9)


@settings(max_examples=1000, deadline=None)
@given(GOLDS, TEXTS)
def test_official_scores_are_those_of_transformers(golds, pred):
    """Its rules are SQuAD 2.0's; the one case where the two scripts disagree is left out."""
    if not all(map(normalise, golds)):
        return
    accepted = golds or [""]
    f1_score = max(squad_metrics.compute_f1(gold, pred) for gold in accepted)
    exact = max(squad_metrics.compute_exact(gold, pred) for gold in accepted)
    assert official(pred, *golds) == pytest.approx((f1_score, exact), abs=1e-9)
    assert all(normalise(text) == squad_metrics.normalize_answer(text) for text in (*golds, pred))


@given(WORDS, WORDS)
def test_f1_is_the_best_one_to_one_matching(gold, pred):
    longer, shorter = sorted((gold, pred), key=len, reverse=True)
    orders = itertools.permutations(longer)
    shared = max(sum(a == b for a, b in zip(shorter, order, strict=False)) for order in orders)
    precision, recall = shared / (len(pred) or 1), shared / (len(gold) or 1)
    expected = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert f1(gold, pred) == pytest.approx(expected) == f1(pred, gold)


# ------------------------------------------------------------------------------------------------ published examples


def test_the_examples_of_the_metric_cards_of_squad():
    assert percent([scored("1976", "1976")])["f1"] == 100.0
    assert percent([scored("1999", "1976")])["em"] == 0.0
    rows = [
        scored("1976", "1976"),
        scored("Beyonce", "Beyoncé and Bruno Mars"),
        scored("climate change", "climate change"),
    ]
    assert percent(rows)["em"] == percent(rows)["f1"] == pytest.approx(66.66666666666667, abs=1e-9)


def test_the_normal_forms_of_the_tests_of_t5():
    assert normalise("`Needs\tA_LOT of the 'normalization'.\"‘") == "needs alot of normalization‘"
    assert normalise("needs no normalization") == "needs no normalization"


# ------------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("pred", "gold", "expected"),
    [
        ("The Norman", "norman", (1.0, 1.0)),
        ("Norman.", "the Norman", (1.0, 1.0)),
        ("Norman people", "Norman", (2 / 3, 0.0)),
        ("$5", "5", (1.0, 1.0)),
        ("theory", "the", (0.0, 0.0)),
        ("well-known", "wellknown", (1.0, 1.0)),
        ("the", "The", (0.0, 1.0)),  # nothing is left: SQuAD 1.1's F1 is 0 even so
        ("«Берлин»", "берлин", (0.0, 0.0)),
        ("برلين؟", "برلين", (0.0, 0.0)),
        ("दिल्ली।", "दिल्ली", (0.0, 0.0)),
        ("北京", "北京市", (0.0, 0.0)),
        ("北京, 上海", "北京 上海", (1.0, 1.0)),
        ("กรุงเทพ", "กรุงเทพมหานคร", (0.0, 0.0)),
        ("a Berlín", "Berlín", (1.0, 1.0)),  # English articles go in Spanish too, Spanish ones do not
        ("el Berlín", "Berlín", (2 / 3, 0.0)),
        ("", "Berlin", (0.0, 0.0)),
    ],
)
def test_official_rules(pred, gold, expected):
    assert official(pred, gold) == pytest.approx(expected)
    assert official(pred, gold, language="es") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("language", "pred", "gold", "expected"),
    [
        ("en", "The Norman", "norman", (1.0, 1.0)),
        ("en", "", "The", (1.0, 1.0)),  # nothing is left of it, as in SQuAD 2.0
        ("es", "el Berlín", "Berlín", (1.0, 1.0)),
        ("es", "a Berlín", "Berlín", (2 / 3, 0.0)),
        ("de", "«Der Rhein»", "den Rhein", (1.0, 1.0)),
        ("el", "στην Αθήνα", "η Αθήνα", (2 / 3, 0.0)),
        ("ro", "un oraș", "oraș", (1.0, 1.0)),
        ("vi", "những an ninh", "an ninh", (1.0, 1.0)),
        ("ru", "«Берлин»", "берлин", (1.0, 1.0)),
        ("ar", "برلين؟", "برلين", (1.0, 1.0)),
        ("ar", "البحر", "بحر", (1.0, 1.0)),
        ("ar", "مقالة", "مقة", (0.0, 0.0)),  # inside a word it is no article
        ("ar", "وَلَد", "ولد", (0.0, 0.0)),  # vowel signs are part of the word
        ("hi", "दिल्ली।", "दिल्ली", (1.0, 1.0)),
        ("hi", "नई दिल्ली", "दिल्ली", (2 / 3, 0.0)),
        ("zh", "北京", "北京市", (0.8, 0.0)),
        ("zh", "2008 年", "2008年", (1.0, 1.0)),
        ("zh", "東京、大阪", "東京大阪", (1.0, 1.0)),
        ("th", "กรุงเทพ", "กรุงเทพมหานคร", (2 / 3, 0.0)),
        ("th", "กรุงเทพ", "กรุง เทพ", (1.0, 1.0)),
    ],
)
def test_language_aware_rules(language, pred, gold, expected):
    assert aware(language, pred, gold) == pytest.approx(expected)


def test_the_best_of_several_answers_counts():
    assert scored("in Berlin", "Bonn", "Berlin")[:4] == pytest.approx((2 / 3, 0.0) * 2)
    assert scored("Bonn", "Berlin", "Bonn")[:4] == (1.0, 1.0) * 2


def test_unanswerable_questions():
    assert scored("")[:4] == (1.0, 1.0) * 2
    assert scored("Berlin")[:4] == (0.0, 0.0) * 2
    assert scored("the")[:4] == (1.0, 1.0) * 2  # SQuAD 2.0 normalises first


def test_an_answer_of_punctuation_alone():
    """SQuAD 1.1 keeps it as exact match; the language-aware scores drop it where there is another."""
    assert official("", "!?") == (0.0, 1.0)
    assert official("", "!?", "Berlin") == (0.0, 1.0)
    assert aware("en", "", "!?") == (1.0, 1.0)
    assert aware("en", "", "!?", "Berlin") == (0.0, 0.0)


# -------------------------------------------------------------------------------------------------------- promises


@given(TEXTS, st.sampled_from(["en", "zh", "ar", "th", "el"]))
def test_every_text_equals_itself(text, language):
    assert aware(language, text, text) == (1.0, 1.0)
    assert official(text, text) == (float(bool(normalise(text))), 1.0)


@given(TEXTS)
def test_normal_forms_are_stable_and_tokens_lose_nothing(text):
    for form in (normalise(text), normalise_aware(text, "fi")):
        assert form == " ".join(form.split())
        assert "".join(tokens(form)) == form.replace(" ", "")
    assert normalise_aware(normalise_aware(text, "th"), "th") == normalise_aware(text, "th")


@given(GOLDS, TEXTS)
def test_exact_match_never_exceeds_f1_where_something_is_left(golds, pred):
    overlap, exact, aware_overlap, aware_exact, _ = scored(pred, *golds)
    assert aware_exact <= aware_overlap
    assert exact <= overlap or not normalise(pred)


def test_unspaced_scripts_are_cut_into_characters_with_their_marks():
    assert tokens("กิน 12 кг 東京é") == ("กิ", "น", "12", "кг", "東", "京", "é")
    assert tokens("héllo wörld") == ("héllo", "wörld")


def test_the_score_is_the_mean_of_f1_and_exact_match():
    assert percent([scored("Norman people", "Norman")]) == pytest.approx(
        {"qa": 100 / 3, "f1": 200 / 3, "em": 0.0, "aware_f1": 200 / 3, "aware_em": 0.0}
    )
