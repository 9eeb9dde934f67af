"""Accuracy: share of examples whose prediction equals the gold label.

Serves classification (label), multiple choice (index of the option) and retrieval (``item_id`` of the nearest
candidate: accuracy at 1, as Tatoeba is scored in XTREME; Hu et al. 2020, arXiv 2003.11080, §3.1).
"""

from __future__ import annotations

from xstilts.metrics import Metric, Ratio


def stats(gold: str | int | None, pred: str | int, language: str) -> tuple[float, float]:
    """Count one example as ``(correct, total)``."""
    if gold is None:
        return (0.0, 0.0)
    return (float(gold == pred), 1.0)


METRIC = Metric(
    name="accuracy",
    version=1,
    columns=("correct", "total"),
    ratios=(Ratio("accuracy", (1, 0), (0, 1)),),
    stats=stats,
)
