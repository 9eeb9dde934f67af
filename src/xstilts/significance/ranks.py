"""Ranks: of systems over tasks (Friedman, Nemenyi), and which ranks are certain when candidates are compared pairwise.

:func:`friedman` follows Demšar (2006, JMLR 7:1, §3.2.2): tasks are the sample, and only the order of systems within a
task counts. With mean ranks ``R`` of k systems over N tasks

    χ²_F = 12N/(k(k+1)) · (ΣR² − k(k+1)²/4)      F_F = (N−1)χ²_F / (N(k−1) − χ²_F)      CD = q_α·√(k(k+1)/(6N))

and two mean ranks that differ by more than the critical difference CD differ significantly. Ties have mean ranks; χ²_F
is not corrected for them, as in the paper.

:func:`rank_intervals` answers "these are the top k": a candidate's rank is at least 1 + the number of those that are
significantly better, and at most the number of all − those that are significantly worse. With pairwise tests that err
anywhere with probability α at most, all these intervals hold at once (Al Mohamad, Goeman & van Zwet 2022, Biometrics
78:238; Mogstad, Romano, Shaikh & Wilhelm 2024, Review of Economic Studies 91:476).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import fdtrc
from scipy.stats import rankdata, studentized_range

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats, Integers

FEWEST_SYSTEMS = 3
FEWEST_TASKS = 5

Answer = Literal["yes", "no", "unknown"]


class Friedman(NamedTuple):
    """Mean ranks of systems over tasks and what they say.

    Attributes:
        ranks: mean rank of each system, 1 for the best ``(systems,)``.
        chi2: χ²_F.
        f: F_F (Iman & Davenport 1980); infinite where all tasks agree.
        p: of "no system is different", F with k−1 and (k−1)(N−1) degrees of freedom.
        critical_difference: Nemenyi's CD at 95 %.
        groups: largest sets of systems none of which differ significantly, best first; a system may be in several.
    """

    ranks: Floats
    chi2: float
    f: float
    p: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]


def friedman(scores: Floats) -> Friedman:
    """Rank systems over tasks.

    Args:
        scores: higher is better ``(tasks, systems)``.

    Raises:
        XstiltsError: too few systems or tasks for the approximations to hold, or scores that are missing.
    """
    if scores.ndim != 2 or scores.shape[0] < FEWEST_TASKS or scores.shape[1] < FEWEST_SYSTEMS:
        needed = f"needs scores of at least {FEWEST_TASKS} tasks × {FEWEST_SYSTEMS} systems"
        raise fail("ranks", needed, " × ".join(str(size) for size in scores.shape))
    if not np.isfinite(scores).all():
        raise fail("ranks", "a score is missing; leave out the task or the system")
    tasks, systems = scores.shape
    ranks = rankdata(-scores, axis=1).mean(axis=0)
    chi2 = 12 * tasks / (systems * (systems + 1)) * float(np.sum(ranks**2) - systems * (systems + 1) ** 2 / 4)
    rest = tasks * (systems - 1) - chi2
    ratio = (tasks - 1) * chi2 / rest if rest > 1e-9 else math.inf
    p = float(fdtrc(systems - 1, (systems - 1) * (tasks - 1), ratio)) if math.isfinite(ratio) else 0.0
    quantile = float(studentized_range.ppf(LEVEL, systems, np.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(systems * (systems + 1) / (6 * tasks))
    return Friedman(ranks, chi2, ratio, p, critical, _groups(ranks, critical))


def _groups(ranks: Floats, critical: float) -> tuple[tuple[int, ...], ...]:
    """Runs of systems in order of rank that span no more than the critical difference, without runs inside others."""
    order = np.argsort(ranks, kind="stable")
    ends = [int(np.sum(ranks <= ranks[first] + critical)) for first in order]
    return tuple(
        tuple(int(each) for each in order[start:end])
        for start, end in enumerate(ends)
        if start == 0 or end > ends[start - 1]
    )


class RankIntervals(NamedTuple):
    """The ranks that each candidate may have, 1 for the best; all hold at once.

    Attributes:
        best: ``(candidates,)``.
        worst: ``(candidates,)``.
    """

    best: Integers
    worst: Integers

    def are_top(self, candidates: Collection[int]) -> Answer:
        """Whether these candidates are the best ones, as many as they are."""
        named = list(candidates)
        if (self.worst[named] <= len(named)).all():
            return "yes"
        return "no" if (self.best[named] > len(named)).any() else "unknown"


def rank_intervals(differences: Floats, p: Floats, level: float = LEVEL) -> RankIntervals:
    """Return simultaneous intervals of the ranks of candidates that were compared pairwise.

    Pairs are corrected by Bonferroni: differences of candidates that share a reference and seeds depend on each other
    in ways that step-wise rules for directions are not proved for.

    Args:
        differences: candidate i − candidate j, points ``(candidates, candidates)``.
        p: two-sided p-value of each, of the same shape; NaN where nothing could be said, which separates no one.
        level: probability that all intervals hold.

    Raises:
        XstiltsError: matrices that are no pairwise comparisons.
    """
    count = len(differences)
    square = differences.shape == p.shape == (count, count) and count > 1
    if not square or not np.allclose(differences, -differences.T, atol=1e-9, equal_nan=True):
        raise fail("ranks", "needs differences and p-values of all pairs, i − j the opposite of j − i")
    separate = np.nan_to_num(p, nan=1.0) <= (1 - level) / (count * (count - 1) / 2)
    better = (separate & (differences > 0)).sum(axis=1)
    worse = (separate & (differences < 0)).sum(axis=1)
    return RankIntervals(1 + worse, count - better)
