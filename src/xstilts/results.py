"""A study's predictions, read from the store, checked and aligned.

Starts at ``studies/<study>@<backbone>.json``, which names every cell of the study and the key that fills it. What is
read is verified against the checksums taken when it was published, and examples are aligned by (language, ``item_id``),
never by their order in a file. A cell whose step is not in the store is missing, and stays so: nothing is imputed.
"""

from __future__ import annotations

import glob
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.metrics import Metric, load_metric
from xstilts.schema import CellRecord, Manifest, ModuleRecord, TaskRecord, TrainRecord, made, parse, step_of, verified
from xstilts.store import Store

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("item_id", "cluster", "language", "gold", "pred")),
        ("stats", pa.list_(pa.float64())),
    ]
)
SHOWN_IDS = 5


class Entry(NamedTuple):
    """Which cells belong together: all seeds of one system, with one intermediate task or none, on one target."""

    system: str
    intermediate: str | None
    target: str


@dataclass(frozen=True)
class Panel:
    """The test examples of one target in one fixed order, the same for all systems.

    Attributes:
        metric: what the target is scored with.
        rows: language → where its examples lie; languages in the study's order.
        clusters: cluster code of each example ``(examples,)``; codes of different targets differ.
        columns: ``language, item_id, cluster, gold`` of each example, for comparing files.
    """

    metric: Metric
    rows: Mapping[str, slice]
    clusters: NDArray[np.int64]
    columns: pa.Table


@dataclass(frozen=True)
class Results:
    """All that the store holds of one study.

    Attributes:
        panels: target → its examples; a target without a single prediction has none.
        cells: entry → seed → cell, of the cells that were run.
        missing: the cells that were not.
        stats: key of a prediction → statistics ``(examples, columns)``, rows as in the target's panel.
        trains: key of a training → what happened, of the trainings behind the cells that were run.
        modules: the same of what was not trained: published modules, and those made of several.
    """

    manifest: Manifest
    panels: Mapping[str, Panel]
    cells: Mapping[Entry, Mapping[int, CellRecord]]
    missing: tuple[CellRecord, ...]
    stats: Mapping[str, NDArray[np.float64]]
    trains: Mapping[str, TrainRecord]
    modules: Mapping[str, ModuleRecord]

    def made(self, key: str) -> TrainRecord | ModuleRecord | None:
        """What is known of a step that left a module behind; None if it is not in the store."""
        return self.trains.get(key) or self.modules.get(key)


def load_results(root: Path, study: str, backbone: str | None = None) -> Results:
    """Read and check everything the store holds of a study.

    Args:
        root: directory of the store.
        study: name of the study.
        backbone: name of the backbone; needed only where the store holds the study with several.

    Raises:
        XstiltsError: no such study; an artefact that is damaged, or belongs to something else; systems that were not
            scored on the same examples.
    """
    store = Store(root)
    path = find_manifest(root, study, backbone)
    manifest = parse(Manifest, path.read_bytes(), path)
    reader = _Reader(store, manifest)
    cells: dict[Entry, dict[int, CellRecord]] = {}
    missing: list[CellRecord] = []
    for cell in manifest.cells:
        if not store.is_done(cell.predict):
            missing.append(cell)
            continue
        reader.read(cell)
        cells.setdefault(Entry(cell.system, cell.intermediate, cell.target), {})[cell.seed] = cell
    return Results(manifest, reader.panels, cells, tuple(missing), reader.stats, reader.trains, reader.modules)


def find_manifest(root: Path, study: str, backbone: str | None = None) -> Path:
    """Path of the file that maps a study's cells to keys.

    Raises:
        XstiltsError: the store has no such study, or has it with several backbones and none was named.
    """
    studies = root / "studies"
    if backbone is not None:
        path = Store(root).manifest(study, backbone)
        found = [path] if path.is_file() else []
    else:
        found = sorted(studies.glob(f"{glob.escape(study)}@*.json"))
    if len(found) == 1:
        return found[0]
    held = sorted(path.stem for path in studies.glob("*@*.json"))
    if found:
        names = [path.stem.partition("@")[2] for path in found]
        raise fail("--backbone", f"study {study!r} was run with several backbones; name one", None, names)
    wanted = study if backbone is None else f"{study}@{backbone}"
    what = "the store holds no such study" if held else "the store holds no study yet"
    raise fail(str(root), what, wanted, held)


# -------------------------------------------------------------------------------------------------------- reading


