"""Which of several intermediates is the best, decided without a look at the test set.

Each seed takes the intermediate with the highest mean dev score over the *other* seeds. Choosing on dev alone is not
enough: a run that is lucky is lucky on both sets, so the choice would pick runs as well as intermediates, and score the
luck. Left out of its own choice, a seed's score is an unbiased one of "choose on dev, then train".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Name = TypeVar("Name")


def choose(
    dev: Mapping[tuple[str, Name, int], float],
    targets: Sequence[str],
    names: Sequence[Name],
    seeds: Sequence[int],
    per_target: bool,
) -> dict[str, dict[int, Name]] | None:
    """Choose for every target and seed.

    Args:
        dev: (target, intermediate, seed) → dev score; a target without dev rows, such as retrieval, has none.
        targets: to choose for.
        names: of the intermediates; of equals the first is taken.
        seeds: that every intermediate was run with on every target.
        per_target: whether each target has its own choice. One without dev scores takes the best over the others.

    Returns:
        Target → seed → name; None where there is nothing to choose by.
    """
    scored = [target for target in targets if all((target, name, seed) in dev for name in names for seed in seeds)]
    if not scored or not seeds:
        return None
    return {
        target: {
            seed: _best(dev, [target] if per_target and target in scored else scored, names, _others(seeds, seed))
            for seed in seeds
        }
        for target in targets
    }


def _others(seeds: Sequence[int], seed: int) -> list[int]:
    """All seeds but one; of a single seed that one, which then speaks of these very models only."""
    return [each for each in seeds if each != seed] or [seed]


def _best(
    dev: Mapping[tuple[str, Name, int], float], targets: Sequence[str], names: Sequence[Name], seeds: Sequence[int]
) -> Name:
    means = [np.mean([dev[target, name, seed] for target in targets for seed in seeds]) for name in names]
    return names[int(np.argmax(means))]
