"""One run of one study, from its name to its report, with what the reader sees on the way."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from xstilts import execute, intake, report
from xstilts.backbone import announced, resolve
from xstilts.config import load_study
from xstilts.data import Sources
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.execute import Event
from xstilts.inventory import Inventory, lacks_data, origin
from xstilts.manifest import write_manifest
from xstilts.perform import Machine
from xstilts.plan import Plan, expand, label
from xstilts.report.words import aligned
from xstilts.spec import Backbone, Step, Train
from xstilts.store import Store

MOST_WORKERS = 4
NO_DATA, NO_BACKBONE = "no data", "no backbone"
LARGE_BACKBONE_BYTES = 300_000_000  # beyond it one process at a time: each holds a copy and its gradients


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        reports: where a report gets a directory of its own when ``out`` names none.
        claims: file of claims, of which those about the study get verdicts; None = there are none.
    """

    study: str
    mode: Literal["fullft", "adapter", "both"]
    store: Path
    reports: Path
    device: str
    out: Path | None = None
    backbone: str | None = None
    data: Path | None = None
    files: Path | None = None
    lang: str | None = None
    workers: int | None = None
    dry_run: bool = False
    claims: Path | None = None


def run_study(request: Request, studies: Path, adapter_configs: Path) -> int:
    """Plan a study and show the plan, or run it and write its report.

    Returns:
        Exit code: 0, or 1 when some steps failed, or some steps that were only to be shown lack their data.

    Raises:
        XstiltsError: bad input, before anything runs.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    console = Console(soft_wrap=True)
    loaded = load_study(request.study, studies, adapter_configs)
    if request.lang is not None:
        loaded = replace(loaded, study=loaded.study.translated(request.lang))
    sources = Sources(request.data, request.files, frozenset(loaded.study.subsets))
    backbone, unreachable = _backbone(request.backbone or loaded.study.backbone, request.dry_run)
    from xstilts.engine.device import choose  # torch, which takes seconds to load

    device, precision = choose(request.device)
    store = Store(request.store)
    cache = None if request.dry_run and not store.root.is_dir() else store.root / "cache"
    inventory = Inventory(sources, cache)
    modules = intake.resolve(loaded.study, backbone, loaded.directory, lambda line: _say(console, line))
    whole = expand(loaded, backbone, inventory.fingerprint, precision, modules)
    plan = whole if request.mode == "both" else whole.only(request.mode)
    if request.dry_run:
        problems = (*unreachable, *inventory.problems)
        _show_plan(console, plan, store, sources)
        for number, problem in enumerate(problems):
            heading = "" if number else "\nThe steps that lack something cannot run:\n"
            console.print(f"{heading}- {problem}", markup=False, highlight=False)
        return 1 if problems else 0
    inventory.raise_if_incomplete()
    workers = _workers(device, backbone) if request.workers is None else request.workers
    if workers < 1:
        raise fail("--workers", "must be at least 1", str(workers))
    store.prepare()
    manifest = write_manifest(whole, store, sources)
    machine = Machine(store, sources, device, workers, live=console.is_terminal and workers == 1)
    outcome = _run(console, plan, whole, machine)
    code = _account(console, plan, outcome)
    out = request.out or request.reports / manifest.stem
    written = report.write(store.root, loaded.study.name, out, backbone.name, request.claims)
    console.print(written.headline, markup=False, highlight=False)
    console.print(f"report: {written.path}", markup=False, highlight=False)
    return code


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False)


# -------------------------------------------------------------------------------------------------------- machine


def _workers(device: str, backbone: Backbone) -> int:
    large = (Path(backbone.path) / "model.safetensors").stat().st_size > LARGE_BACKBONE_BYTES
    return 1 if large or device != "cpu" else min(MOST_WORKERS, os.cpu_count() or 1)


# ----------------------------------------------------------------------------------------------------------- shown


def _backbone(name: str, dry_run: bool) -> tuple[Backbone, tuple[Problem, ...]]:
    """The backbone; to show a plan, a well-known one may be out of reach, and why is told."""
    try:
        return resolve(name), ()
    except XstiltsError as error:
        stand_in = announced(name) if dry_run else None
        if stand_in is None:
            raise
        return stand_in, error.problems


def _show_plan(console: Console, plan: Plan, store: Store, sources: Sources) -> None:
    """Print every step with its state and where its rows come from."""
    waiting = set(execute.missing(plan, store))
    states = {name: _state(name, step, waiting, store) for name, step in plan.steps.items()}
    rows = [("state", "key", "step", "data")]
    for name, step in plan.steps.items():
        key = "" if states[name] in (NO_DATA, NO_BACKBONE) else name[:8]
        rows.append((states[name], key, label(plan, step), origin(step, sources)))
    for line in aligned(rows):
        console.print(line, markup=False, highlight=False)
    trainings = sum(isinstance(step, Train) for step in plan.steps.values())
    counts = Counter(states.values())
    shown = ", ".join(f"{counts[state]} {state}" for state in ("done", "partial", "to do"))
    shown += "".join(f", {counts[state]} with {state}" for state in (NO_DATA, NO_BACKBONE) if state in counts)
    console.print(f"{len(plan.steps)} steps ({trainings} trainings): {shown}")
    console.print(f"{plan.asked - trainings} of {plan.asked} trainings saved by sharing")


def _state(name: str, step: Step, waiting: set[str], store: Store) -> str:
    if lacks_data(step):
        return NO_DATA
    if not step.backbone.fingerprint:
        return NO_BACKBONE
    if name not in waiting:
        return "done"
    state = store.state(name)
    return "to do" if state == "done" else state


def _run(console: Console, plan: Plan, whole: Plan, machine: Machine) -> execute.Outcome:
    todo = len(execute.missing(plan, machine.store))
    console.print(f"{plan.loaded.study.title}: {len(plan.steps)} steps, {todo} to run, {machine.workers} at a time")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=machine.workers == 1 or not console.is_terminal) as bar:
        overall = bar.add_task(plan.loaded.study.name, total=todo)
        count = 0

        def tell(event: Event) -> None:
            nonlocal count
            text = label(plan, plan.steps[event.key])
            if event.kind in ("done", "failed", "blocked"):
                count += 1
                bar.update(overall, completed=count)
                console.print(f"[{count}/{todo}] {event.kind}: {text}  {event.text}", markup=False, highlight=False)
            elif event.kind == "waiting":
                bar.update(overall, description="waiting for another process")
            else:
                bar.update(overall, description=text)

        return execute.run(plan, whole, machine, tell)


def _account(console: Console, plan: Plan, outcome: execute.Outcome) -> int:
    for name, error in outcome.failed.items():
        console.print(f"failed: {label(plan, plan.steps[name])}\n  {error}", markup=False, style="red")
    if outcome.blocked:
        console.print(f"{len(outcome.blocked)} steps did not run because a step they need failed", style="red")
    return 1 if outcome.failed else 0
