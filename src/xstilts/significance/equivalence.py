"""Non-inferiority, equivalence and "no gain": claims that an absence of significance does not prove.

Each needs a margin that was fixed before the runs. With an estimate, its standard error and degrees of freedom (from
:func:`xstilts.significance.two_way.two_way`), a bound ``b`` is tested by ``t = (difference − b) / se``:

    non-inferiority   difference > −margin                one-sided, level .025: the 95 % interval ends above −margin
    no gain           difference <  margin                one-sided, level .025: the 95 % interval ends below margin
    equivalence       −margin < difference < margin       two one-sided tests at .05 each: the 90 % interval is inside

The last is TOST (Schuirmann 1987); its p is the larger of the two. The standard error must contain seeds *and*
examples: one from seeds alone finds parity too often, the more so the more seeds there are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL

Floats = NDArray[np.float64]

ONE_SIDED = (1 - LEVEL) / 2  # of non-inferiority and no gain, so that they agree with the two-sided interval
EACH_SIDE = 1 - LEVEL  # of each of TOST's two tests


class Shown(NamedTuple):
    """A claim about a margin, tested.

    Attributes:
        p: of "the claim is false"; NaN without a standard error.
        low: lower end of the interval that decides, in points; −∞ where only the upper end does.
        high: upper end, likewise.
        holds: whether the claim is shown at the level.
    """

    p: float
    low: float
    high: float
    holds: bool


class Sample(NamedTuple):
    """A difference of means.

    Attributes:
        difference: candidate − reference, in the unit of the scores.
        se: its standard error.
        df: degrees of freedom.
    """

    difference: float
    se: float
    df: float


def non_inferiority(difference: float, se: float, df: float, margin: float, level: float = ONE_SIDED) -> Shown:
    """Test whether the candidate is worse by less than a margin.

    Args:
        difference: candidate − reference, in points.
        se: its standard error, in points; 0 and NaN say that there is none.
        df: degrees of freedom.
        margin: in points, positive.
        level: of the one-sided test.

    Raises:
        XstiltsError: the margin is not positive.
    """
    p = _p(_margin(margin) + difference, se, df)
    return Shown(p, difference - _reach(se, df, level), math.inf, p <= level)


def no_gain(difference: float, se: float, df: float, margin: float, level: float = ONE_SIDED) -> Shown:
    """Test whether the candidate is better by less than a margin; arguments as in :func:`non_inferiority`.

    Raises:
        XstiltsError: the margin is not positive.
    """
    p = _p(_margin(margin) - difference, se, df)
    return Shown(p, -math.inf, difference + _reach(se, df, level), p <= level)


def equivalence(difference: float, se: float, df: float, margin: float, level: float = EACH_SIDE) -> Shown:
    """Test whether the systems differ by less than a margin in either direction.

    Args:
        difference: candidate − reference, in points.
        se: its standard error, in points; 0 and NaN say that there is none.
        df: degrees of freedom.
        margin: in points, positive.
        level: of each of the two tests, and of the whole.

    Raises:
        XstiltsError: the margin is not positive.
    """
    p = _p(_margin(margin) - abs(difference), se, df)  # the nearer margin has the larger p
    reach = _reach(se, df, level)
    return Shown(p, difference - reach, difference + reach, p <= level)


def paired_samples(candidate: Floats, reference: Floats) -> Sample:
    """Difference of means of pairs ``(pairs,)``, with Student's standard error."""
    each = np.asarray(candidate, dtype=float) - np.asarray(reference, dtype=float)
    return Sample(float(each.mean()), float(each.std(ddof=1)) / math.sqrt(len(each)), len(each) - 1)


def independent_samples(candidate: Floats, reference: Floats) -> Sample:
    """Difference of means of two groups ``(ones,)`` and ``(others,)``, with the pooled standard error."""
    groups = [np.asarray(each, dtype=float) for each in (candidate, reference)]
    df = sum(len(each) - 1 for each in groups)
    pooled = sum(float(((each - each.mean()) ** 2).sum()) for each in groups) / df
    error = math.sqrt(pooled * sum(1 / len(each) for each in groups))
    return Sample(float(groups[0].mean() - groups[1].mean()), error, df)


def _margin(margin: float) -> float:
    if not margin > 0:
        raise fail("margin", "must be a positive number of points", str(margin))
    return margin


def _p(room: float, se: float, df: float) -> float:
    """One-sided p of a difference that keeps ``room`` points from the margin."""
    return float(stdtr(df, -room / se)) if se > 0 else math.nan


def _reach(se: float, df: float, level: float) -> float:
    return se * float(stdtrit(df, 1 - level)) if se > 0 else math.nan
