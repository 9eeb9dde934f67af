"""Exact permutation of run labels: could the runs of two systems have been dealt out by chance?

If two ways of training are equally good, every split of the ``S₁ + S₀`` runs into two groups was as likely as the one
observed (Fisher 1935, §21). All splits are counted, so the p-value is exact whatever the distribution of scores, but it
knows nothing of examples, and its smallest value depends on the number of runs alone: .1 for 3 against 3 seeds, .0079
for 5 against 5. It is the distribution-free row beside the two-way interval, which uses runs and examples.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xstilts.errors import fail

Floats = NDArray[np.float64]

MOST = 1_000_000  # splits; 11 against 11 runs are 705,432
TIES = 1e-9  # of the largest score: differences nearer than this are equal


class RunPermutation(NamedTuple):
    """How many splits of the runs differ as much.

    Attributes:
        difference: mean score of the candidate's runs − of the reference's, in points.
        p: two-sided.
        p_greater: one-sided, of "the candidate is no better".
        p_less: one-sided, of "the candidate is no worse".
        smallest_p: smallest two-sided p that so many runs can attain.
        splits: number of splits counted.
    """

    difference: float
    p: float
    p_greater: float
    p_less: float
    smallest_p: float
    splits: int


def smallest_p(candidate: int, reference: int) -> float:
    """Smallest two-sided p that so many runs of each system can attain.

    With as many runs on both sides every split has a mirror image that differs as much the other way.
    """
    extreme = 2 if candidate == reference else 1
    return min(1.0, extreme / math.comb(candidate + reference, candidate))


def run_permutation(candidate: Floats, reference: Floats) -> RunPermutation:
    """Compare the scores of the runs of two systems, unpaired.

    For runs that are paired, :func:`xstilts.significance.sign_flip.sign_flip` of their differences is the test.

    Args:
        candidate: score of each run, in percent ``(seeds,)``.
        reference: the same ``(other seeds,)``.

    Raises:
        XstiltsError: a side has no runs, a score is not a finite number, or there are more than a million splits.
    """
    ours, theirs = len(candidate), len(reference)
    scores = np.concatenate([candidate, reference]).astype(float)
    if not (ours and theirs) or not np.isfinite(scores).all():
        raise fail("permutation of runs", "both systems need at least one run, and every run a finite score")
    splits = math.comb(ours + theirs, ours)
    if splits > MOST:
        what = f"too many splits to count; at most {MOST:,}, use the two-way interval"
        raise fail("permutation of runs", what, f"{ours} against {theirs} runs")
    centred = scores - scores.mean()
    groups = np.fromiter(itertools.combinations(range(ours + theirs), ours), np.dtype((np.intp, ours)), splits)
    sums = centred[groups].sum(axis=1)  # the difference of means is a multiple of it; the observed split comes first
    near = TIES * float(np.abs(scores).max())
    tails = (np.abs(sums) >= abs(sums[0]) - near, sums >= sums[0] - near, sums <= sums[0] + near)
    p, greater, less = (float(np.mean(tail)) for tail in tails)
    difference = float(np.mean(candidate) - np.mean(reference))
    return RunPermutation(difference, p, greater, less, smallest_p(ours, theirs), splits)
