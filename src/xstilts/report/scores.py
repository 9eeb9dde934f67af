"""Scores: every ratio of every metric, by system, intermediate task, target, language and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xstilts.results import Entry, Results
from xstilts.spec import SOURCE_LANGUAGE


class Score(NamedTuple):
    """One score in percent: a row of ``scores.csv``.

    Attributes:
        metric: name of the ratio.
        predict: key of the prediction in the store; equal for seeds that share it.
    """

    system: str
    intermediate: str | None
    target: str
    language: str
    metric: str
    seed: int
    score: float
    examples: int
    predict: str


def scores(results: Results) -> list[Score]:
    """Score every cell that was run."""
    rows: list[Score] = []
    for entry, cells in results.cells.items():
        panel = results.panels[entry.target]
        for seed, cell in cells.items():
            for language, part in panel.rows.items():
                stats = results.stats[cell.predict][part]
                sums = stats.sum(axis=0).tolist()
                rows += [
                    Score(*entry, language, ratio.name, seed, ratio.of(sums), len(stats), cell.predict)
                    for ratio in panel.metric.ratios
                ]
    return rows


@dataclass(frozen=True)
class Board:
    """Scores averaged over seeds.

    Attributes:
        means: (entry, ratio) → language → mean over seeds, in percent.
        seeds: entry → number of seeds.
    """

    means: Mapping[tuple[Entry, str], Mapping[str, float]]
    seeds: Mapping[Entry, int]

    def mean(self, entry: Entry, ratio: str, languages: Iterable[str]) -> float:
        """Macro average over languages in percent; NaN if the entry was not run."""
        row = self.means.get((entry, ratio), {})
        return macro(row, languages)


def board(rows: Iterable[Score]) -> Board:
    """Average scores over seeds."""
    values: dict[tuple[Entry, str], dict[str, list[float]]] = {}
    seeds: dict[Entry, set[int]] = {}
    for row in rows:
        entry = Entry(row.system, row.intermediate, row.target)
        values.setdefault((entry, row.metric), {}).setdefault(row.language, []).append(row.score)
        seeds.setdefault(entry, set()).add(row.seed)
    means = {
        name: {language: float(np.mean(each)) for language, each in languages.items()}
        for name, languages in values.items()
    }
    return Board(means, {entry: len(each) for entry, each in seeds.items()})


def macro(row: Mapping[str, float], languages: Iterable[str]) -> float:
    """Mean over languages; NaN where one is missing."""
    return float(np.mean([row.get(language, np.nan) for language in languages] or [np.nan]))


def zero_shot(languages: Iterable[str]) -> tuple[str, ...]:
    """Languages without labelled training data."""
    return tuple(language for language in languages if language != SOURCE_LANGUAGE)
