"""Every system side by side: what it scores on average, and how much has to be kept for it.

A system that uses its intermediates one at a time stands here with the mean over them, and with the one that is best on
dev. Parameters are those of modules and heads that a prediction reads: of a target by itself, and of what several
targets share, which is stored once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from xstilts.compare import average
from xstilts.estimands import ZERO_SHOT, Estimand, primary
from xstilts.report.figures import Dot, dots
from xstilts.report.tables import Cell, Row, Table
from xstilts.report.words import (
    ABSENT,
    MODELS_ONLY,
    NO_BREAK,
    duration,
    plural,
    points,
    quantity,
    together,
)
from xstilts.results import Entry, Results
from xstilts.schema import CellRecord
from xstilts.significance.two_way import Estimate
from xstilts.study import System

COLUMNS = (
    "system",
    "intermediates",
    "of",
    "target",
    "language",
    "score",
    "low",
    "high",
    "se",
    "scope",
    "seeds",
    "stored_per_target",
    "stored_shared",
    "seconds",
)
TITLE = "Scores and what has to be kept"
CAPTION = (
    "Lines are 95 % intervals of one score by itself, over seeds and test examples. Two that overlap may belong to "
    "systems that differ: all are tested on the same examples, whose luck cancels in a difference. Which differ is "
    "told under Differences. Per target: the mean over targets of the module and head that only this target needs. "
    "Shared: what several targets read and is stored once, such as the intermediates under a stack. Time: of all "
    "trainings behind one seed of every target."
)
CHOSEN = (
    "Mean of several: of just these intermediates. Best on dev: the intermediate with the highest mean of English dev "
    "scores over the targets; no test score takes part in the choice. Its interval is that of the chosen one, and its "
    "time does not count the others that it was chosen from."
)
ONE_SEED = f"{MODELS_ONLY} One seed: the interval counts examples only and speaks of these very models."


class Composition(NamedTuple):
    """One way to use intermediates, or none.

    Attributes:
        intermediates: names as in the result; empty without.
        of: what the score is of: the one thing there is, the mean over intermediates, or the best of them on dev.
        estimate: None where a cell was not run; then the rest is not known either.
        per_target: stored parameters of one target's own modules and head, the mean over targets.
        shared: stored parameters of what several targets read.
        seconds: of all trainings behind one seed of every target.
        failed: trainings that collapsed or diverged.
    """

    system: str
    label: str
    intermediates: tuple[str, ...]
    of: Literal["one", "mean", "best on dev"]
    estimate: Estimate | None = None
    seeds: int = 0
    per_target: float = math.nan
    shared: float = math.nan
    seconds: float = math.nan
    failed: int = 0

    @property
    def name(self) -> str:
        """What tells a row from others in a table or a figure."""
        if self.of == "mean":
            return f"{self.label} " + f"· mean of {len(self.intermediates)}".replace(" ", NO_BREAK)
        rest = "".join(" " + f"· {together(name)}".replace(" ", NO_BREAK) for name in self.intermediates)
        return f"{self.label}{rest}" + (", best on dev" if self.of == "best on dev" else "")

    @property
    def shown(self) -> str:
        """The score with its interval."""
        if self.estimate is None:
            return "not run"
        low, high = bounds(self.estimate)
        if math.isnan(low):
            return f"{points(self.estimate.score)} [not estimable]".replace(" ", NO_BREAK)
        mark = MODELS_ONLY if self.estimate.scope == "artefact" else ""
        return f"{points(self.estimate.score)} [{points(low)}, {points(high)}]".replace(" ", NO_BREAK) + mark

    def values(self, overview: Overview) -> tuple[Any, ...]:
        """A row of ``compositions.csv``; see ``COLUMNS``."""
        estimate = self.estimate
        low, high = (math.nan, math.nan) if estimate is None else bounds(estimate)
        score, error = (math.nan, math.nan) if estimate is None else (estimate.score, estimate.se)
        return (
            self.system,
            self.intermediates,
            self.of,
            overview.estimand.target,
            overview.estimand.language,
            *(score, low, high, error),
            None if estimate is None else estimate.scope,
            self.seeds,
            *(self.per_target, self.shared, self.seconds),
        )


class Overview(NamedTuple):
    """All systems as numbers, as a figure and as a table.

    Attributes:
        svg: empty where nothing was run.
    """

    title: str
    estimand: Estimand
    averaged: str
    rows: tuple[Composition, ...]
    svg: str
    caption: str
    table: Table


def overview(results: Results) -> Overview:
    """Put every system of a study side by side."""
    estimand = primary(results.manifest)
    rows = tuple(_rows(results, estimand))
    languages = "zero-shot languages" if estimand.language == ZERO_SHOT else "languages"
    count = plural(len(estimand.targets), "target")
    rest = " (retrieval apart)" if len(estimand.targets) < len(results.manifest.study.targets) else ""
    averaged = f"averaged over {count}{rest} and their {languages}"
    caption = CAPTION
    if any(row.of != "one" for row in rows):
        caption += f" {CHOSEN}"
    if any(row.estimate and row.estimate.scope == "artefact" for row in rows):
        caption += f" {ONE_SEED}"
    svg = ""
    if any(row.estimate for row in rows):
        spoken = "; ".join(f"{row.name}: {row.shown}, {_sizes(row)}" for row in rows)
        alt = f"Scores of every system in percent with 95 % intervals, {averaged}, and stored parameters. {spoken}."
        svg = dots([_dot(row) for row in rows], "compositions", alt)
    return Overview(TITLE, estimand, averaged, rows, svg, caption, _table(rows))


def bounds(estimate: Estimate) -> tuple[float, float]:
    """The ends of the interval of a score, which cannot leave 0 to 100."""
    low, high = np.clip((estimate.low, estimate.high), 0.0, 100.0).tolist()
    return low, high


# ----------------------------------------------------------------------------------------------------------- rows


def _rows(results: Results, estimand: Estimand) -> Iterator[Composition]:
    for system in results.manifest.study.system:
        used = results.manifest.study.used_by(system)
        if not used:
            continue
        yield _row(results, estimand, system, used, "mean" if len(used) > 1 else "one")
        chosen = _best_on_dev(results, estimand, system, used) if len(used) > 1 else None
        if chosen is not None:
            yield _row(results, estimand, system, (chosen,), "best on dev")


def _row(
    results: Results,
    estimand: Estimand,
    system: System,
    used: Sequence[str | None],
    of: Literal["one", "mean", "best on dev"],
) -> Composition:
    names = tuple(name for name in used if name is not None)
    found = average(results, system.name, used, estimand)
    if found is None:
        return Composition(system.name, system.label, names, of)
    runs = _runs(results, estimand, system, used)
    costs = [(*_kept(results, cells), _seconds(results, cells)) for cells in runs]
    own, shared, seconds = np.mean(costs, axis=0).tolist()
    keys = {each.key for cells in runs for cell in cells for each in results.manifest.trainings(cell)}
    failed = sum(results.trains[key].status != "ok" for key in keys if key in results.trains)
    return Composition(system.name, system.label, names, of, *found, own, shared, seconds, failed)


def _runs(
    results: Results, estimand: Estimand, system: System, used: Sequence[str | None]
) -> list[tuple[CellRecord, ...]]:
    """The cells of every intermediate and seed that all targets were run with, one for each target."""
    groups = []
    for name in used:
        entries = [results.cells[Entry(system.name, name, target)] for target in estimand.targets]
        seeds = sorted(set(entries[0]).intersection(*entries))
        groups += [tuple(cells[seed] for cells in entries) for seed in seeds]
    return groups


def _kept(results: Results, cells: Sequence[CellRecord]) -> tuple[float, float]:
    """Stored parameters of one target, the mean over ``cells``, and of what they share."""
    reads = [results.manifest.modules(cell) for cell in cells]
    count = Counter(key for keys in reads for key in keys)
    sources = {key for cell in cells for key in cell.sources}
    heads = {cell.train for cell in cells}

    def size(key: str) -> float:
        made = results.made(key)
        if made is None:
            return math.nan
        return made.stored_parameters - (0 if key in heads else made.head_parameters)

    shared = {key for key in count if count[key] > 1 or key in sources}
    own = sum(size(key) for keys in reads for key in keys if key not in shared)
    return own / len(cells), sum(size(key) for key in shared)


def _seconds(results: Results, cells: Sequence[CellRecord]) -> float:
    """Time of all steps behind ``cells``, each once."""
    keys = {each.key for cell in cells for each in results.manifest.trainings(cell)}
    found = [results.made(key) for key in sorted(keys)]
    return math.fsum(math.nan if each is None else each.seconds for each in found)


def _best_on_dev(results: Results, estimand: Estimand, system: System, used: Sequence[str | None]) -> str | None:
    """The intermediate with the highest mean of dev scores; None where one is not known."""
    means = {name: _dev_score(results, estimand, system, name) for name in used if name is not None}
    if any(math.isnan(mean) for mean in means.values()):
        return None
    return max(means, key=lambda name: means[name])


def _dev_score(results: Results, estimand: Estimand, system: System, name: str) -> float:
    """Mean over targets of the mean over seeds; a target that is predicted without training of its own has none."""
    means = []
    for target in estimand.targets:
        cells = results.cells.get(Entry(system.name, name, target), {}).values()
        if cells and all(cell.train in cell.sources for cell in cells):
            continue
        trains = [results.trains.get(cell.train or "") for cell in cells]
        scores = [math.nan if each is None or each.dev_score is None else each.dev_score for each in trains]
        means.append(float(np.mean(scores or [math.nan])))
    return float(np.mean(means or [math.nan]))


# ---------------------------------------------------------------------------------------------------------- shown


def _sizes(row: Composition) -> str:
    return f"{quantity(row.per_target)} parameters per target and {quantity(row.shared)} shared"


def _dot(row: Composition) -> Dot:
    label = f"best on dev: {row.intermediates[0]}" if row.of == "best on dev" else row.name
    label += f" ({row.failed} failed)" if row.failed else ""
    low, high = (math.nan, math.nan) if row.estimate is None else bounds(row.estimate)
    score = math.nan if row.estimate is None else row.estimate.score
    return Dot(label, score, low, high, row.shown, row.per_target, row.shared, row.of == "best on dev")


def _table(rows: Sequence[Composition]) -> Table:
    columns = ("score [95 % interval]", "seeds", "stored parameters per target", "shared, stored once", "time")
    lines = []
    for row in rows:
        note = "" if row.estimate is None else f"standard error {points(row.estimate.se)} points"
        failed = f"{plural(row.failed, 'training')} collapsed or diverged" if row.failed else ""
        if row.estimate is None:
            cells = [Cell(ABSENT, "void", 0, "not run")] * len(columns)
        else:
            costs = (str(row.seeds), quantity(row.per_target), quantity(row.shared), duration(row.seconds))
            cells = [Cell(row.shown, note=note, detail=failed), *map(Cell, costs)]
        lines.append(Row(row.name, tuple(cells)))
    return Table(TITLE, columns, tuple(lines))
