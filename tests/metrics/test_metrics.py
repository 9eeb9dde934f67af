"""What every metric promises, and the load-by-file-name rule."""

import math

import pytest

from xstilts.errors import XstiltsError
from xstilts.metrics import Metric, Ratio, load_metric, metric_names
from xstilts.spec import Answers

NAMES = ("accuracy", "map20", "mining", "mlqa", "squad", "tagging", "token_accuracy")
PAIRS = {
    "accuracy": [("yes", "yes"), ("yes", "no"), (0, 0), (1, 0)],
    "squad": [(Answers(("Berlin",), (0,)), "Berlin"), (Answers(("in Berlin",), (0,)), "Berlin"), (Answers(), "Berlin")],
    "mlqa": [(Answers(("Berlin",), (0,)), "the Berlin"), (Answers(("in Berlin",), (0,)), "Berlin")],
    "map20": [(("a",), ("a", "b")), (("a", "b"), ("c", "b")), (("a",), ())],
    "mining": [(("a",), "a"), ((), "b"), (("a", "b"), "")],
    "tagging": [(("B-PER", "O"), ("B-PER", "O")), (("B-PER", "I-PER"), ("B-PER", "O")), (("O", "O"), ("O", "O"))],
    "token_accuracy": [(("N", "N/N"), ("N", "N/N")), (("N", "N/N"), ("N", "N"))],
}


def test_every_metric_is_counted():
    assert metric_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_shapes_agree(name):
    metric = load_metric(name)
    assert metric.version >= 1
    assert len({ratio.name for ratio in metric.ratios}) == len(metric.ratios)
    for ratio in metric.ratios:
        assert len(ratio.numerator) == len(ratio.denominator) == len(metric.columns)
    for gold, pred in PAIRS[name]:
        counted = metric.stats(gold, pred, "en")
        assert len(counted) == len(metric.columns)
        assert all(isinstance(value, float) and math.isfinite(value) for value in counted)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_without_gold_is_not_scored_rather_than_wrong(name):
    metric = load_metric(name)
    pred = PAIRS[name][0][1]
    assert set(metric.stats(None, pred, "en")) == {0.0}
    assert math.isnan(metric.score(metric.stats(None, pred, "en")))


@pytest.mark.parametrize("name", NAMES)
def test_scores_lie_between_0_and_100_and_right_predictions_reach_100(name):
    metric = load_metric(name)
    assert metric.score(metric.stats(*PAIRS[name][0], "en")) == 100.0
    rows = [metric.stats(gold, pred, "en") for gold, pred in PAIRS[name]]
    for ratio in metric.ratios:
        assert 0.0 <= ratio.of([sum(column) for column in zip(*rows, strict=True)]) <= 100.0


def test_the_first_ratio_is_the_score():
    metric = Metric("m", 1, ("a", "b"), (Ratio("x", (1, 0), (0, 1)), Ratio("y", (0, 1), (0, 1))), lambda *_: (0.0, 0.0))
    assert metric.score((1.0, 4.0)) == 25.0
    assert metric.ratios[1].of((1.0, 4.0)) == 100.0


def test_a_wrong_number_of_sums_is_our_bug():
    with pytest.raises(ValueError, match="zip"):
        load_metric("accuracy").score((1.0,))


def test_unknown_metric_names_the_nearest():
    with pytest.raises(XstiltsError, match=r"study: unknown metric; given 'acuracy', did you mean 'accuracy'\?"):
        load_metric("acuracy", "study")
