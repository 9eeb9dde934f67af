"""The design card and the costs: what was run, on what, at what price, and what is missing."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from xstilts.report.tables import Cell, Row, Table, label
from xstilts.report.words import ABSENT, duration, listing, plural, quantity
from xstilts.results import Results
from xstilts.schema import CellRecord, Manifest, ModuleRecord, TrainRecord
from xstilts.study import Study, System


class Card(NamedTuple):
    """How the study was designed and how its runs went.

    Attributes:
        facts: (name, value) pairs.
        missing: cells that were not run, one line per group.
        troubles: trainings that collapsed or diverged, with their reason.
        environments: distinct machines and versions, with the number of trainings made in each.
    """

    facts: tuple[tuple[str, str], ...]
    systems: Table
    tasks: Table
    missing: tuple[str, ...]
    troubles: tuple[str, ...]
    environments: tuple[str, ...]


def card(results: Results) -> Card:
    """Describe the study."""
    return Card(
        facts=tuple(_facts(results)),
        systems=_systems(results),
        tasks=_tasks(results),
        missing=tuple(_missing(results.missing)),
        troubles=tuple(_troubles(results)),
        environments=tuple(_environments(results.trains.values())),
    )


def _facts(results: Results) -> Iterator[tuple[str, str]]:
    manifest, study = results.manifest, results.manifest.study
    yield "study", f"{study.name}: {study.title}"
    if study.note:
        yield "note", study.note
    yield (
        "backbone",
        f"{manifest.backbone.name}, {manifest.backbone.layers} layers, {manifest.backbone.fingerprint[:12]}",
    )
    yield "seeds", listing(map(str, study.seeds))
    if study.intermediates:
        yield "intermediate tasks", listing(map(_named(study), study.intermediates))
    yield from (("published module", f"{name}: {module.source}") for name, module in study.module.items())
    if study.intermediate_language != "en":
        rest = f"; as published: {listing(manifest.untranslated)}" if manifest.untranslated else ""
        yield "intermediate data", f"the user's translations into {study.intermediate_language}{rest}"
    if study.preliminary:
        told = listing(f"{before} before {target}" for target, before in study.preliminary.items())
        yield "trained before a target by every system", told
    if study.subsets:
        yield "subsets", f"training and dev rows of {listing(study.subsets)} may be a part of those that were published"
    yield from ((f"about {name}", text) for name, text in manifest.caveats.items())
    languages = dict.fromkeys(code for target in study.targets for code in manifest.tasks[target].languages)
    yield "languages", " ".join(languages)
    if study.source_seeds == "paired":
        yield "intermediate seeds", "seed s of a target builds on seed s of its intermediate task"
    else:
        yield "intermediate seeds", "all build on the first seed's: results are conditional on that one training"
    for comparison in study.comparison:
        yield (
            "comparison",
            f"{comparison.name}: {comparison.candidate} − {comparison.reference}, {comparison.seeds} seeds",
        )
    done = len(manifest.cells) - len(results.missing)
    yield "cells", f"{done} of {len(manifest.cells)} run"
    yield from _contamination(manifest)
    yield "xstilts", manifest.xstilts


def _named(study: Study) -> Callable[[str], str]:
    """How an intermediate is shown: a mixture with its tasks and how they are sampled, a chain with its order."""
    mixtures = {each.name: each for each in study.mixture}
    chains = {each.name: each for each in study.chain}

    def show(name: str) -> str:
        if name in chains:
            return f"{name} ({', then '.join(chains[name].tasks)})"
        if name in study.module:
            return f"{name} (published)"
        if name not in mixtures:
            return name
        sampling = mixtures[name].sampling
        detail = "".join(f" {value}" for value in (sampling.temperature, sampling.cap) if value is not None)
        return f"{name} ({' + '.join(mixtures[name].tasks)}, {sampling.kind}{detail} sampling)"

    return show


def _contamination(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What is declared of shared data, once for each pair of tasks that meet in the study."""
    for target in manifest.study.targets:
        found: dict[str, str] = {}
        for intermediate in (None, *manifest.study.intermediates):
            found |= manifest.overlaps(intermediate, target)
        yield from (("contamination", f"{name} → {target}: {text}") for name, text in found.items())
    if manifest.study.module:
        yield "contamination", "unknown of published modules: what they were trained on is not declared"
    yield "contamination", "not checked beyond what tasks declare: pre-training text may hold any test set"


def _systems(results: Results) -> Table:
    rows = []
    for system in results.manifest.study.system:
        adapter = results.manifest.adapters.get(system.adapter, {})
        options = adapter.get("options", {})
        shape = ", ".join(f"{name} {value}" for name, value in options.items())
        cells = (system.name, system.mode, f"{system.adapter} ({adapter.get('kind', '')})", shape, _start(system))
        rows.append(Row(system.label, tuple(map(Cell, cells))))
    return Table("Systems", ("name", "mode", "adapter", "options", "start"), tuple(rows))


def _start(system: System) -> str:
    """How targets start, on what, and how several intermediates are joined."""
    text: str = system.start
    if system.start == "fuse":
        text += ", own module on top" if system.fusing.on_top else ", nothing on top"
    if system.start == "merge":
        merge = system.merging
        weights = f"by {merge.decide}" if merge.decide else "weights given" if merge.weights else "equal weights"
        into = {"warm": ", then warm", "stack": ", then stack", "direct": " with the target’s own"}[merge.into]
        text += f" ({merge.kind}, {weights}){into}"
    if system.intermediates:
        text += f"; of {listing(system.intermediates)}"
    if system.language_modules:
        text += f"; on {listing(f'{name} in {code}' for code, name in system.language_modules.items())}"
    return text


