from itertools import chain

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from xstilts.metrics import accuracy, tagging

TAGS = ("O", "B-PER", "I-PER", "NOUN", "X")


def sums(metric, pairs):
    return np.sum([metric.stats(*pair, "en") for pair in pairs], axis=0)


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_accuracy(classes):
    rng = np.random.default_rng(classes)
    for rows in rng.integers(1, 500, 40):
        gold, pred = rng.integers(0, classes, (2, rows)).astype(str).tolist()
        scored = accuracy.METRIC.score(sums(accuracy.METRIC, zip(gold, pred, strict=True)))
        assert scored == pytest.approx(100 * accuracy_score(gold, pred), abs=1e-9)


def test_accuracy_of_tokens():
    rng = np.random.default_rng(0)
    for _ in range(100):
        lengths = rng.integers(1, 30, 40)
        gold, pred = ([rng.choice(TAGS, length).tolist() for length in lengths] for _ in range(2))
        scored = tagging.METRIC.ratios[1].of(sums(tagging.METRIC, zip(gold, pred, strict=True)))
        words = (list(chain.from_iterable(side)) for side in (gold, pred))
        assert scored == pytest.approx(100 * accuracy_score(*words), abs=1e-9)
