"""Interquartile mean: what is left when the best and the worst quarter are dropped.

A mean over tasks can be one task's doing. The interquartile mean (Agarwal et al. 2021, arXiv 2108.13264: the mean
with 25 % trimmed at either end) and the range of what is found when one task is left out show whether it is.

Intervals are in closed form, from the influence values of a trimmed mean, which are winsorised values (Tukey &
McLaughlin 1963, Sankhyā A 25:331): what is dropped still counts as much as the outermost value that is kept. A run is
scored on all tasks, so runs are resampled whole; a bootstrap of each task's runs by itself is too narrow by half for
runs that are good or bad on all tasks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats, Linear, one_sample

TRIMMED = 0.25


class Interquartile(NamedTuple):
    """An interquartile mean, how sure it is, and how much of it is a single task's doing.

    Attributes:
        value: in the unit of the scores.
        low: lower end of the 95 % interval for these tasks; runs are random. NaN where there is a single run.
        high: upper end.
        low_over_tasks: lower end of the 95 % interval for tasks like these; runs and tasks are random. NaN where there
            is a single run or fewer than four tasks.
        high_over_tasks: upper end.
        without: value without each task ``(tasks,)``; NaN where there is only one.
    """

    value: float
    low: float
    high: float
    low_over_tasks: float
    high_over_tasks: float
    without: Floats


def interquartile_mean(values: Floats) -> float:
    """Return the mean without the ⌊n/4⌋ lowest and highest of ``values``, of any shape."""
    flat = np.sort(values, axis=None)
    cut = int(TRIMMED * len(flat))
    return float(flat[cut : len(flat) - cut].mean())


def iqm(scores: Floats) -> Interquartile:
    """Interquartile mean of one system's scores, runs and tasks together.

    Args:
        scores: ``(runs, tasks)``, on scales that can be compared.

    Raises:
        XstiltsError: no scores, or some that are missing.
    """
    _check(scores)
    value, tasks = interquartile_mean(scores), scores.shape[1]
    influence = _influence(scores)
    by_run = influence.mean(axis=1)
    each = (influence - by_run[:, None]) / tasks
    estimate = one_sample(Linear(value + by_run, np.arange(tasks), each, np.zeros(tasks, np.int64)))
    reach = _reach(estimate.se_seeds, len(scores) - 1.0)
    over_tasks = tasks >= 1 / TRIMMED and len(scores) > 1
    ends = (value + estimate.low - estimate.score, value + estimate.high - estimate.score)
    low, high = ends if over_tasks else (math.nan, math.nan)
    return Interquartile(value, value - reach, value + reach, low, high, _without(scores))


def iqm_of_gains(candidate: Floats, reference: Floats, paired: bool = False) -> Interquartile:
    """Interquartile mean over tasks of how much the candidate gains on each.

    The interval over tasks adds the variance of runs to that of the gains, which holds what runs do to single tasks
    already: with few tasks it is somewhat too wide.

    Args:
        candidate: scores ``(runs, tasks)``.
        reference: scores ``(other runs, tasks)``, tasks in the same order.
        paired: whether run s of both shares a random object.

    Raises:
        XstiltsError: other tasks, scores that are missing, or paired without as many runs each.
    """
    _check(candidate)
    _check(reference)
    if candidate.shape[1] != reference.shape[1] or (paired and len(candidate) != len(reference)):
        sizes = f"{candidate.shape} and {reference.shape}"
        raise fail("interquartile mean", "needs the same tasks, and for paired runs as many of each", sizes)
    arms = [candidate - reference] if paired else [candidate, reference]
    gains = candidate.mean(axis=0) - reference.mean(axis=0)
    value, tasks = interquartile_mean(gains), len(gains)
    kept = np.argsort(gains, kind="stable")[int(TRIMMED * tasks) : tasks - int(TRIMMED * tasks)]
    runs = [float(arm[:, kept].mean(axis=1).var(ddof=1)) / len(arm) if len(arm) > 1 else math.nan for arm in arms]
    sources = [(variance, len(arm) - 1.0) for variance, arm in zip(runs, arms, strict=True)]
    reach = _reach(*_satterthwaite(sources))
    enough = tasks >= 1 / TRIMMED
    between = float(np.sum(_influence(gains) ** 2)) / (tasks * (tasks - 1)) if enough else math.nan
    reach_over_tasks = _reach(*_satterthwaite([*sources, (between, len(kept) - 1.0)]))
    without = np.array([interquartile_mean(np.delete(gains, k)) if tasks > 1 else math.nan for k in range(tasks)])
    ends = (value - reach, value + reach, value - reach_over_tasks, value + reach_over_tasks)
    return Interquartile(value, *ends, without)


def _check(scores: Floats) -> None:
    if scores.ndim != 2 or 0 in scores.shape:
        raise fail("interquartile mean", "needs scores (runs, tasks)", str(scores.shape))
    if not np.isfinite(scores).all():
        raise fail("interquartile mean", "a score is missing")


def _influence(values: Floats) -> Floats:
    """Influence of each value on the mean of the middle half, of the shape of ``values``; the mean of them is zero."""
    flat = np.sort(values, axis=None)
    cut = int(TRIMMED * len(flat))
    winsorised = np.clip(values, flat[cut], flat[len(flat) - cut - 1])
    influence: Floats = (winsorised - winsorised.mean()) / (1 - 2 * cut / len(flat))
    return influence


def _without(scores: Floats) -> Floats:
    tasks = scores.shape[1]
    return np.array([interquartile_mean(np.delete(scores, k, axis=1)) if tasks > 1 else math.nan for k in range(tasks)])


def _satterthwaite(sources: list[tuple[float, float]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of (variance, degrees of freedom)."""
    total = sum(variance for variance, _ in sources)
    weighed = sum(variance**2 / df if df else math.nan for variance, df in sources)
    return math.sqrt(total), total**2 / weighed if weighed else math.inf


def _reach(error: float, df: float) -> float:
    """Half-width of the t interval; NaN where there are no degrees of freedom."""
    return error * float(stdtrit(df, (1 + LEVEL) / 2)) if df > 0 else math.nan
