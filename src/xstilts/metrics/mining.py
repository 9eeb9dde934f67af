"""Bitext mining: F1, precision and recall of the predicted pairs, as BUCC 2018 scores them.

(Zweigenbaum et al. 2018, Overview of the Third BUCC Shared Task.) One example is one source sentence; it has any number
of translations in the gold, mostly none, and at most one is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence

from xstilts.metrics import Metric, Ratio


def stats(gold: Sequence[str] | None, pred: str, language: str) -> tuple[float, float, float]:
    """Count one source sentence as ``(correct, predicted, gold)`` pairs.

    Args:
        gold: ``item_id`` of each of its translations.
        pred: ``item_id`` of the predicted one; empty = none.
        language: not used.
    """
    if gold is None:
        return (0.0, 0.0, 0.0)
    return (float(pred in gold), float(pred != ""), float(len(gold)))


METRIC = Metric(
    name="mining",
    version=1,
    columns=("correct", "predicted", "gold"),
    ratios=(
        Ratio("f1", (2, 0, 0), (0, 1, 1)),
        Ratio("precision", (1, 0, 0), (0, 1, 0)),
        Ratio("recall", (1, 0, 0), (0, 0, 1)),
    ),
    stats=stats,
)
