"""A study's comparisons, expanded into outcomes: one difference with its interval each.

Two systems are compared on every estimand: with the same intermediate where they share one; else each of the one side's
with each of the other's, several that are used at once counting as one, and none as well. Everything a report says of
differences is said from these outcomes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from xstilts.estimands import ALL, ALL_TARGETS, WITHOUT_RETRIEVAL, ZERO_SHOT, Estimand, Pair, estimands, pairs
from xstilts.results import Entry, Results
from xstilts.schema import CellRecord
from xstilts.significance.two_way import Estimate, Interval, Linear, Scope, combine, linearise, one_sample, two_way
from xstilts.study import Comparison

Contrast = Literal["system", "intermediate", "intermediates"]

MIN_SEEDS = 3  # below it an interval is honest, but too wide to hang a verdict on
MIN_CLUSTERS = 30  # below it the variance over examples is itself a rough guess


class Flag(StrEnum):
    """What a reader must know about an outcome beyond its numbers."""

    NOT_RUN = "not run"
    FEWER_SEEDS = "fewer seeds than planned"
    COLLAPSED = "includes a collapsed run"
    DIVERGED = "includes a diverged run"
    ONLY_FAILED = "all runs of a side collapsed or diverged"
    ONE_INTERMEDIATE = "conditional on one module that all seeds build on"
    NO_SEEDS = "a side without training: no seed variance"
    SAME_PREDICTIONS = "both sides are the same predictions"
    SHARED_PREDICTIONS = "some targets are the same predictions on both sides"
    FEW_CLUSTERS = f"few clusters: fewer than {MIN_CLUSTERS} in a target or language"
    CONTAMINATED = "shares data with a task trained before it"
    CONTAMINATION_UNKNOWN = "overlap of intermediate data and test set not checked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One comparison on one estimand. Scores and differences in points; NaN where nothing can be said.

    Attributes:
        intermediate: intermediate of the candidate, else of the reference, else None; of several that are used at once
            the names in one.
        reference_intermediate: that of the reference.
        contrast: what differs: the ``system`` (same intermediate, or none on either side), having an ``intermediate``
            (with it − without, or the reverse), or which ``intermediates`` there are (such as several − one), and then
            the systems, too.
        difference: candidate − reference.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        p: two-sided, of no difference.
        q: p corrected for the family of outcomes it was looked up in (Benjamini & Hochberg 1995); NaN if not judged.
        candidate_seeds: independent trainings of the candidate; 0 where nothing is trained.
        reference_seeds: the same for the reference.
        examples: number of test examples, those of all languages counted.
    """

    comparison: str
    candidate: str
    reference: str
    contrast: Contrast
    intermediate: str | None
    target: str
    language: str
    reference_intermediate: str | None = None
    candidate_score: float = math.nan
    reference_score: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    q: float = math.nan
    df: float = math.nan
    se: float = math.nan
    se_examples: float = math.nan
    se_seeds: float = math.nan
    candidate_seeds: int = 0
    reference_seeds: int = 0
    examples: int = 0
    clusters: int = 0
    scope: Scope = "procedure"
    flags: tuple[Flag, ...] = (Flag.NOT_RUN,)

    @property
    def was_run(self) -> bool:
        """Whether all the predictions it needs are in the store."""
        return Flag.NOT_RUN not in self.flags

    @property
    def is_judged(self) -> bool:
        """Whether there are seeds enough to speak of the way of training; a side without training needs none."""
        seeds = [count for count in (self.candidate_seeds, self.reference_seeds) if count]
        return self.scope == "procedure" and min(seeds, default=MIN_SEEDS) >= MIN_SEEDS


def compare(results: Results) -> tuple[Outcome, ...]:
    """Expand every comparison of the study into outcomes, in the study's order."""
    bench = _Bench(results)
    study = results.manifest.study
    wanted = list(estimands(results.manifest))
    outcomes = [
        bench.outcome(comparison, pair, estimand)
        for comparison in study.comparison
        for pair in pairs(study, comparison)
        for estimand in wanted
    ]
    return _corrected(outcomes)


class Average(NamedTuple):
    """The score of one system with its interval, and the number of its independent trainings; 0 without training."""

    estimate: Estimate
    seeds: int


def average(results: Results, system: str, intermediates: Sequence[str | None], estimand: Estimand) -> Average | None:
    """Score one system by itself, averaged over some of its intermediates.

    Of several intermediates the average of just these is meant; those that were not tried have no part in its interval.

    Returns:
        None where a cell of it was not run.
    """
    side = _Bench(results).average(system, intermediates, estimand)
    return None if side is None else Average(one_sample(side.linear), side.seeds)


# ------------------------------------------------------------------------------------------------------- outcomes

Cells = Mapping[int, CellRecord]  # seed → cell, of one entry


