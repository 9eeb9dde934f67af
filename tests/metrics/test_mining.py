import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics import load_metric

targets = st.sampled_from(["", "a", "b", "c"])


@given(st.lists(st.tuples(st.sets(targets.filter(bool), max_size=2), targets), min_size=1, max_size=20))
def test_scores_are_those_of_sets_of_pairs(rows):
    """As BUCC scores: both sides are sets of (source, target)."""
    gold = {(source, target) for source, (own, _) in enumerate(rows) for target in own}
    pred = {(source, target) for source, (_, target) in enumerate(rows) if target}
    metric = load_metric("mining")
    sums = [
        sum(column) for column in zip(*(metric.stats(tuple(own), target, "de") for own, target in rows), strict=True)
    ]
    correct = len(gold & pred)
    assert sums == [correct, len(pred), len(gold)]
    f1, precision, recall = (ratio.of(sums) for ratio in metric.ratios)
    if pred and gold:
        assert precision == 100 * correct / len(pred) and recall == 100 * correct / len(gold)
        expected = 2 * precision * recall / (precision + recall) if correct else 0.0
        assert f1 == pytest.approx(expected)


def test_a_sentence_without_a_translation_is_right_when_left_alone():
    stats = load_metric("mining").stats
    assert stats((), "", "de") == (0.0, 0.0, 0.0)
    assert stats((), "a", "de") == (0.0, 1.0, 0.0)
    assert stats(("a",), "", "de") == (0.0, 0.0, 1.0)
    assert stats(None, "a", "de") == (0.0, 0.0, 0.0)
