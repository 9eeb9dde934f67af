"""The cells behind the two sides of a claim, and the contrast that they make.

A *lane* is one system with one intermediate, or with a choice among several, on every target of the claim. What is
missing is told, never filled in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from xstilts.claims.choice import choose
from xstilts.claims.model import MEANS, SUITES, Side
from xstilts.claims.verdicts import Reason
from xstilts.compare import Cells, Flag, _Bench, _nothing, _replicates, _Side, _used
from xstilts.errors import fail
from xstilts.estimands import ZERO_SHOT, Estimand
from xstilts.results import Entry, Results
from xstilts.schema import CellRecord, Manifest
from xstilts.significance.contrast import Arm, Contrast, contrast
from xstilts.significance.two_way import combine
from xstilts.spec import RETRIEVAL_FORMATS, SOURCE_LANGUAGE

Choices = Mapping[str, Mapping[int, str | None]]  # target → seed → intermediate
ROUNDING = 1e-9  # of weights that add up to nothing


class Lane(NamedTuple):
    """One arm of a contrast before its seeds are decided.

    Attributes:
        weight: in the contrast.
        cells: target → seed → cell.
        study: that the cells are of.
    """

    weight: float
    cells: Mapping[str, Cells]
    study: str


class Absent(NamedTuple):
    """Why there is nothing to measure.

    Attributes:
        reason: what kind of thing is absent.
        details: which, one by one.
    """

    reason: Reason
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A contrast, and what stands behind it.

    Attributes:
        found: the contrast with its interval.
        candidate_seeds: independent replicates of the arms that are added; 0 where nothing is trained.
        reference_seeds: the same of those that are subtracted.
        examples: number of test examples, those of all languages counted.
        flags: what a reader must know beyond the numbers.
        missing: planned cells of the same arms that were not run, in words.
    """

    found: Contrast
    candidate_seeds: int
    reference_seeds: int
    examples: int
    flags: tuple[Flag, ...]
    missing: tuple[str, ...]


def about(manifest: Manifest, targets: Sequence[str], languages: str) -> Estimand | None:
    """The mean over targets of the mean over their languages; None where a target that is named has no such language.

    Of a set of targets, those without such a language are left out, as the report does.
    """
    is_suite = targets[0] in SUITES
    names = _suite(manifest, targets[0]) if is_suite else tuple(targets)
    spoken = {name: _languages(manifest, name, languages) for name in names}
    present = {name: codes for name, codes in spoken.items() if codes}
    if not present or (not is_suite and len(present) < len(names)):
        return None
    weights = {(name, code): 1.0 / (len(present) * len(codes)) for name, codes in present.items() for code in codes}
    return Estimand(", ".join(targets), languages, weights)


def _suite(manifest: Manifest, name: str) -> tuple[str, ...]:
    targets = manifest.study.targets
    if name == SUITES[1]:
        return targets
    return tuple(target for target in targets if manifest.tasks[target].format not in RETRIEVAL_FORMATS)


def _languages(manifest: Manifest, target: str, languages: str) -> tuple[str, ...]:
    spoken = manifest.tasks[target].languages
    if languages == ZERO_SHOT:
        return tuple(code for code in spoken if code != SOURCE_LANGUAGE)
    return spoken if languages in MEANS else tuple(code for code in spoken if code == languages)