class _Side(NamedTuple):
    """One system on one estimand: its score and the cells behind it."""

    linear: Linear
    used: tuple[CellRecord, ...]

    @property
    def seeds(self) -> int:
        return 0 if self.linear.deterministic else len(self.linear.scores)

    @property
    def predictions(self) -> Counter[str]:
        """Keys of the predictions, each as often as it is used."""
        return Counter(cell.predict for cell in self.used)

    @property
    def trainings(self) -> set[str]:
        """Keys of what was predicted with."""
        return {key for cell in self.used for key in cell.own}


@dataclass
class _Bench:
    """Outcomes of one study's results; a cell is linearised once."""

    results: Results
    linears: dict[tuple[tuple[str, ...], str], Linear] = field(default_factory=dict)

    def outcome(self, comparison: Comparison, pair: Pair, estimand: Estimand) -> Outcome:
        ours = self._entries(comparison.candidate, pair.candidate, estimand)
        theirs = self._entries(comparison.reference, pair.reference, estimand)
        blank = _blank(comparison, pair, estimand)
        if not (all(ours) and all(theirs)):
            return blank
        seeds, other_seeds = _replicates(ours), _replicates(theirs)
        if comparison.seeds == "paired":
            seeds = other_seeds = _replicates([*ours, *theirs])
        if not (seeds and other_seeds):
            return blank
        candidate = self._side([ours], seeds, estimand)
        reference = self._side([theirs], other_seeds, estimand)
        interval = two_way(candidate.linear, reference.linear, comparison.seeds == "paired")
        if candidate.predictions == reference.predictions:
            interval = _nothing(interval)
        return replace(
            blank,
            candidate_score=float(candidate.linear.scores.mean()),
            reference_score=float(reference.linear.scores.mean()),
            candidate_seeds=candidate.seeds,
            reference_seeds=reference.seeds,
            examples=sum(self._examples(target, language) for target, language in estimand.weights),
            flags=tuple(self._flags(candidate, reference)),
            **interval._asdict(),
        )

    def average(self, system: str, intermediates: Sequence[str | None], estimand: Estimand) -> _Side | None:
        """One system, averaged over intermediates; None where a cell was not run."""
        groups = [self._entries(system, name, estimand) for name in intermediates]
        entries = [cells for group in groups for cells in group]
        seeds = _replicates(entries) if all(entries) else ()
        return self._side(groups, seeds, estimand) if seeds else None

    def _entries(self, system: str, intermediate: str | None, estimand: Estimand) -> list[Cells]:
        return [self.results.cells.get(Entry(system, intermediate, target), {}) for target in estimand.targets]

    def _examples(self, target: str, language: str) -> int:
        panel = self.results.panels[target]
        return len(panel.clusters[panel.rows[language]])

    def _side(self, groups: Sequence[Sequence[Cells]], seeds: tuple[int, ...], estimand: Estimand) -> _Side:
        """The mean over ``groups`` of one system's entries; each group holds the cells of every target."""
        parts: list[Linear] = []
        shares: list[float] = []
        cells: list[CellRecord] = []
        for group in groups:
            used = {target: _used(each, seeds) for target, each in zip(estimand.targets, group, strict=True)}
            parts += [self._linear(used[target], language) for target, language in estimand.weights]
            shares += [weight / len(groups) for weight in estimand.weights.values()]
            cells += [cell for each in used.values() for cell in each]
        return _Side(combine(parts, shares), tuple(cells))

    def _linear(self, cells: tuple[CellRecord, ...], language: str) -> Linear:
        """Score and influence values of one (target, language), one row per cell."""
        name = (tuple(cell.predict for cell in cells), language)
        if name not in self.linears:
            panel = self.results.panels[cells[0].target]
            rows, ratio = panel.rows[language], panel.metric.ratios[0]
            stats = np.stack([self.results.stats[cell.predict][rows] for cell in cells])
            above, below = stats @ np.array(ratio.numerator), stats @ np.array(ratio.denominator)
            self.linears[name] = linearise(above, below, panel.clusters[rows], cells[0].train is None)
        return self.linears[name]

    @cached_property
    def _on_one(self) -> set[Entry]:
        """Entries whose seeds all build on one and the same module, trained once or published."""
        below: dict[Entry, list[set[str]]] = {}
        for cell in self.results.manifest.cells:
            entry = Entry(cell.system, cell.intermediate, cell.target)
            below.setdefault(entry, []).append({*cell.sources, *self.results.manifest.modules(cell)})
        return {entry for entry, keys in below.items() if len(keys) > 1 and set.intersection(*keys)}

    def _flags(self, candidate: _Side, reference: _Side) -> Iterator[Flag]:
        used = (*candidate.used, *reference.used)
        statuses = self._statuses(each.key for cell in used for each in self.results.manifest.trainings(cell))
        if any(0 < side.seeds < len(self.results.manifest.study.seeds) for side in (candidate, reference)):
            yield Flag.FEWER_SEEDS
        if "collapsed" in statuses:
            yield Flag.COLLAPSED
        if "diverged" in statuses:
            yield Flag.DIVERGED
        sides = [self._statuses(side.trainings) for side in (candidate, reference)]
        if any(side and "ok" not in side for side in sides):
            yield Flag.ONLY_FAILED
        if any(Entry(cell.system, cell.intermediate, cell.target) in self._on_one for cell in used):
            yield Flag.ONE_INTERMEDIATE
        if any(side.seeds == 0 for side in (candidate, reference)):
            yield Flag.NO_SEEDS
        if candidate.predictions & reference.predictions:
            same = candidate.predictions == reference.predictions
            yield Flag.SAME_PREDICTIONS if same else Flag.SHARED_PREDICTIONS
        if np.bincount(candidate.linear.blocks).min() < MIN_CLUSTERS:
            yield Flag.FEW_CLUSTERS
        yield from self._contamination(used)

    def _contamination(self, cells: Sequence[CellRecord]) -> Iterator[Flag]:
        manifest = self.results.manifest
        overlaps = any(manifest.overlaps(cell.intermediate, cell.target) for cell in cells)
        if overlaps:
            yield Flag.CONTAMINATED
        built_on = not overlaps and any(cell.intermediate is not None for cell in cells)
        if built_on or any(manifest.published(cell) for cell in cells):
            yield Flag.CONTAMINATION_UNKNOWN

    def _statuses(self, keys: Iterable[str | None]) -> set[str]:
        trains = (self.results.trains.get(key or "") for key in keys)
        return {train.status for train in trains if train is not None}


