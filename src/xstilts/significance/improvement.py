"""Probability of improvement: how likely a new run of one system scores above a new run of the other.

It is the Mann-Whitney statistic, averaged over tasks (Agarwal et al. 2021, arXiv 2108.13264), with a tie as half
a win. It counts wins, however small; the size of a difference is :mod:`.two_way`'s business.

A run is scored on all tasks and is therefore the unit that is random; tasks are not. The variance of the mean over
tasks is that of placements (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837). With five runs it is a rough
guess and becomes zero when all runs of one system win, so it only scales a variance that is known as a function of the
probability θ itself: that of one task (Newcombe 2006, Statistics in Medicine 25:559, method 5)

    V(θ) = θ(1−θ) · (1 + (m̄−1)·((1−θ)/(2−θ) + θ/(1+θ))) / (m·n),      m̄ = (m+n)/2

by a factor between 1/T, for T tasks whose runs have nothing in common, and 1, for tasks that go up and down together.
The ends of the interval are the θ at which ``|estimate − θ| = t·√(factor·V(θ))``, with ``m+n−2`` degrees of freedom, so
that they stay in [0, 1] and keep their distance from an estimate of 0 or 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats


class Improvement(NamedTuple):
    """A probability of improvement and how sure it is.

    Attributes:
        probability: that a run of the candidate beats a run of the reference, mean over tasks.
        low: lower end of the 95 % interval; NaN where a system has a single run.
        high: upper end.
        by_task: the same for each task ``(tasks,)``.
    """

    probability: float
    low: float
    high: float
    by_task: Floats


def improvement(candidate: Floats, reference: Floats) -> Improvement:
    """Estimate how likely a new run of the candidate beats a new run of the reference.

    Args:
        candidate: scores ``(runs, tasks)``; runs are those of unpaired seeds.
        reference: scores ``(other runs, tasks)``, tasks in the same order.

    Raises:
        XstiltsError: other tasks, nothing at all, or scores that are missing.
    """
    for scores in (candidate, reference):
        if scores.ndim != 2 or 0 in scores.shape or scores.shape[1] != candidate.shape[1]:
            raise fail("probability of improvement", "needs scores (runs, tasks), of the same tasks", str(scores.shape))
        if not np.isfinite(scores).all():
            raise fail("probability of improvement", "a score is missing")
    wins = (np.sign(candidate[:, None] - reference[None]) + 1) / 2  # (runs, other runs, tasks)
    by_task = wins.mean(axis=(0, 1))
    found = float(by_task.mean())
    low, high = _interval(found, wins.mean(axis=2), len(by_task))
    return Improvement(found, low, high, by_task)


def _interval(found: float, wins: Floats, tasks: int) -> tuple[float, float]:
    """Ends of the interval, from each run's wins over each other run ``(runs, other runs)``."""
    ours, theirs = wins.shape
    if min(ours, theirs) < 2:
        return math.nan, math.nan
    placements = wins.mean(axis=1).var(ddof=1) / ours + wins.mean(axis=0).var(ddof=1) / theirs
    alone = _variance(found, ours, theirs)
    factor = float(np.clip(placements / alone, 1 / tasks, 1.0)) if alone else 1.0
    reach = float(stdtrit(ours + theirs - 2, (1 + LEVEL) / 2)) ** 2 * factor

    def outside(value: float) -> float:
        return (found - value) ** 2 - reach * _variance(value, ours, theirs)

    inside = float(np.clip(found, 1e-9, 1 - 1e-9))  # at 0 and 1 the variance is zero, another root
    low = 0.0 if found == 0 else float(brentq(outside, 0.0, inside))
    high = 1.0 if found == 1 else float(brentq(outside, inside, 1.0))
    return low, high


def _variance(value: float, ours: int, theirs: int) -> float:
    """Variance of the Mann-Whitney statistic of one task without ties."""
    shape = (1 - value) / (2 - value) + value / (1 + value)
    return value * (1 - value) * (1 + ((ours + theirs) / 2 - 1) * shape) / (ours * theirs)
