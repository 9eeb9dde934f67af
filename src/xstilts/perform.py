"""One step, from its rows to the files it leaves, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xstilts import bundle, intake
from xstilts.data import Sources, fingerprint, load_examples, load_training
from xstilts.errors import fail
from xstilts.key import key
from xstilts.lineage import inputs, lineage
from xstilts.spec import Combine, Example, Import, Predict, Source, Step, Task, TaskData, Train
from xstilts.store import Store
from xstilts.tasks import load_task

if TYPE_CHECKING:
    from xstilts.engine.compose import Runtime
    from xstilts.engine.decide import Rows
    from xstilts.engine.train import TrainingData


@dataclass(frozen=True)
class Machine:
    """Where a plan runs.

    Attributes:
        device: a torch device name.
        workers: processes that run steps side by side.
        live: whether one training may draw its own progress bar.
    """

    store: Store
    sources: Sources
    device: str
    workers: int = 1
    live: bool = False


def compute(step: Step, machine: Machine, directory: Path) -> None:
    """Run a step; it leaves its files in a directory.

    Raises:
        XstiltsError: rows that changed since the study was planned, a damaged artefact, too little memory.
    """
    from xstilts.engine.compose import Runtime

    runtime = Runtime(
        machine.device,
        lambda source: machine.store.verified(key(source)),
        machine.live,
        features=machine.store.root / "cache" / "features",
    )
    try:
        if isinstance(step, Train):
            _train(step, machine.sources, directory, runtime)
        elif isinstance(step, Predict):
            _predict(step, machine.sources, directory, runtime)
        elif isinstance(step, Combine):
            _combine(step, machine.sources, directory, runtime)
        else:
            intake.run(step, directory)
        if not isinstance(step, Predict):
            _bundle(step, directory)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        hint = "out of memory; set micro_batch or gradient_checkpointing in the recipe"
        raise fail(f"{type(step).__name__} {_about(step)}", hint) from error


def _train(step: Train, sources: Sources, directory: Path, runtime: Runtime) -> None:
    from xstilts.engine import train

    train.run(step, [_training(data, sources) for data in step.tasks], directory, runtime)


def _predict(step: Predict, sources: Sources, directory: Path, runtime: Runtime) -> None:
    from xstilts.engine import predict

    task = load_task(step.task.name)
    examples = load_examples(task, step.split, step.languages, sources)
    there = step.calibration
    dev = () if there is None else load_examples(task, there, step.languages, sources)
    _check_rows(step.task, dev, examples)
    predict.run(step, task, examples, directory, runtime, dev)


def _combine(step: Combine, sources: Sources, directory: Path, runtime: Runtime) -> None:
    from xstilts.engine import combine

    combine.run(step, _deciding(step, sources), directory, runtime)


def _bundle(step: Source, directory: Path) -> None:
    """Make a bundle of a finished module's directory."""
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    dev = {task: found["dev"] for task, found in result.get("by_task", {}).items() if found.get("dev")}
    metrics = [
        bundle.Measure(
            name=f"{task}, English dev", value=m["score"], low=m.get("low"), high=m.get("high"), n=m.get("n")
        )
        for task, m in dev.items()
    ]
    licence = result.get("origin", {}).get("licence") or ""
    bundle.write(directory, bundle.contents(step, lineage(step)[:-1], metrics, licence=licence))


def _deciding(step: Combine, sources: Sources) -> Rows:
    """The rows by which a combination is decided."""
    from xstilts.engine.decide import Rows

    if step.task is None:
        return Rows()
    task, data = _training(step.task, sources)
    if step.decided == "learned":
        return Rows((task, data.dev))
    return Rows((task, data.train), tuple(_trained_on(source, sources) for source in step.sources))


def _trained_on(source: Source, sources: Sources) -> tuple[tuple[Task, Sequence[Example]], ...]:
    """Training rows of every task that a module was trained on, one after the other or jointly."""
    trains = [each for each in lineage(source) if isinstance(each, Train)]
    data = {each.name: each for train in trains for each in train.tasks}
    members = [_training(each, sources) for each in data.values()]
    return tuple((task, rows.train) for task, rows in members)


def _training(data: TaskData, sources: Sources) -> tuple[Task, TrainingData]:
    """A task and its rows as a training reads them."""
    from xstilts.engine.train import TrainingData

    task = load_task(data.name)
    rows = load_training(task, data.language, sources)
    dev = load_examples(task, "dev", task.languages("dev"), sources)
    _check_rows(data, rows, dev)
    return task, TrainingData(rows, dev)


def _check_rows(data: TaskData, *parts: Sequence[Example]) -> None:
    """Refuse rows that are not those the step was planned with: its key would name another result."""
    if fingerprint([example for part in parts for example in part]) != data.fingerprint:
        raise fail(f"task {data.name}", "its rows changed since the study was planned; run the study again")


def _about(step: Step) -> str:
    if isinstance(step, Import):
        return step.source
    return step.task.name if step.task is not None else ", ".join(key(source)[:8] for source in inputs(step))


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has a type for a full GPU, and a plain RuntimeError for a full main memory."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
