"""From an estimate to a verdict: the rules, and nothing else.

Every rule reads one two-way interval of the claim's level, 95 % for α = .05; equivalence reads the 90 % one, which is
two one-sided tests of α each. In the order in which they are tried:

    superiority      supported          low > 0; "practically relevant" if low > sesoi, "but smaller" if high < sesoi
                     refuted            high < sesoi: an effect worth having is excluded
    non-inferiority  supported          low > −margin                 refuted  high < −margin
    equivalence      supported          −margin < low, high < margin  refuted  low > margin or high < −margin
    … no gain        supported          high < margin                 refuted  low > margin
    magnitude        supported          value − tolerance < low, high < value + tolerance
                     refuted            the interval and that band do not meet
                     compatible         the value is in the interval
    minimal effect   supported          low > bound                   refuted  high < bound

and otherwise *inconclusive*: *underpowered* if the smallest difference that is found with 80 % probability, at the
noise that was seen, is above the effect that was preset (SESOI, margin, tolerance or bound), else *near the boundary*.
The effect that was observed plays no part in it (Hoenig & Heisey 2001, The American Statistician 55:19).

"Supported" also has to survive Holm's correction over the confirmatory family; its p-value is scaled so that ``p ≤ α``
is the same event as the rule above.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from scipy.special import stdtr, stdtrit

from xstilts.claims.model import Ahead, Equivalence, Magnitude, MinimalEffect, NonInferiority, Simple, Superiority
from xstilts.significance.contrast import Contrast
from xstilts.significance.power import POWER, minimum_detectable, seeds_to_settle


class Verdict(StrEnum):
    """What became of a hypothesis."""

    RELEVANT = "supported, practically relevant"
    SUPPORTED = "supported"
    SMALL = "supported, but smaller than SESOI"
    REFUTED = "refuted"
    COMPATIBLE = "compatible"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"
    ARTEFACT = "artefact-level evidence only"

    @property
    def is_support(self) -> bool:
        """Whether the claim may be said to hold."""
        return self in (Verdict.RELEVANT, Verdict.SUPPORTED, Verdict.SMALL)


class Reason(StrEnum):
    """Why there is no firmer verdict."""

    NONE = ""
    UNDERPOWERED = "underpowered"
    NEAR = "near the boundary"
    CORRECTED = "not after correction for the number of claims"
    NO_VARIANCE = "the data show no variance"
    NO_GAIN = "no gain of the reference is shown that could be kept"
    NOT_RUN = "cells were not run"
    FEW_SEEDS = "fewer seeds than the claim asks for"
    ONE_SEED = "one seed"
    NO_STUDY = "another study is needed"
    NO_LANGUAGE = "no target has the language"
    NO_DEV = "no dev scores to choose by"


class Limits(NamedTuple):
    """An interval, in points."""

    low: float
    high: float


def level(hypothesis: Simple, alpha: float) -> float:
    """Confidence of the interval that decides."""
    return 1 - (2 * alpha if isinstance(hypothesis, Equivalence) else alpha)


def limits(found: Contrast, confidence: float) -> Limits:
    """The interval of a contrast at any confidence; of no width for the same predictions, NaN without variance."""
    interval = found.interval
    if not interval.se > 0:
        return Limits(interval.low, interval.high)
    reach = interval.se * float(stdtrit(interval.df, (1 + confidence) / 2))
    return Limits(interval.difference - reach, interval.difference + reach)


def p_value(hypothesis: Simple, found: Contrast) -> float:
    """The p-value of "it does not hold", such that ``p ≤ α`` is what the rule asks for; NaN without variance."""
    if isinstance(hypothesis, Superiority | Ahead):
        return _two(_above(found, 0.0))
    if isinstance(hypothesis, NonInferiority):
        return _two(_above(found, -hypothesis.margin))
    if isinstance(hypothesis, MinimalEffect):
        return _two(_above(found, hypothesis.bound))
    if isinstance(hypothesis, Magnitude):
        value, reach = hypothesis.value, hypothesis.tolerance
        return _two(_larger(_above(found, value - reach), _below(found, value + reach)))
    under = _below(found, hypothesis.margin)
    return under if hypothesis.side == "no gain" else _larger(under, _above(found, -hypothesis.margin))


def preset(hypothesis: Simple) -> float:
    """The effect, in points, that an experiment must be able to show for the hypothesis to be worth testing."""
    if isinstance(hypothesis, Superiority | Ahead):
        return hypothesis.sesoi
    if isinstance(hypothesis, NonInferiority | Equivalence):
        return hypothesis.margin
    return hypothesis.tolerance if isinstance(hypothesis, Magnitude) else hypothesis.bound


def detectable(hypothesis: Simple, found: Contrast, alpha: float) -> float:
    """Smallest difference, in points, that is found with 80 % probability, whatever was; NaN where it is not known.

    For equivalence and magnitude it is the smallest room on either side.
    """
    return minimum_detectable(found.noise, _wanted(hypothesis), level(hypothesis, alpha))


def seeds_needed(hypothesis: Simple, found: Contrast, alpha: float) -> int | None:
    """Number of seeds per system with which the preset effect would be found; None if no number will do."""
    return seeds_to_settle(found.noise, preset(hypothesis), _wanted(hypothesis), level(hypothesis, alpha))


def _wanted(hypothesis: Simple) -> float:
    """Power; where both ends of the interval have to keep a distance, each may fail half as often."""
    both = isinstance(hypothesis, Magnitude) or (isinstance(hypothesis, Equivalence) and hypothesis.side == "both")
    return (1 + POWER) / 2 if both else POWER


def judge(hypothesis: Simple, interval: Limits, mde: float) -> tuple[Verdict, Reason]:
    """Apply the rules; the correction for the number of claims comes after.

    Args:
        hypothesis: what was claimed.
        interval: of the confidence that :func:`level` says.
        mde: what :func:`detectable` says.
    """
    low, high = interval
    if math.isnan(low):
        return Verdict.INCONCLUSIVE, Reason.NO_VARIANCE
    verdict = _rule(hypothesis, low, high)
    if verdict not in (Verdict.INCONCLUSIVE, Verdict.COMPATIBLE):
        return verdict, Reason.NONE
    return verdict, Reason.UNDERPOWERED if mde > preset(hypothesis) else Reason.NEAR


def _rule(hypothesis: Simple, low: float, high: float) -> Verdict:
    if isinstance(hypothesis, Superiority):
        return _superior(hypothesis.sesoi, low, high)
    if isinstance(hypothesis, Ahead):
        return _either(low > 0, high < 0)
    if isinstance(hypothesis, NonInferiority):
        return _either(low > -hypothesis.margin, high < -hypothesis.margin)
    if isinstance(hypothesis, MinimalEffect):
        return _either(low > hypothesis.bound, high < hypothesis.bound)
    if isinstance(hypothesis, Equivalence):
        margin = hypothesis.margin
        if hypothesis.side == "no gain":
            return _either(high < margin, low > margin)
        return _either(-margin < low and high < margin, low > margin or high < -margin)
    least, most = hypothesis.value - hypothesis.tolerance, hypothesis.value + hypothesis.tolerance
    verdict = _either(least < low and high < most, high < least or low > most)
    inside = low <= hypothesis.value <= high
    return Verdict.COMPATIBLE if verdict == Verdict.INCONCLUSIVE and inside else verdict


def _superior(sesoi: float, low: float, high: float) -> Verdict:
    if low > 0:
        return Verdict.RELEVANT if low > sesoi else Verdict.SMALL if high < sesoi else Verdict.SUPPORTED
    return Verdict.REFUTED if high < sesoi else Verdict.INCONCLUSIVE


def _either(supported: bool, refuted: bool) -> Verdict:
    return Verdict.SUPPORTED if supported else Verdict.REFUTED if refuted else Verdict.INCONCLUSIVE


def _above(found: Contrast, bound: float) -> float:
    """One-sided p of "not above the bound"."""
    interval = found.interval
    room = interval.difference - bound
    if interval.se > 0:
        return float(stdtr(interval.df, -room / interval.se))
    return math.nan if math.isnan(interval.low) else float(room <= 0)


def _below(found: Contrast, bound: float) -> float:
    """One-sided p of "not below the bound"."""
    interval = found.interval
    room = bound - interval.difference
    if interval.se > 0:
        return float(stdtr(interval.df, -room / interval.se))
    return math.nan if math.isnan(interval.low) else float(room <= 0)


def _two(p: float) -> float:
    """On the scale of a two-sided test; NaN stays NaN."""
    return p if math.isnan(p) else min(1.0, 2 * p)


def _larger(one: float, other: float) -> float:
    return math.nan if math.isnan(one) else max(one, other)
