import numpy as np
from sklearn.metrics import accuracy_score

from xstilts.metrics.accuracy import METRIC


def test_accuracy():
    rng = np.random.default_rng(0)
    gold, pred = rng.integers(0, 3, (2, 500)).astype(str).tolist()
    sums = np.sum([METRIC.stats(*pair, "en") for pair in zip(gold, pred, strict=True)], axis=0)
    assert METRIC.score(sums) == 100 * accuracy_score(gold, pred)
