"""Exact sign-flip test of two models on the same examples: could the difference be luck with these examples?

If two models are equally good, each cluster's difference ``d_c`` could as well have had the other sign. The test
compares ``T = Σ_c d_c`` with its distribution over all ``2^C`` sign patterns (Noreen 1989, approximate randomisation;
Yeh 2000, §3). It speaks of the very models that were compared, never of a way of training: seeds have no part in it.

The distribution is not sampled where it can be computed. Whole numbers are convolved by FFT. The distribution is tilted
first so that its mean is the observed value (Esscher 1932), and tilted back after, which keeps ``p`` exact to about ten
digits down to 1e-308; without it, rounding would swamp everything below 1e-13. Fractions are enumerated where few
clusters differ, and sampled only where many do. Of 0/1 outcomes with one example per cluster it is McNemar's test
(1947), which has formulas of its own (:func:`mcnemar`).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len
from scipy.optimize import brentq
from scipy.special import chdtrc, expit
from scipy.stats import binom

from xstilts.errors import fail

Method = Literal["convolved", "enumerated", "sampled"]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID = 2**22  # points of the convolution: 64 MiB
FEW = 20  # clusters whose sign patterns are enumerated: a million sums
SAMPLES = 10_000
ROWS = 500  # patterns sampled at a time
TIES = 1e-9  # of Σ|d|: sums of fractions that differ by less are equal
NEGLIGIBLE = -60.0  # natural logarithm of a Fourier coefficient that no longer counts


class SignFlip(NamedTuple):
    """How often random signs do as well.

    Attributes:
        statistic: ``Σ_c d_c``, in the unit of the differences.
        p: two-sided, ``P(|T| ≥ |observed|)``.
        p_greater: one-sided, of "the candidate is no better".
        p_less: one-sided, of "the candidate is no worse".
        smallest_p: smallest two-sided p that so many differing clusters, or so many samples, can attain.
        clusters: clusters that differ; the others say nothing.
        method: how the distribution was found.
    """

    statistic: float
    p: float
    p_greater: float
    p_less: float
    smallest_p: float
    clusters: int
    method: Method


class McNemar(NamedTuple):
    """McNemar's test of two classifiers by the examples that only one of them got right.

    Attributes:
        p: exact, from the binomial distribution; equals :func:`sign_flip`.
        mid_p: counts the observed table by half, which takes away the conservatism of ``p`` (Fagerland et al. 2013).
        chi2: statistic with Edwards' correction for continuity; NaN without discordant examples.
        p_chi2: its p.
        p_uncorrected: p of the statistic without the correction.
        odds_ratio: of the discordant examples; infinite or NaN where the reference has none.
    """

    p: float
    mid_p: float
    chi2: float
    p_chi2: float
    p_uncorrected: float
    odds_ratio: float


def smallest_p(clusters: int) -> float:
    """Smallest two-sided p that so many differing clusters, or paired runs, can attain: ``2 / 2^clusters``."""
    return min(1.0, 2.0 ** (1 - clusters))


def differences(candidate: tuple[Floats, Floats], reference: tuple[Floats, Floats], clusters: Integers) -> Floats:
    """Return what each cluster contributes to the difference of two ratio scores, ready for :func:`sign_flip`.

    With the common ratio ``r = (Σnum₁ + Σnum₀) / (Σden₁ + Σden₀)`` of the null hypothesis an example contributes
    ``(num₁ − num₀) − r · (den₁ − den₀)``. Exchanging the systems in every example changes the sign and nothing else,
    the sum is zero where the scores are equal, and equal denominators (accuracy) leave whole numbers whole.

    Args:
        candidate: numerator and denominator ``(examples,)`` each, summed over seeds if there are several.
        reference: the same of the other system, with as many seeds.
        clusters: cluster code of each example ``(examples,)``.

    Returns:
        ``(clusters,)`` in the order of ascending codes, in units of the numerator.

    Raises:
        XstiltsError: nothing was scored.
    """
    (above, below), (other_above, other_below) = candidate, reference
    total = below.sum() + other_below.sum()
    if not total > 0:
        raise fail("sign-flip test", "nothing was scored: the denominators sum to zero")
    common = (above.sum() + other_above.sum()) / total
    moves = (above - other_above) - common * (below - other_below)
    _, where = np.unique(clusters, return_inverse=True)
    return np.asarray(np.bincount(where, weights=moves), dtype=float)


def sign_flip(values: Floats, samples: int = SAMPLES, seed: int = 0) -> SignFlip:
    """Test whether differences scatter around zero symmetrically.

    Args:
        values: difference of each cluster ``(clusters,)``.
        samples: sign patterns to draw where they cannot all be counted.
        seed: of these draws; the same seed gives the same p.

    Raises:
        XstiltsError: a difference is not a finite number.
    """
    values = np.asarray(values, dtype=float)
    if not np.isfinite(values).all():
        raise fail("sign-flip test", "a difference is not a finite number")
    sizes = np.abs(values[values != 0])
    observed, count = float(values.sum()), len(sizes)
    if count == 0:
        return SignFlip(0.0, 1.0, 1.0, 1.0, 1.0, 0, "convolved")
    if np.array_equal(sizes, np.rint(sizes)) and sizes.sum() / _step(sizes) < GRID:
        return _exact(_convolved(sizes, abs(observed)), observed, count, "convolved")
    if count <= FEW:
        return _exact(_enumerated(sizes, abs(observed)), observed, count, "enumerated")
    return _sampled(sizes, observed, samples, seed)


def mcnemar(only_candidate: int, only_reference: int) -> McNemar:
    """Compare two classifiers by the examples that one got right and the other wrong.

    Args:
        only_candidate: number of examples that only the candidate got right.
        only_reference: number of examples that only the reference got right.
    """
    total = only_candidate + only_reference
    gap, fewer = abs(only_candidate - only_reference), min(only_candidate, only_reference)
    p = min(1.0, 2.0 * float(binom.cdf(fewer, total, 0.5)))
    middle = min(1.0, 2.0 * float(binom.cdf(fewer, total, 0.5) - 0.5 * binom.pmf(fewer, total, 0.5)))
    with np.errstate(invalid="ignore", divide="ignore"):  # no discordant examples: NaN
        odds = float(np.divide(only_candidate, only_reference))
        corrected, plain = (float(np.divide(max(0, gap - off) ** 2, total)) for off in (1, 0))
    return McNemar(p, middle, corrected, float(chdtrc(1, corrected)), float(chdtrc(1, plain)), odds)


# ------------------------------------------------------------------------------------------------ distributions

Tail = tuple[float, float]  # P(T ≥ |observed|) and P(T = |observed|)


def _exact(tail: Tail, observed: float, count: int, method: Method) -> SignFlip:
    """The distribution is symmetric, so the upper tail at |observed| tells the rest."""
    upper, lower = min(1.0, tail[0]), min(1.0, 1.0 - tail[0] + tail[1])
    greater, less = (upper, lower) if observed >= 0 else (lower, upper)
    return SignFlip(observed, min(1.0, 2.0 * tail[0]), greater, less, smallest_p(count), count, method)


def _step(sizes: Floats) -> int:
    return int(np.gcd.reduce(sizes.astype(np.int64)))


def _convolved(sizes: Floats, observed: float) -> Tail:
    """Whole numbers: the distribution of ``T = 2K − Σ|d|``, where ``K`` sums the sizes whose sign is positive."""
    step = _step(sizes)
    values, counts = np.unique(sizes.astype(np.int64) // step, return_counts=True)
    total, target = int(values @ counts), round(observed / step)
    if target == total:  # all signs agree: one pattern
        chance = 2.0 ** -float(counts.sum())
        return chance, chance
    # the tilt exp(θT) that moves the mean, Σ n·v·tanh(θv), to the observed value
    tilt = brentq(lambda theta: float(counts @ (values * np.tanh(theta * values))) - target, 0.0, 20.0)
    points = next_fast_len(total + 1, real=True)
    tilted = irfft(_spectrum(values, counts, tilt, points), points)[(total + target) // 2 : total + 1]
    scale = float(counts @ (np.logaddexp(0.0, 2.0 * tilt * values) - tilt * values - math.log(2.0))) - tilt * target
    least = float(tilted @ np.exp(-2.0 * tilt * np.arange(len(tilted))))
    return math.exp(scale) * least, math.exp(scale) * float(tilted[0])


def _spectrum(values: Integers, counts: Integers, tilt: float, points: int) -> NDArray[np.complex128]:
    """Fourier transform of the tilted distribution of ``K``, ``(points // 2 + 1,)``.

    A factor is ``(1 − q + q·exp(−iyv))^n`` with ``q = 1 / (1 + exp(−2θv))``. Frequencies where the product has become
    negligible are dropped on the way; after the most frequent sizes few are left.
    """
    kept = np.arange(points // 2 + 1)
    size, phase = np.zeros(len(kept)), np.zeros(len(kept))
    for place in np.argsort(-counts * values.astype(float)):
        value, count = int(values[place]), int(counts[place])
        share = float(expit(2.0 * tilt * value))
        angle = (2.0 * np.pi / points) * (kept * value % points)
        cosine = np.cos(angle)
        with np.errstate(divide="ignore"):  # an exact zero
            size += 0.5 * count * np.log(np.maximum(0.0, 1.0 - 2.0 * share * (1.0 - share) * (1.0 - cosine)))
        phase -= count * np.arctan2(share * np.sin(angle), 1.0 - share * (1.0 - cosine))
        counts_still = size > NEGLIGIBLE
        kept, size, phase = kept[counts_still], size[counts_still], phase[counts_still]
    spectrum = np.zeros(points // 2 + 1, np.complex128)
    spectrum[kept] = np.exp(size + 1j * phase)
    return spectrum


def _enumerated(sizes: Floats, observed: float) -> Tail:
    """All sign patterns; sums that agree but for rounding are equal."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    near = TIES * sizes.sum()
    return float(np.mean(sums >= observed - near)), float(np.mean(np.abs(sums - observed) <= near))


def _sampled(sizes: Floats, observed: float, samples: int, seed: int) -> SignFlip:
    """Some sign patterns; the observed one counts as one of them, so that no p is zero (Phipson & Smyth 2010)."""
    rng = np.random.default_rng(seed)
    total, width = float(sizes.sum()), -(-len(sizes) // 8)
    weights = (sizes / total).astype(np.float32)
    sums = np.empty(samples)
    for first in range(0, samples, ROWS):
        rows = min(ROWS, samples - first)
        packed = np.frombuffer(rng.bytes(rows * width), np.uint8).reshape(rows, width)
        positive = np.unpackbits(packed, axis=1, count=len(sizes)).astype(np.float32) @ weights
        sums[first : first + rows] = 2.0 * positive - 1.0
    bound, near = observed / total, 1e-6  # single precision
    tails = (np.abs(sums) >= abs(bound) - near, sums >= bound - near, sums <= bound + near)
    p, greater, less = ((1 + int(np.count_nonzero(tail))) / (1 + samples) for tail in tails)
    floor = max(smallest_p(len(sizes)), 1 / (1 + samples))
    return SignFlip(observed, p, greater, less, floor, len(sizes), "sampled")
