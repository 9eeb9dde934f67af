"""Answers compared: the official rules, what they leave out for other scripts, and F1 by brute force."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics.squad import METRIC, f1, normalise, tokens
from xstilts.spec import Answers

WORDS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=4).map(tuple)


def scored(pred, *gold):
    return METRIC.stats(Answers(tuple(gold), (0,) * len(gold)), pred, "en")[:2]


@given(WORDS, WORDS)
def test_f1_is_the_best_one_to_one_matching(gold, pred):
    longer, shorter = sorted((gold, pred), key=len, reverse=True)
    orders = itertools.permutations(longer)
    shared = max(sum(a == b for a, b in zip(shorter, order, strict=False)) for order in orders)
    if not gold or not pred:
        assert f1(gold, pred) == float(gold == pred)
        return
    precision, recall = shared / len(pred), shared / len(gold)
    expected = 2 * precision * recall / (precision + recall) if shared else 0.0
    assert f1(gold, pred) == pytest.approx(expected) == f1(pred, gold)


@given(st.text(max_size=20))
def test_every_text_equals_itself(text):
    assert scored(text, text) == (1.0, 1.0)


@given(st.text(max_size=20))
def test_normal_form_is_stable_and_tokens_lose_nothing(text):
    once = normalise(text)
    assert "".join(tokens(once)) == once.replace(" ", "")
    assert "  " not in once


@pytest.mark.parametrize(
    ("pred", "gold", "expected"),
    [
        ("The Norman", "norman", (1.0, 1.0)),
        ("Norman.", "the Norman", (1.0, 1.0)),
        ("Norman people", "Norman", (2 / 3, 0.0)),
        ("$5", "5", (1.0, 1.0)),  # the official script drops all ASCII punctuation
        ("theory", "the", (0.0, 0.0)),
        ("«Берлин»", "берлин", (1.0, 1.0)),
        ("برلين؟", "برلين", (1.0, 1.0)),
        ("दिल्ली।", "दिल्ली", (1.0, 1.0)),
        ("北京", "北京市", (0.8, 0.0)),
        ("กรุงเทพ", "กรุงเทพ", (1.0, 1.0)),
        ("東京、大阪", "東京大阪", (1.0, 1.0)),
        ("", "Berlin", (0.0, 0.0)),
    ],
)
def test_rules(pred, gold, expected):
    assert scored(pred, gold) == pytest.approx(expected)


def test_the_best_of_several_answers_counts():
    assert scored("in Berlin", "Bonn", "Berlin") == pytest.approx((2 / 3, 0.0))
    assert scored("Bonn", "Berlin", "Bonn") == (1.0, 1.0)


def test_unanswerable_questions():
    assert scored("") == (1.0, 1.0)
    assert scored("Berlin") == (0.0, 0.0)


def test_an_answer_of_punctuation_alone_counts_only_if_there_is_no_other():
    assert scored("", "!?") == (1.0, 1.0)
    assert scored("", "!?", "Berlin") == (0.0, 0.0)


def test_unspaced_scripts_are_cut_into_characters_with_their_marks():
    assert tokens("กิน 12 кг 東京é") == ("กิ", "น", "12", "кг", "東", "京", "é")
    assert tokens("héllo wörld") == ("héllo", "wörld")


def test_the_score_is_the_mean_of_f1_and_exact_match():
    sums = METRIC.stats(Answers(("Norman",), (0,)), "Norman people", "en")
    qa, overlap, exact = (ratio.of(sums) for ratio in METRIC.ratios)
    assert (qa, exact) == (pytest.approx(overlap / 2), 0.0)
