"""Run what is missing of a plan, in one process or several, on one store that others may be using too.

The parent walks the graph and hands out ready steps; a worker locks a step, runs it, publishes it. Whatever dies, dies
between two atomic renames: running again goes on from the last checkpoint.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.metadata
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError, fail
from xstilts.key import describe, key
from xstilts.lineage import inputs, reads
from xstilts.plan import Plan, evictable
from xstilts.spec import Predict, Step, Train
from xstilts.store import Store, told, write_json
from xstilts.tasks import load_task

POLL_SECONDS = 0.2  # between two looks at a step that another process is working on


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


class Event(NamedTuple):
    """What the parent tells the caller while a plan runs."""

    kind: Literal["started", "done", "failed", "blocked", "waiting"]
    key: str
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: keys of the steps that were made, and of those that were not, with the reason."""

    made: tuple[str, ...]
    failed: dict[str, XstiltsError]
    blocked: tuple[str, ...]


def missing(plan: Plan, store: Store) -> tuple[str, ...]:
    """Keys of the steps that have to run, inputs first.

    A training whose weights were evicted runs again only if a missing step reads them.
    """
    wanted: set[str] = set()
    read: set[str] = set()
    for name, step in reversed(plan.steps.items()):
        evicted = isinstance(step, Train) and name in read and not store.has_weights(name)
        if not store.is_done(name) or evicted:
            wanted.add(name)
            read |= {key(source) for source in reads(step)}
    return tuple(name for name in plan.steps if name in wanted)


def run(plan: Plan, whole: Plan, machine: Machine, tell: Callable[[Event], None]) -> Outcome:
    """Run every missing step of ``plan``.

    Args:
        plan: what to run.
        whole: the study's whole plan, which decides what weights may be evicted.
        machine: where to run it.
        tell: called in the parent for every event.

    Returns:
        What was made and what was not. A failed step does not stop the steps that do not need it.

    Raises:
        KeyboardInterrupt: after the workers were stopped.
    """
    machine.store.prepare()
    progress = _Progress(plan, machine.store, list(missing(plan, machine.store)))
    disposable = evictable(whole)
    with _interruptible() as interrupted, _pool(machine) as submit:
        running: dict[concurrent.futures.Future[str | None], str] = {}
        while progress.waiting or running:
            if interrupted.is_set():
                raise KeyboardInterrupt
            if not running:
                progress.look_again()
            for name in progress.blocked_now():
                tell(Event("blocked", name))
            for name in progress.ready(set(running.values()))[: machine.workers - len(running)]:
                tell(Event("started", name))
                running[submit(perform, plan.steps[name], machine)] = name
            _collect(progress, running, tell)
            _evict(whole, machine.store, disposable)
    return Outcome(tuple(progress.made), progress.failed, tuple(progress.blocked))


def perform(step: Step, machine: Machine) -> str | None:
    """Run one step in this process and publish it.

    Returns:
        A short account of it, or None when another process holds the step or is replacing one of its inputs.
    """
    store, name = machine.store, key(step)
    with contextlib.ExitStack() as locks:
        sources = [key(source) for source in reads(step)]
        wanted = [(name, False), *((source, True) for source in sources)]
        if not all(locks.enter_context(store.lock(each, shared)) for each, shared in wanted):
            return None
        if not all(store.has_weights(source) for source in sources):
            return None  # evicted before the lock was held; the parent looks again
        if store.is_done(name) and (isinstance(step, Predict) or store.has_weights(name)):
            return "made by another process"
        directory = store.begin(name)
        began = time.perf_counter()
        with told(directory):
            _compute(step, machine, directory)
        write_json(directory / "step.json", {"key": name, "step": describe(step), **_origin()})
        store.publish(name)
        return f"{time.perf_counter() - began:.1f} s"


def _compute(step: Step, machine: Machine, directory: Path) -> None:
    from xstilts.engine import predict, train
    from xstilts.engine.compose import Runtime

    runtime = Runtime(machine.device, lambda source: machine.store.verified(key(source)), machine.live)
    task = load_task(step.task.name)
    try:
        if isinstance(step, Train):
            rows = [load_examples(task, split, task.languages(split), machine.sources) for split in ("train", "dev")]
            train.run(step, task, train.TrainingData(*rows), directory, runtime)
        else:
            examples = load_examples(task, step.split, step.languages, machine.sources)
            predict.run(step, task, examples, directory, runtime)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        hint = "out of memory; set micro_batch or gradient_checkpointing in the recipe"
        raise fail(f"{type(step).__name__} {step.task.name}", hint) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has a type for a full GPU, and a plain RuntimeError for a full main memory."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