class Evidence:
    """The results that claims are tested on: of their own study, and of others that they name.

    Args:
        results: of the claims' study.
        others: name of a study → its results.

    Raises:
        XstiltsError: studies that were not scored on the same examples.
    """

    def __init__(self, results: Results, others: Mapping[str, Results]) -> None:
        self.study = results.manifest.study.name
        self.manifest = results.manifest
        self._benches = {self.study: _Bench(results)}
        self._benches |= {name: _Bench(_aligned(other, results)) for name, other in others.items()}

    def has(self, side: Side) -> bool:
        """Whether the results of the study that a side is taken from are there."""
        return self._study(side) in self._benches

    def names(self, side: Side) -> tuple[str | None, ...]:
        """The side's intermediates as its cells have them.

        Raises:
            XstiltsError: its study has no such system.
        """
        study = self._of(side).results.manifest.study
        system = next((each for each in study.system if each.name == side.system), None)
        if system is None:
            raise fail(f"study {study.name}", "unknown system", side.system, [each.name for each in study.system])
        return side.intermediates or study.used_by(system)

    def lanes(self, side: Side, weight: float, on: Estimand) -> list[Lane] | Absent:
        """The lanes of a side: one for each intermediate that is averaged, or one of the chosen."""
        names = self.names(side)
        nowhere = [(name, target) for name in names for target in on.targets if not self._cells(side, name, target)]
        if nowhere:
            return Absent(
                Reason.NOT_RUN, tuple(f"{_spoken(side.system, name)} on {target}" for name, target in nowhere)
            )
        if side.take == "mean":
            alike = {name: dict.fromkeys(on.targets, name) for name in names}
            return [self._lane(side, alike[name], weight / len(names)) for name in names]
        chosen = self.choices(side, on)
        if chosen is None:
            return Absent(Reason.NO_DEV, (side.system,))
        cells = {
            target: {seed: self._cells(side, name, target)[seed] for seed, name in by_seed.items()}
            for target, by_seed in chosen.items()
        }
        return [Lane(weight, cells, self._study(side))]

    def choices(self, side: Side, on: Estimand) -> Choices | None:
        """What is chosen by dev scores; None where no target has any."""
        names = self.names(side)
        trains = self._of(side).results.trains
        dev: dict[tuple[str, str | None, int], float] = {}
        seeds: set[int] | None = None
        for target in on.targets:
            for name in names:
                cells = self._cells(side, name, target)
                seeds = set(cells) if seeds is None else seeds & set(cells)
                for seed, cell in cells.items():
                    train = trains.get(cell.train or "")
                    if train is not None and train.dev_score is not None and _trained_for_target(cell):
                        dev[target, name, seed] = train.dev_score
        return choose(dev, on.targets, names, sorted(seeds or ()), side.take == "best_per_target")

    def naive(self, side: Side, weight: float, on: Estimand) -> list[Lane]:
        """The chosen lane with the choice made on the test scores themselves, which flatters it."""
        names = self.names(side)
        scores = {(name, target): self._score(side, name, target, on) for name in names for target in on.targets}
        overall = {name: sum(scores[name, target] for target in on.targets) for name in names}
        per_target = side.take == "best_per_target"
        best = {
            target: max(names, key=lambda name: scores[name, target] if per_target else overall[name])
            for target in on.targets
        }
        return [self._lane(side, best, weight)]

    def measure(self, lanes: Sequence[Lane], on: Estimand, paired: bool) -> Measured | Absent:
        """Estimate a contrast of lanes: positive weights are the candidate's side, negative ones the reference's."""
        entries = [[lane.cells[target] for target in on.targets] for lane in lanes]
        common = _replicates([cells for each in entries for cells in each]) if paired else ()
        arms: list[Arm] = []
        sides: list[_Side] = []
        missing: dict[str, None] = {}
        total: dict[str, float] = {}
        for lane, each in zip(lanes, entries, strict=True):
            bench = self._benches[lane.study]
            seeds = common if paired else _replicates(each)
            if not seeds:
                return Absent(Reason.NOT_RUN, ("no seed was run on every target",))
            used = {target: _used(lane.cells[target], seeds) for target in on.targets}
            parts = [bench._linear(used[target], language) for target, language in on.weights]
            cells = tuple(cell for each in used.values() for cell in each)
            sides.append(_Side(combine(parts, list(on.weights.values())), cells))
            arms.append(Arm(sides[-1].linear, lane.weight, _objects(bench, cells, seeds)))
            missing |= dict.fromkeys(_not_run(bench, cells))
            for cells_of_one in used.values():
                for cell in cells_of_one:
                    total[cell.predict] = total.get(cell.predict, 0.0) + lane.weight / len(cells_of_one)
        found, cancels = contrast(arms, paired), all(abs(weight) < ROUNDING for weight in total.values())
        if cancels:
            found = found._replace(interval=_nothing(found.interval))
        ours = [side for side, lane in zip(sides, lanes, strict=True) if lane.weight > 0]
        theirs = [side for side, lane in zip(sides, lanes, strict=True) if lane.weight < 0]
        benches = [self._benches[name] for name in dict.fromkeys(lane.study for lane in lanes)]
        return Measured(
            found,
            min((side.seeds for side in ours if side.seeds), default=0),
            min((side.seeds for side in theirs if side.seeds), default=0),
            sum(benches[0]._examples(target, language) for target, language in on.weights),
            _flags(ours, theirs, benches, cancels),
            tuple(missing),
        )

    # -------------------------------------------------------------------------------------------------- cells

    def _study(self, side: Side) -> str:
        return side.study or self.study

    def _of(self, side: Side) -> _Bench:
        return self._benches[self._study(side)]

    def _cells(self, side: Side, name: str | None, target: str) -> Cells:
        return self._of(side).results.cells.get(Entry(side.system, name, target), {})

    def _lane(self, side: Side, names: Mapping[str, str | None], weight: float) -> Lane:
        """The lane of one intermediate for each target."""
        cells = {target: self._cells(side, name, target) for target, name in names.items()}
        return Lane(weight, cells, self._study(side))

    def _score(self, side: Side, name: str | None, target: str, on: Estimand) -> float:
        """What one target's test score adds to the mean, over all seeds."""
        cells, bench = tuple(self._cells(side, name, target).values()), self._of(side)
        shares = {language: weight for (each, language), weight in on.weights.items() if each == target}
        return sum(share * float(bench._linear(cells, code).scores.mean()) for code, share in shares.items())


