"""Metrics, one file each: per-example sufficient statistics, and ratios of their sums.

Every score of the project is ``100 · (numerator · sums) / (denominator · sums)``, where ``sums`` adds the statistics of
the scored examples. Accuracy, F1 of chunks and the QA scores all have this form, so one closed-form variance
(``significance/two_way.py``) serves them all, and a score can be recomputed for any subset without the predictions.
Statistics first, score of the sum later: the idea is sacreBLEU's (Post 2018, arXiv 1804.08771).

The file name is the metric's name; there is no list to edit.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xstilts import catalogue


@dataclass(frozen=True, slots=True)
class Ratio:
    """A score as a ratio of two weighted sums of the statistics.

    Attributes:
        name: short name, a column of the score table.
        numerator: one weight per statistic ``(columns,)``.
        denominator: one weight per statistic ``(columns,)``.
    """

    name: str
    numerator: tuple[float, ...]
    denominator: tuple[float, ...]

    def of(self, sums: Sequence[float]) -> float:
        """Return the score in percent; NaN where nothing was scored.

        Args:
            sums: statistics summed over examples ``(columns,)``.
        """
        below = _dot(self.denominator, sums)
        return 100.0 * _dot(self.numerator, sums) / below if below else math.nan


@dataclass(frozen=True, slots=True)
class Metric:
    """What is counted for one example, and which ratios of the counts are reported.

    Attributes:
        name: file name in ``metrics/``.
        version: raised by hand when the counting changes.
        columns: names of the statistics.
        ratios: the scores; the first one is the metric's score.
        stats: (gold, prediction, language) → statistics ``(columns,)``. An example without gold (None) adds zero to
            every sum: it is not scored, rather than wrong.
    """

    name: str
    version: int
    columns: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    stats: Callable[[Any, Any, str], tuple[float, ...]]

    def score(self, sums: Sequence[float]) -> float:
        """Return the first ratio in percent; NaN where nothing was scored.

        Args:
            sums: statistics summed over examples ``(columns,)``.
        """
        return self.ratios[0].of(sums)


def metric_names() -> tuple[str, ...]:
    """Names of all shipped metrics, sorted."""
    return catalogue.names(sys.modules[__name__])


def load_metric(name: str, where: str = "metric") -> Metric:
    """Import ``metrics/<name>.py`` and return its ``METRIC``.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    metric = catalogue.entry(sys.modules[__name__], name, where, "metric").METRIC
    assert isinstance(metric, Metric) and metric.name == name, f"metrics/{name}.py must expose METRIC named {name!r}"
    return metric


def _dot(weights: Sequence[float], sums: Sequence[float]) -> float:
    return float(sum(weight * total for weight, total in zip(weights, sums, strict=True)))
