"""In how many of n languages or tasks does a claim hold, at least?

The partial conjunction hypothesis "it holds in fewer than ``u`` of ``n``" has, whatever the dependence of the tests,
the p-value ``(n − u + 1) · p_(u)`` with ``p_(1) ≤ … ≤ p_(n)`` (Benjamini & Heller 2008; Dror et al. 2017, TACL 5:471).
The count is the largest ``u`` up to which all of these are small: with confidence ``1 − level`` the claim holds in at
least so many. Languages and tasks share seeds, and parallel languages share examples, so their tests are dependent;
Fisher's variant, which assumes independence, overstates the count.

Made monotone in ``u``, these p-values are those of Holm in ascending order. So the count comes with names: Holm rejects
just as many, and the probability that one of the named is false is at most ``level``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xstilts.significance.multiplicity import holm

Floats = NDArray[np.float64]

LEVEL = 0.05


class PartialConjunction(NamedTuple):
    """In how many, and in which.

    Attributes:
        at_least: the claim holds in so many, or more.
        tested: of how many; those that were not tested are left out.
        p_at_least: p of "it holds in fewer than u", for u = 1 to ``tested`` ``(tested,)``.
        named: places of those in which it holds, ascending.
    """

    at_least: int
    tested: int
    p_at_least: Floats
    named: tuple[int, ...]


def partial_conjunction(p: Sequence[float] | Floats, level: float = LEVEL) -> PartialConjunction:
    """Count the languages or tasks in which a claim holds.

    Args:
        p: p-value of each, one-sided where the claim has a direction ``(n,)``; NaN where it was not tested.
        level: probability of overstating the count, and of naming a wrong one, that is accepted.

    Raises:
        XstiltsError: a p-value is outside 0 to 1.
    """
    adjusted = holm(p)
    named = tuple(np.flatnonzero(adjusted <= level).tolist())
    ordered = np.sort(adjusted[~np.isnan(adjusted)])
    return PartialConjunction(len(named), len(ordered), ordered, named)
