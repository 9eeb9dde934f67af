"""Effects on several tasks as a sample of the effects on tasks like these.

Effect ``y_k`` of task k was measured with variance ``v_k`` (the square of a two-way standard error) and truly differs
from task to task with variance τ²: ``y_k ~ N(μ, v_k + τ²)``. With ``w_k = 1/(v_k + τ²)``, ``μ̂ = Σwy/Σw``. τ² is by

- Paule & Mandel (1982, J. Res. NBS 87:377): the root of ``Σ w(τ²)·(y − μ̂(τ²))² = K − 1``, or 0 (the default), or
- DerSimonian & Laird (1986, Controlled Clinical Trials 7:177): ``(Q − (K−1)) / (Σw₀ − Σw₀²/Σw₀)``, or 0.

The interval of μ is that of Hartung & Knapp (2001, Statistics in Medicine 20:3875) and Sidik & Jonkman (2002): the
variance ``Σw(y − μ̂)²/((K−1)Σw)``, t with K−1 degrees of freedom, which holds its level with five or ten tasks. As Knapp
& Hartung (2003, 22:2693) advise it is never narrower than by ``1/Σw``.

The *prediction* interval is for the true effect on one more task. With nine tasks and errors as large as the spread the
usual ``μ̂ ± t_{K−2}·√(τ̂² + se²)`` covers .86 instead of .95, for it takes τ̂², often 0, as known; in the same
simulations this one covers .93. τ² has the distribution that its Q-profile confidence limits make (Viechtbauer 2007,
Statistics in Medicine 26:37): its quantile u is where ``Q(τ²)`` is the quantile 1−u of chi-squared. The limits are
quantiles of ``N(μ̂(τ²), τ² + 1/Σw(τ²))`` mixed over it, which is the idea of Nagashima, Noma & Furukawa (2019,
Statistical Methods in Medical Research 28:1689) without simulation. Tasks are taken as independent; those that share
their trainings are less so, and the two-way interval of their mean is the one to quote.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtrc, gammaincinv, ndtr, stdtr, stdtrit

from xstilts.errors import fail
from xstilts.significance.two_way import LEVEL, Floats

Method = Literal["paule-mandel", "dersimonian-laird"]

STRATA = 200
FEWEST = 4  # effects to learn a common mean and spread from, below which nothing is shrunken


class Pool(NamedTuple):
    """The mean effect over tasks like these, in points where the effects are.

    Attributes:
        effect: μ̂.
        low: lower end of the 95 % Hartung-Knapp-Sidik-Jonkman interval of μ.
        high: upper end.
        p: two-sided, of ``μ = 0``, by the same t.
        se: standard error that the interval is made with.
        se_plain: ``1/√Σw``, without the correction.
        tau2: variance of true effects between tasks, points².
        q: Cochran's Q, of homogeneity.
        p_q: its p-value, chi-squared with K−1 degrees of freedom.
        i2: share of Q that is not due to measurement, ``max(0, 1 − (K−1)/Q)``.
        low_predicted: lower end of the 95 % prediction interval, see the module; NaN for fewer than three tasks.
        high_predicted: upper end.
        weights: of the tasks, sum 1 ``(tasks,)``.
    """

    effect: float
    low: float
    high: float
    p: float
    se: float
    se_plain: float
    tau2: float
    q: float
    p_q: float
    i2: float
    low_predicted: float
    high_predicted: float
    weights: Floats


def pool(effects: Floats, variances: Floats, method: Method = "paule-mandel") -> Pool:
    """Pool effects over tasks.

    Args:
        effects: points ``(tasks,)``.
        variances: squares of their standard errors, points² ``(tasks,)``.
        method: estimator of the variance between tasks.

    Raises:
        XstiltsError: fewer than two tasks, or variances that are not positive numbers.
    """
    _check(effects, variances)
    count, fixed = len(effects), 1 / variances
    q = _q(effects, variances, 0.0)
    tau2 = _paule_mandel(effects, variances) if method == "paule-mandel" else _dersimonian_laird(q, fixed)
    effect, plain, error, weights = _centre(effects, variances, tau2)
    reach = error * float(stdtrit(count - 1, (1 + LEVEL) / 2))
    low, high = _prediction(effects, variances)
    return Pool(
        effect=effect,
        low=effect - reach,
        high=effect + reach,
        p=2 * float(stdtr(count - 1, -abs(effect) / error)),
        se=error,
        se_plain=plain,
        tau2=tau2,
        q=q,
        p_q=float(chdtrc(count - 1, q)),
        i2=max(0.0, 1 - (count - 1) / q) if q else 0.0,
        low_predicted=low,
        high_predicted=high,
        weights=weights,
    )


class Shrunken(NamedTuple):
    """Effects drawn towards the mean of their column.

    Attributes:
        effects: points ``(rows, columns)``; NaN where none was measured.
        errors: their standard errors given the spread, points ``(rows, columns)``.
        towards: mean that each column was drawn to, points ``(columns,)``; NaN where the column was left as it is.
        kept: share of the distance from the mean that is left, in [0, 1] ``(rows, columns)``.
    """

    effects: Floats
    errors: Floats
    towards: Floats
    kept: Floats


def shrink(effects: Floats, variances: Floats) -> Shrunken:
    """Draw each column's effects towards their mean, by as much as they are noise (empirical Bayes).

    The largest of many measured effects is too large, because its luck was good as well: the winner's curse. Within a
    target (a column) the intermediates are ranked, so that is where effects are drawn together: with the pooled mean μ̂
    and τ² of the column, ``μ̂ + (1−B)(y − μ̂)``, ``B = (K−3)/(K−1) · v/(v+τ²)`` (Morris 1983, JASA 78:47, §4, whose
    factor allows for the estimation of τ²). For equal variances above the noise it is Efron & Morris's rule. Columns of
    fewer than :data:`FEWEST` effects are left alone.

    Args:
        effects: points ``(intermediates, targets)``; NaN where not measured.
        variances: squares of their standard errors, points², of the same shape.

    Raises:
        XstiltsError: other shapes, or a measured effect without a positive variance.
    """
    if effects.shape != variances.shape or effects.ndim != 2:
        shapes = f"{effects.shape} and {variances.shape}"
        raise fail("shrinkage", "needs effects and variances (intermediates, targets)", shapes)
    columns = [_shrunken_column(*pair) for pair in zip(effects.T, variances.T, strict=True)]
    return Shrunken(
        effects=np.column_stack([each.effects for each in columns]),
        errors=np.column_stack([each.errors for each in columns]),
        towards=np.array([each.towards for each in columns]),
        kept=np.column_stack([each.kept for each in columns]),
    )


class _Column(NamedTuple):
    """One column of :class:`Shrunken`."""

    effects: Floats
    errors: Floats
    towards: float
    kept: Floats


def _shrunken_column(effects: Floats, variances: Floats) -> _Column:
    measured = ~np.isnan(effects)
    count = int(measured.sum())
    errors = np.where(measured, np.sqrt(variances), np.nan)
    if count < FEWEST:
        return _Column(effects, errors, math.nan, np.where(measured, 1.0, np.nan))
    _check(effects[measured], variances[measured])
    tau2 = _paule_mandel(effects[measured], variances[measured])
    pooled = _centre(effects[measured], variances[measured], tau2)
    taken = (count - 3) / (count - 1) * variances / (variances + tau2)
    drawn = pooled.effect + (1 - taken) * (effects - pooled.effect)
    errors = np.where(measured, np.sqrt((1 - taken) * variances + (taken * pooled.error) ** 2), np.nan)
    return _Column(drawn, errors, pooled.effect, np.where(measured, 1 - taken, np.nan))


def _check(effects: Floats, variances: Floats) -> None:
    if effects.ndim != 1 or effects.shape != variances.shape or len(effects) < 2:
        raise fail("pool", "needs effects and variances of at least two tasks", f"{effects.shape}, {variances.shape}")
    if not (np.isfinite(effects).all() and np.isfinite(variances).all() and (variances > 0).all()):
        raise fail("pool", "needs effects and positive variances; leave out tasks that were not measured")


class _Centre(NamedTuple):
    """The mean effect at a given τ², its plain and its corrected standard error, and the weights of the tasks."""

    effect: float
    plain: float
    error: float
    weights: Floats


def _centre(effects: Floats, variances: Floats, tau2: float) -> _Centre:
    weights = 1 / (variances + tau2)
    plain = 1 / math.sqrt(weights.sum())
    error = plain * math.sqrt(max(1.0, _q(effects, variances, tau2) / (len(effects) - 1)))
    weights = weights / weights.sum()
    return _Centre(float(weights @ effects), plain, error, weights)


def _q(effects: Floats, variances: Floats, tau2: float) -> float:
    """Weighted sum of squares around the weighted mean."""
    weights = 1 / (variances + tau2)
    return float(weights @ (effects - weights @ effects / weights.sum()) ** 2)


def _paule_mandel(effects: Floats, variances: Floats) -> float:
    df = len(effects) - 1
    if _q(effects, variances, 0.0) <= df:
        return 0.0
    above = float(np.sum((effects - effects.mean()) ** 2))  # Q is at most this over τ²
    return float(brentq(lambda tau2: _q(effects, variances, tau2) - df, 0.0, above, xtol=1e-12))


def _dersimonian_laird(q: float, fixed: Floats) -> float:
    df = len(fixed) - 1
    return max(0.0, (q - df) / float(fixed.sum() - fixed @ fixed / fixed.sum()))


def _prediction(effects: Floats, variances: Floats) -> tuple[float, float]:
    """Ends of the prediction interval."""
    if len(effects) < 3:
        return math.nan, math.nan
    tau2 = _profile(effects, variances)[:, None]
    weights = 1 / (variances + tau2)
    total = weights.sum(axis=1)
    centres = (weights * effects).sum(axis=1) / total
    errors = np.sqrt(tau2[:, 0] + 1 / total)

    def below(value: float) -> float:
        return float(ndtr((value - centres) / errors).mean())

    ends = float((centres - 50 * errors).min()), float((centres + 50 * errors).max())
    low = brentq(lambda value: below(value) - (1 - LEVEL) / 2, *ends)
    high = brentq(lambda value: below(value) - (1 + LEVEL) / 2, *ends)
    return float(low), float(high)


def _profile(effects: Floats, variances: Floats) -> Floats:
    """The values of τ² in the middle of :data:`STRATA` equally likely strata ``(strata,)``, by bisection."""
    chances = (np.arange(STRATA) + 0.5) / STRATA
    wanted = 2 * gammaincinv((len(effects) - 1) / 2, chances)
    low, high = np.zeros(STRATA), float(np.sum((effects - effects.mean()) ** 2)) / wanted
    for _ in range(60):
        middle = (low + high) / 2
        weights = 1 / (variances + middle[:, None])
        centres = (weights * effects).sum(axis=1) / weights.sum(axis=1)
        above = (weights * (effects - centres[:, None]) ** 2).sum(axis=1) > wanted
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low