def _tasks(results: Results) -> Table:
    rows = []
    for name in results.manifest.study.targets:
        task = results.manifest.tasks[name]
        panel = results.panels.get(name)
        sizes = ("not run", "")
        if panel is not None:
            sizes = (str(len(panel.clusters)), f"{len(set(panel.clusters.tolist()))} × {task.cluster}")
        cells = (task.format, task.metric, str(len(task.languages)), *sizes, task.licence, task.citation)
        rows.append(Row(name, tuple(map(Cell, cells))))
    columns = ("format", "metric", "languages", "examples", "clusters", "licence", "citation")
    return Table("Target tasks", columns, tuple(rows))


def _missing(cells: Iterable[CellRecord]) -> Iterator[str]:
    groups: dict[tuple[str, str | None], dict[str, list[int]]] = {}
    for cell in cells:
        groups.setdefault((cell.system, cell.intermediate), {}).setdefault(cell.target, []).append(cell.seed)
    for (system, intermediate), targets in groups.items():
        shown = ", ".join(f"{target} (seed {', '.join(map(str, seeds))})" for target, seeds in targets.items())
        yield f"{system}{f' · {intermediate}' if intermediate else ''}: {shown}"


def _troubles(results: Results) -> Iterator[str]:
    told: set[str] = set()
    for entry, cells in results.cells.items():
        for seed, cell in cells.items():
            for training in results.manifest.trainings(cell):
                train = results.trains.get(training.key)
                if train is None or train.status == "ok" or training.key in told:
                    continue
                told.add(training.key)
                where = f"{label(results, entry.system, entry.intermediate)}, {training.task}, seed {seed}"
                yield f"{where}: {train.status} ({train.reason or 'no reason recorded'})"


def _environments(trains: Iterable[TrainRecord]) -> Iterator[str]:
    found = Counter(json.dumps(train.environment, sort_keys=True) for train in trains)
    for text, count in sorted(found.items()):
        shown = ", ".join(f"{name} {value}" for name, value in json.loads(text).items())
        yield f"{plural(count, 'training')}: {shown}"


# ---------------------------------------------------------------------------------------------------------- costs


def costs(results: Results) -> Table:
    """What one training costs, by system and role; what was not trained; and what all of them took."""
    rows = []
    for system in results.manifest.study.system:
        for role, keys in _steps(results, system.name).items():
            trains = [results.trains[key] for key in keys if key in results.trains]
            modules = [results.modules[key] for key in keys if key in results.modules]
            if trains:
                rows.append(Row(f"{system.label} · {role}", tuple(map(Cell, _cost(trains)))))
            for kind, name in (("import", "published"), ("combine", "combined")):
                made = [module for module in modules if module.kind == kind]
                if made:
                    rows.append(Row(f"{system.label} · {role}, {name}", tuple(map(Cell, _untrained_cost(made)))))
    columns = (
        "trainings",
        "trainable parameters",
        "of the model",
        "head",
        "stored parameters",
        "stored size",
        "time each",
        "time in all",
        "peak memory",
        "examples/s",
        "padding",
    )
    return Table("Costs", columns, tuple(rows))


def _steps(results: Results, system: str) -> dict[str, list[str]]:
    """Distinct steps behind a system's cells, by role."""
    keys: dict[str, dict[str, None]] = {"intermediate": {}, "preliminary": {}, "auxiliary": {}, "target": {}}
    for entry, cells in results.cells.items():
        if entry.system != system:
            continue
        for cell in cells.values():
            for training in results.manifest.trainings(cell):
                keys[training.role][training.key] = None
    return {role: list(found) for role, found in keys.items()}


def _untrained_cost(modules: list[ModuleRecord]) -> tuple[str, ...]:
    """The cells of a row of modules that were taken or made, not trained."""
    return (
        ABSENT,
        ABSENT,
        ABSENT,
        ABSENT,
        quantity(max(module.stored_parameters for module in modules)),
        quantity(max(module.stored_bytes for module in modules), "B"),
        duration(statistics.median(module.seconds for module in modules)),
        duration(sum(module.seconds for module in modules)),
        ABSENT,
        ABSENT,
        ABSENT,
    )


def _cost(trains: list[TrainRecord]) -> tuple[str, ...]:
    """The cells of one row: sizes the largest; times, speeds and memory the median."""
    trainable = max(train.trainable_parameters for train in trains)
    share = trainable / max(train.total_parameters for train in trains)
    memory = [train.peak_memory_bytes for train in trains if train.peak_memory_bytes is not None]
    speed = [train.examples_per_second for train in trains if train.examples_per_second is not None]
    padding = [train.padding_factor for train in trains if train.padding_factor is not None]
    return (
        str(len(trains)),
        quantity(trainable),
        f"{100 * share:.1f} %",
        quantity(max(train.head_parameters for train in trains)),
        quantity(max(train.stored_parameters for train in trains)),
        quantity(max(train.stored_bytes for train in trains), "B"),
        duration(statistics.median(train.seconds for train in trains)),
        duration(sum(train.seconds for train in trains)),
        quantity(statistics.median(memory), "B") if memory else ABSENT,
        quantity(statistics.median(speed)) if speed else ABSENT,
        f"{max(padding):.2f}" if padding else ABSENT,
    )
