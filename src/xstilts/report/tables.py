"""Tables of the report as plain values; the templates only lay them out.

A cell carries its text, a tone and a strength, so that HTML can colour it and Markdown can leave it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from xstilts.compare import Outcome
from xstilts.estimands import suite_targets
from xstilts.report.scores import Board, macro, zero_shot
from xstilts.report.view import View
from xstilts.report.words import (
    ABSENT,
    Verdict,
    composed,
    corrected,
    effect,
    interval,
    plural,
    points,
    probability,
    signed,
    stars,
    together,
    verdict,
)
from xstilts.results import Entry, Results
from xstilts.spec import SOURCE_LANGUAGE
from xstilts.study import Comparison

Tone = Literal["up", "down", "none", "void", "plain"]


OUTCOME_COLUMNS = (
    "intermediate",
    "candidate",
    "reference",
    "difference",
    "95 % interval",
    "verdict",
    "p",
    "q",
    "df",
    "se",
    "se, examples",
    "se, seeds",
    "seeds",
    "examples",
    "clusters",
    "scope",
    "flags",
)


class Cell(NamedTuple):
    """One cell of a table.

    Attributes:
        detail: smaller, below the text.
        tone: above or below a reference point, neither, nothing to show, or just a value.
        strength: how far from the reference point, 0 to 100.
        note: what a reader sees who points at it.
    """

    text: str
    tone: Tone = "plain"
    strength: int = 0
    note: str = ""
    detail: str = ""


class Row(NamedTuple):
    """A row with its label; ``kind`` marks rows that are not systems."""

    label: str
    cells: tuple[Cell, ...]
    kind: Literal["", "baseline", "mean"] = ""


class Table(NamedTuple):
    """A table with its caption."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    corner: str = ""


def effect_matrix(view: View, comparison: Comparison) -> Table:
    """Differences by intermediate task (rows) and target (columns), on the main mean over languages."""
    targets = (*view.manifest.study.targets, *view.suites)
    columns = [view.of(comparison, target) for target in targets]
    present = [abs(each.difference) for column in columns for each in column if not math.isnan(each.difference)]
    scale = max(present, default=1.0) or 1.0
    rows = tuple(
        Row(composed(each), tuple(_effect_cell(column[number], scale) for column in columns))
        for number, each in enumerate(columns[0])
    )
    return Table(view.title(comparison), targets, rows, corner="intermediate ↓ target →")


def _effect_cell(outcome: Outcome, scale: float) -> Cell:
    if math.isnan(outcome.difference):
        return Cell(ABSENT, "void", 0, verdict(outcome))
    strength = round(100 * abs(outcome.difference) / scale)
    tones: dict[Verdict, Tone] = {Verdict.HIGHER: "up", Verdict.LOWER: "down"}
    tone = tones.get(corrected(outcome), "none")
    text = signed(outcome.difference) + stars(outcome.q)
    return Cell(text, tone, strength, describe(outcome), interval(outcome))


def describe(outcome: Outcome) -> str:
    """All that is known of an outcome, for pointing at it."""
    seeds = f"{outcome.candidate_seeds} and {outcome.reference_seeds} seeds"
    parts = [
        f"{effect(outcome)}: {verdict(outcome)}",
        f"{points(outcome.candidate_score)} against {points(outcome.reference_score)}",
        f"{probability(outcome.p)}, {probability(outcome.q, 'q')}",
        f"{seeds}, {plural(outcome.examples, 'example')}, {plural(outcome.clusters, 'cluster')}",
        *outcome.flags,
    ]
    return "; ".join(parts)


def outcome_table(view: View, comparison: Comparison) -> Table:
    """Every outcome of a comparison whose predictions are in the store."""
    outcomes = [each for each in view.outcomes if each.comparison == comparison.name and each.was_run]
    rows = tuple(Row(f"{each.target} · {each.language}", tuple(map(Cell, _outcome_cells(each)))) for each in outcomes)
    return Table(f"{comparison.name}: {view.title(comparison)}", OUTCOME_COLUMNS, rows, corner="target · language")


def _outcome_cells(outcome: Outcome) -> tuple[str, ...]:
    return (
        composed(outcome) if outcome.intermediate else ABSENT,
        points(outcome.candidate_score),
        points(outcome.reference_score),
        signed(outcome.difference),
        interval(outcome),
        verdict(outcome),
        probability(outcome.p),
        probability(outcome.q, "q"),
        points(outcome.df),
        *(f"{error:.2f}" for error in (outcome.se, outcome.se_examples, outcome.se_seeds)),
        f"{outcome.candidate_seeds} / {outcome.reference_seeds}",
        str(outcome.examples),
        str(outcome.clusters),
        outcome.scope,
        "; ".join(outcome.flags),
    )


# --------------------------------------------------------------------------------------------------------- scores


def entries(results: Results) -> list[tuple[str, str | None]]:
    """(system, intermediate) of every row of a score table, in the study's order."""
    study = results.manifest.study
    return [(system.name, intermediate) for system in study.system for intermediate in study.used_by(system)]


def label(results: Results, system: str, intermediate: str | None) -> str:
    """How a row of a score table is called."""
    text = next(each.label for each in results.manifest.study.system if each.name == system)
    return text if intermediate is None else f"{text} · {together(intermediate)}"