def _nothing(interval: Interval) -> Interval:
    """The same predictions on both sides: no difference by construction, with nothing random about it."""
    if math.isnan(interval.difference):
        return interval  # not scored
    return Interval(0.0, 0.0, 0.0, 1.0, math.nan, 0.0, 0.0, 0.0, interval.scope, interval.clusters)


def _blank(comparison: Comparison, pair: Pair, estimand: Estimand) -> Outcome:
    """The outcome of what was not run."""
    contrast: Contrast = "intermediate" if None in pair else "intermediates"
    return Outcome(
        comparison=comparison.name,
        candidate=comparison.candidate,
        reference=comparison.reference,
        contrast="system" if pair.candidate == pair.reference else contrast,
        intermediate=pair.candidate or pair.reference,
        reference_intermediate=pair.reference,
        target=estimand.target,
        language=estimand.language,
    )


def _used(cells: Cells, seeds: tuple[int, ...]) -> tuple[CellRecord, ...]:
    """The cells of one entry that count; of the bare backbone one."""
    return tuple(cells.values())[:1] if _is_direct(cells) else tuple(cells[seed] for seed in seeds)


def _is_direct(cells: Cells) -> bool:
    """Whether predictions come from the bare backbone: nothing was trained, all seeds are one."""
    return all(cell.train is None for cell in cells.values())


def _replicates(entries: Sequence[Cells]) -> tuple[int, ...]:
    """Seeds that every entry was run with; of seeds that share all their predictions, the first.

    Sharing happens when retrieval is predicted on one intermediate training that all seeds build on: that is one model,
    however many seeds point at it.
    """
    trained = [cells for cells in entries if not _is_direct(cells)]
    if not trained:
        return tuple(entries[0])[:1]
    common = sorted(set(trained[0]).intersection(*trained))
    distinct: dict[tuple[str, ...], int] = {}
    for seed in common:
        distinct.setdefault(tuple(cells[seed].predict for cells in trained), seed)
    return tuple(distinct.values())


# --------------------------------------------------------------------------------------------------- multiplicity


def _corrected(outcomes: list[Outcome]) -> tuple[Outcome, ...]:
    """Give every judged outcome its Benjamini-Hochberg q within the matrix that a reader would search it in.

    What is not judged has no q and does not enlarge a family: its p answers another question, about the very models.
    """
    families: dict[tuple[str, bool, str], list[int]] = {}
    for number, outcome in enumerate(outcomes):
        if outcome.is_judged and not math.isnan(outcome.p) and Flag.SAME_PREDICTIONS not in outcome.flags:
            families.setdefault(_family(outcome), []).append(number)
    for members in families.values():
        corrected = false_discovery_control([outcomes[number].p for number in members], method="bh")
        for number, q in zip(members, corrected, strict=True):
            outcomes[number] = replace(outcomes[number], q=float(q))
    return tuple(outcomes)


def _family(outcome: Outcome) -> tuple[str, bool, str]:
    """Comparison × (targets or means over targets) × (all languages, zero-shot ones, or each by itself)."""
    is_suite = outcome.target in (WITHOUT_RETRIEVAL, ALL_TARGETS)
    return (outcome.comparison, is_suite, outcome.language if outcome.language in (ALL, ZERO_SHOT) else "")