def _trained_for_target(cell: CellRecord) -> bool:
    """Whether the model that predicts was trained on the target, so that its dev score is the target's."""
    return cell.train is not None and cell.train not in (*cell.sources, cell.preliminary_train)


def _objects(bench: _Bench, cells: Sequence[CellRecord], seeds: Sequence[int]) -> tuple[frozenset[str], ...]:
    """Keys of everything that was trained for the cells of each seed."""
    manifest = bench.results.manifest
    found: dict[int, set[str]] = {seed: set() for seed in seeds}
    for cell in cells:
        if cell.train is not None:
            found[cell.seed] |= {each.key for each in manifest.trainings(cell)} | set(manifest.modules(cell))
    return tuple(frozenset(found[seed]) for seed in seeds)


def _flags(
    ours: Sequence[_Side], theirs: Sequence[_Side], benches: Sequence[_Bench], cancels: bool
) -> tuple[Flag, ...]:
    """Flags of every pair of arms; that a pair is the same predictions is told of the whole only if all cancels."""
    found = {flag for bench in benches for one in ours for other in theirs for flag in bench._flags(one, other)}
    if Flag.SAME_PREDICTIONS in found and not cancels:
        found = found - {Flag.SAME_PREDICTIONS} | {Flag.SHARED_PREDICTIONS}
    return tuple(flag for flag in Flag if flag in found)


def _not_run(bench: _Bench, cells: Sequence[CellRecord]) -> Iterator[str]:
    """Cells beside these, of other seeds, that were planned and not run."""
    entries = {Entry(cell.system, cell.intermediate, cell.target) for cell in cells}
    for cell in bench.results.missing:
        if Entry(cell.system, cell.intermediate, cell.target) in entries:
            yield f"{_spoken(cell.system, cell.intermediate)} on {cell.target}, seed {cell.seed}"


def _spoken(system: str, intermediate: str | None) -> str:
    return system if intermediate is None else f"{system} after {intermediate}"


def _aligned(other: Results, results: Results) -> Results:
    """Another study's results on this study's examples, whose clusters are then numbered alike."""
    for target in sorted({*other.panels} & {*results.panels}):
        if not other.panels[target].columns.equals(results.panels[target].columns):
            raise fail(f"study {other.manifest.study.name}", f"was scored on other examples of {target}")
    return replace(other, panels={**other.panels, **results.panels})