def score_table(results: Results, board: Board) -> Table:
    """Zero-shot mean of every system on every target, and its suite scores; the trivial baselines on top.

    A suite score is averaged as XTREME's: the mean over the study's targets of the mean over all of its languages,
    English included (Hu et al. 2020, arXiv 2003.11080, §3). It stands with and without retrieval, which scores on a
    scale of its own.
    """
    manifest = results.manifest
    targets = manifest.study.targets
    suites = suite_targets(manifest)
    heads = {
        target: zero_shot(manifest.tasks[target].languages) or manifest.tasks[target].languages for target in targets
    }
    baselines = dict.fromkeys(name for target in targets for name in manifest.baselines.get(target, {}))
    rows = []
    for name in baselines:
        values = [macro(manifest.baselines.get(target, {}).get(name, {}), heads[target]) for target in targets]
        rows.append(
            Row(
                name,
                tuple(Cell(points(value)) for value in values)
                + (Cell(ABSENT, "void", 0, "not a system"),) * len(suites),
                "baseline",
            )
        )
    for system, intermediate in entries(results):
        cells = tuple(
            _score_cell(results, board, Entry(system, intermediate, target), heads[target]) for target in targets
        )
        means = tuple(
            _suite_cell(results, board, [Entry(system, intermediate, target) for target in each])
            for each in suites.values()
        )
        rows.append(Row(label(results, system, intermediate), cells + means))
    return Table("Scores", (*targets, *(f"suite score, {name}" for name in suites)), tuple(rows))


def _suite_cell(results: Results, board: Board, entries: Sequence[Entry]) -> Cell:
    """The mean over targets; a dash where one was not run, because a mean of the others is another quantity."""
    if any(entry not in board.seeds for entry in entries):
        return Cell(ABSENT, "void", 0, "not every target was run")
    panels = [results.panels[entry.target] for entry in entries]
    values = [
        board.mean(entry, panel.metric.ratios[0].name, results.manifest.tasks[entry.target].languages)
        for entry, panel in zip(entries, panels, strict=True)
    ]
    names = ", ".join(
        f"{entry.target} {panel.metric.ratios[0].name}" for entry, panel in zip(entries, panels, strict=True)
    )
    return Cell(points(float(np.mean(values))), note=f"mean of {names}, each over all its languages")


def _score_cell(results: Results, board: Board, entry: Entry, languages: Sequence[str]) -> Cell:
    if entry not in board.seeds:
        return Cell(ABSENT, "void", 0, "not run")
    ratio = results.panels[entry.target].metric.ratios[0].name
    english = board.mean(entry, ratio, (SOURCE_LANGUAGE,))
    note = f"{ratio}, mean over {plural(len(languages), 'language')} and {plural(board.seeds[entry], 'seed')}"
    if not math.isnan(english):
        note += f"; English {points(english)}"
    return Cell(points(board.mean(entry, ratio, languages)), note=note, detail=_failed(results, entry))


def _failed(results: Results, entry: Entry) -> str:
    """How many of an entry's runs collapsed or diverged, to stand beside its score; empty if none did."""
    cells = results.cells[entry].values()
    trains = [results.trains.get(key) for cell in cells for key in cell.own]
    found = Counter(train.status for train in trains if train is not None and train.status != "ok")
    total = len(cells)
    return ", ".join(f"{'all' if count == total else f'{count} of {total}'} {word}" for word, count in found.items())


def by_language(results: Results, board: Board, target: str) -> Table:
    """Every system in every language of one target; the tone tells how far above the best baseline."""
    task = results.manifest.tasks[target]
    ratios = [ratio.name for ratio in results.panels[target].metric.ratios]
    baselines = results.manifest.baselines.get(target, {})
    floor = {
        code: max((row.get(code, math.nan) for row in baselines.values()), default=math.nan) for code in task.languages
    }
    foreign = zero_shot(task.languages) or task.languages
    rows = [
        Row(name, (Cell(points(macro(row, foreign))), *_filled(row, task.languages, ratios)), "baseline")
        for name, row in baselines.items()
    ]
    for system, intermediate in entries(results):
        entry = Entry(system, intermediate, target)
        if entry not in board.seeds:
            continue
        means = board.means[entry, ratios[0]]
        others = (Cell(points(board.mean(entry, ratio, foreign))) for ratio in ratios[1:])
        cells = (_language_cell(means[code], floor[code]) for code in task.languages)
        first = Cell(points(macro(means, foreign)), detail=_failed(results, entry))
        rows.append(Row(label(results, system, intermediate), (first, *cells, *others)))
    columns = ("zero-shot", *task.languages, *(f"{ratio}, zero-shot" for ratio in ratios[1:]))
    unit = f"{ratios[0]}; {task.format}; cluster = {task.cluster}"
    return Table(target, columns, tuple(rows), unit)


def _filled(row: Mapping[str, float], languages: Iterable[str], ratios: Sequence[str]) -> tuple[Cell, ...]:
    shown = tuple(Cell(points(row.get(code, math.nan))) for code in languages)
    return (*shown, *(Cell(ABSENT, "void") for _ in ratios[1:]))


def _language_cell(score: float, floor: float) -> Cell:
    above = score - floor
    if math.isnan(above):
        return Cell(points(score))
    tone: Tone = "up" if above > 0 else "down"
    return Cell(points(score), tone, min(100, round(abs(above) * 2)), f"{signed(above)} against the best baseline")
