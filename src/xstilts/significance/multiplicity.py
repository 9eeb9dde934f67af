"""p-values of a family of hypotheses, adjusted so that looking at many does not make chance findings likely.

:func:`holm` bounds the probability of even one false rejection in the family (Holm 1979, §3), whatever the dependence:
for claims that were stated before the runs. :func:`benjamini_hochberg` bounds the expected share of false ones among
the rejections (Benjamini & Hochberg 1995, §3), for independent or positively dependent p-values: for matrices that are
searched.

A NaN is a hypothesis that was not tested: it stays NaN and does not enlarge the family. To keep the family as large as
it was announced, pass 1 for it instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from xstilts.errors import fail

Floats = NDArray[np.float64]


def holm(p: Sequence[float] | Floats) -> Floats:
    """Return Holm's adjusted p-values; reject where one is at most the family's level.

    The i-th smallest of ``n`` becomes ``max_{j ≤ i} (n − j + 1) · p_(j)``, at most 1.

    Args:
        p: ``(hypotheses,)``.

    Returns:
        ``(hypotheses,)`` in the same order.

    Raises:
        XstiltsError: a p-value is outside 0 to 1.
    """
    values, tested = _tested(p)
    order = np.argsort(values[tested], kind="stable")
    factors = np.arange(len(order), 0, -1)
    steps = np.maximum.accumulate(factors * values[tested][order])
    adjusted = np.full(len(values), np.nan)
    adjusted[np.flatnonzero(tested)[order]] = np.minimum(1.0, steps)
    return adjusted


def benjamini_hochberg(p: Sequence[float] | Floats) -> Floats:
    """Return q-values; reject where one is at most the false discovery rate that is accepted.

    Args:
        p: ``(hypotheses,)``.

    Returns:
        ``(hypotheses,)`` in the same order.

    Raises:
        XstiltsError: a p-value is outside 0 to 1.
    """
    values, tested = _tested(p)
    adjusted = np.full(len(values), np.nan)
    if tested.any():
        adjusted[tested] = false_discovery_control(values[tested], method="bh")
    return adjusted


def _tested(p: Sequence[float] | Floats) -> tuple[Floats, NDArray[np.bool_]]:
    values = np.asarray(p, dtype=float)
    tested = ~np.isnan(values)
    outside = values[tested][(values[tested] < 0) | (values[tested] > 1)]
    if len(outside):
        raise fail("p-values", "must lie between 0 and 1", str(outside[0]))
    return values, tested