# --------------------------------------------------------------------------------------------------- bookkeeping


@dataclass
class _Progress:
    """What is waiting, made, failed and blocked while a plan runs."""

    plan: Plan
    store: Store
    waiting: list[str]
    held: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    failed: dict[str, XstiltsError] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)

    def ready(self, running: set[str]) -> list[str]:
        """Steps that can start, those that another process holds left out until all others were tried."""
        able = [name for name in self.waiting if name not in running and self._inputs_are_there(name)]
        free = [name for name in able if name not in self.held]
        if able and not free and not running:
            time.sleep(POLL_SECONDS)
            self.held.clear()
        return free

    def look_again(self) -> None:
        """Take in what others did to the store meanwhile: weights may be gone that a waiting step reads."""
        lost = {*self.failed, *self.blocked}
        self.waiting = [name for name in missing(self.plan, self.store) if name not in lost]

    def blocked_now(self) -> list[str]:
        lost = set(self.failed) | set(self.blocked)
        fresh = [name for name in self.waiting if lost & {key(each) for each in inputs(self.plan.steps[name])}]
        self.waiting = [name for name in self.waiting if name not in fresh]
        self.blocked += fresh
        return fresh

    def _inputs_are_there(self, name: str) -> bool:
        needed = {key(source) for source in reads(self.plan.steps[name])}
        return not needed & set(self.waiting) and all(self.store.has_weights(each) for each in needed)


def _collect(
    progress: _Progress, running: dict[concurrent.futures.Future[str | None], str], tell: Callable[[Event], None]
) -> None:
    """Wait for the next step to end and book it."""
    if not running:
        time.sleep(POLL_SECONDS)
        return
    ended, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in ended:
        name = running.pop(future)
        try:
            account = future.result()
        except XstiltsError as error:
            progress.failed[name] = error
            progress.waiting.remove(name)
            tell(Event("failed", name, str(error)))
            continue
        except concurrent.futures.process.BrokenProcessPool as error:
            raise fail("worker", "a worker process was killed (out of memory?); run again to go on") from error
        if account is None:
            tell(Event("waiting", name))
            progress.held.add(name)
            continue
        progress.made.append(name)
        progress.waiting.remove(name)
        tell(Event("done", name, account))


def _evict(whole: Plan, store: Store, disposable: frozenset[str]) -> None:
    """Drop the weights of trainings whose predictions are all made, unless someone is reading them."""
    unread = {name for name in disposable if store.has_weights(name)}
    for name, step in whole.steps.items():
        if not store.is_done(name):
            unread -= {key(source) for source in reads(step)}
    for name in unread:
        with store.lock(name) as free:
            if free:
                store.evict(name)


def _origin() -> dict[str, Any]:
    """Where an artefact came from; recorded, never hashed."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    version = importlib.metadata.version("xstilts")
    return {
        "xstilts": version,
        "commit": commit or None,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


# ------------------------------------------------------------------------------------------------------- processes

Submit = Callable[..., "concurrent.futures.Future[str | None]"]


@contextlib.contextmanager
def _pool(machine: Machine) -> Iterator[Submit]:
    """A way to submit steps: here when there is one worker, otherwise to processes of their own."""
    if machine.workers == 1:
        yield _run_here
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(machine.workers, context, _start_worker)

    def submit(*work: Any) -> concurrent.futures.Future[str | None]:
        # Workers inherit the mask: Ctrl-C is the parent's, from their first moment on.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(*work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()  # safe at any moment: nothing is published half
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _run_here(function: Callable[..., str | None], *arguments: Any) -> concurrent.futures.Future[str | None]:
    future: concurrent.futures.Future[str | None] = concurrent.futures.Future()
    try:
        future.set_result(function(*arguments))
    except XstiltsError as error:
        future.set_exception(error)
    return future


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM (a scheduler's preemption) interrupt, and remember that one came.

    An exception that a signal raises inside a destructor is dropped by Python: it is not shown, and whoever loops asks
    the event.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) is not signal.SIG_IGN]
    before = {kind: signal.signal(kind, interrupt) for kind in kinds}
    shown = sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if dropped.exc_type is KeyboardInterrupt else shown(dropped)
    try:
        yield interrupted
    finally:
        sys.unraisablehook = shown
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _start_worker() -> None:
    """Do not outlive the parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