@dataclass
class _Reader:
    """Reads every artefact once, and holds the first prediction of a target as the reference for the others."""

    store: Store
    manifest: Manifest
    panels: dict[str, Panel] = field(default_factory=dict)
    stats: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    trains: dict[str, TrainRecord] = field(default_factory=dict)
    modules: dict[str, ModuleRecord] = field(default_factory=dict)

    def read(self, cell: CellRecord) -> None:
        """Read the artefacts behind one cell."""
        if cell.predict not in self.stats:
            self.stats[cell.predict] = self._predictions(cell)
        for key in (*(each.key for each in self.manifest.trainings(cell)), *self.manifest.modules(cell)):
            if key not in self.trains and key not in self.modules and self.store.is_done(key):
                directory = self.store.directory(key)
                step_of(directory)  # refuses another step in its place
                record = made(directory / "result.json")
                if isinstance(record, TrainRecord):
                    self.trains[key] = record
                else:
                    self.modules[key] = record

    def _predictions(self, cell: CellRecord) -> NDArray[np.float64]:
        """Statistics ``(examples, columns)`` of one prediction, in the order of the target's panel."""
        directory = self.store.directory(cell.predict)
        task = self.manifest.tasks[cell.target]
        _same_step(directory, cell, task)
        path = directory / "predictions.parquet"
        table = _table(path)
        columns = table.select(["language", "item_id", "cluster", "gold"])
        if cell.target not in self.panels:
            self.panels[cell.target] = self._panel(path, columns, task)
        panel = self.panels[cell.target]
        if not columns.equals(panel.columns):
            raise XstiltsError(*_differences(path, columns, panel.columns))
        return _statistics(path, table, panel.metric)

    def _panel(self, path: Path, columns: pa.Table, task: TaskRecord) -> Panel:
        _refuse_repeated(path, columns)
        languages = columns["language"].to_pylist()
        if set(languages) != set(task.languages):
            listed = ", ".join(sorted(set(languages) ^ set(task.languages)))
            raise fail(str(path), f"languages are not those of the study: {listed}")
        bounds = {name: (languages.index(name), languages.count(name)) for name in task.languages}
        rows = {name: slice(first, first + count) for name, (first, count) in bounds.items()}
        offset = sum(len(panel.clusters) for panel in self.panels.values())
        codes = pc.dictionary_encode(columns["cluster"].combine_chunks()).indices.to_numpy(zero_copy_only=False)
        return Panel(load_metric(task.metric), rows, codes.astype(np.int64) + offset, columns)


def _table(path: Path) -> pa.Table:
    """The rows of a prediction file, sorted by language and item."""
    try:
        table = pq.read_table(pa.BufferReader(verified(path)))
        if set(table.column_names) != set(SCHEMA.names):
            raise fail(str(path), "wrong columns", ", ".join(table.column_names), SCHEMA.names)
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except pa.ArrowException as error:
        raise fail(str(path), f"not a readable prediction file ({error})") from error
    for name in SCHEMA.names:
        if table[name].null_count:
            raise fail(str(path), f"column {name} has {table[name].null_count} empty rows")
    return table.sort_by([("language", "ascending"), ("item_id", "ascending")])


def _statistics(path: Path, table: pa.Table, metric: Metric) -> NDArray[np.float64]:
    column = table["stats"].combine_chunks()
    if pc.any(pc.not_equal(pc.list_value_length(column), len(metric.columns))).as_py():
        raise fail(str(path), f"column stats must hold {len(metric.columns)} numbers per row", None, metric.columns)
    flat = column.flatten().to_numpy(zero_copy_only=False)
    values: NDArray[np.float64] = flat.reshape(-1, len(metric.columns))
    unusable = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(unusable):
        keys = _keys(table)
        raise fail(str(path), f"statistics are not finite numbers: {_some([keys[row] for row in unusable])}")
    return values


def _differences(path: Path, columns: pa.Table, expected: pa.Table) -> list[Problem]:
    """How the examples of a file differ from those that the first system was scored on."""
    _refuse_repeated(path, columns)
    here, there = _keys(columns), _keys(expected)
    absent, extra = sorted(set(there) - set(here)), sorted(set(here) - set(there))
    problems = []
    if absent:
        problems.append(Problem(str(path), f"examples are missing that other systems were scored on: {_some(absent)}"))
    if extra:
        problems.append(Problem(str(path), f"holds examples that other systems were not scored on: {_some(extra)}"))
    if problems:
        return problems
    for name in ("cluster", "gold"):
        unequal = pc.not_equal(columns[name], expected[name]).to_pylist()
        if any(unequal):
            ids = list(itertools.compress(here, unequal))
            problems.append(Problem(str(path), f"{name} differs from other systems': {_some(ids)}"))
    return problems


def _refuse_repeated(path: Path, columns: pa.Table) -> None:
    twice = [key for key, following in itertools.pairwise(_keys(columns)) if key == following]
    if twice:
        raise fail(str(path), f"examples occur twice: {_some(twice)}")


def _same_step(directory: Path, cell: CellRecord, task: TaskRecord) -> None:
    """Refuse an artefact of another key, task, version of a task, rows or split than the study says."""
    step, path = step_of(directory), directory / "step.json"
    try:
        found = {name: step["task"][name] for name in ("name", "version", "fingerprint")} | {"split": step["split"]}
    except (KeyError, TypeError) as error:
        raise fail(str(path), "does not describe a prediction") from error
    wanted = {"name": cell.target, "version": task.version, "fingerprint": task.fingerprint, "split": cell.split}
    for name, value in wanted.items():
        if found[name] != value:
            raise fail(
                str(path), f"foreign artefact: {name} of its task is not the study's", str(found[name]), [str(value)]
            )


def _keys(table: pa.Table) -> list[tuple[str, str]]:
    """(language, item_id) of each row."""
    return list(zip(table["language"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def _some(keys: list[tuple[str, str]]) -> str:
    shown = ", ".join(f"{item} ({language})" for language, item in keys[:SHOWN_IDS])
    return shown if len(keys) <= SHOWN_IDS else f"{shown}, … {len(keys) - SHOWN_IDS} more"
