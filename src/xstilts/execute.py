"""Run what is missing of a plan, in one process or several, on one store that others may be using too.

The parent walks the graph and hands out ready steps; a worker locks a step, runs it, publishes it. Whatever dies, dies
between two atomic renames: running again goes on from the last checkpoint.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import heapq
import importlib.metadata
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xstilts.errors import XstiltsError, fail
from xstilts.files import told, write_json
from xstilts.key import describe, key
from xstilts.lineage import reads
from xstilts.perform import Machine, compute
from xstilts.plan import Plan, evictable
from xstilts.spec import Predict, Step
from xstilts.store import Store

POLL_SECONDS = 0.2  # between two looks at a step that another process is working on


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
    return _missing(plan, _reads(plan), store)


def _missing(plan: Plan, needs: Mapping[str, tuple[str, ...]], store: Store) -> tuple[str, ...]:
    wanted: set[str] = set()
    read: set[str] = set()
    for name, step in reversed(plan.steps.items()):
        evicted = not isinstance(step, Predict) and name in read and not store.has_weights(name)
        if not store.is_done(name) or evicted:
            wanted.add(name)
            read.update(needs[name])
    return tuple(name for name in plan.steps if name in wanted)


def _reads(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Key of each step → keys of the trainings whose weights it reads."""
    return {name: tuple(key(source) for source in reads(step)) for name, step in plan.steps.items()}


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
    progress = _Progress(plan, machine.store)
    unread = _Unread(whole, machine.store)
    unread.evict(unread.readers)
    with _interruptible() as interrupted, _pool(machine) as submit:
        running: dict[concurrent.futures.Future[str | None], str] = {}
        while progress.waiting or running:
            if interrupted.is_set():
                raise KeyboardInterrupt
            if not running and not progress.able:
                progress.look_again()
                unread.evict(unread.readers)
            for name in progress.take(machine.workers - len(running)):
                tell(Event("started", name))
                running[submit(perform, plan.steps[name], machine)] = name
            for name in _collect(progress, running, tell):
                unread.evict((name, *progress.needs[name]))
            for name in progress.blocked_now():
                tell(Event("blocked", name))
    unread.evict(unread.readers)
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
            compute(step, machine, directory)
        write_json(directory / "step.json", {"key": name, "step": describe(step), **_origin()})
        store.publish(name)
        return f"{time.perf_counter() - began:.1f} s"


# --------------------------------------------------------------------------------------------------- bookkeeping


class _Progress:
    """What is waiting, made, failed and blocked while a plan runs.

    What an event costs depends on the steps that hang on one step, not on the size of the plan.

    Attributes:
        needs: step → the trainings whose weights it reads.
        waiting: steps to run, those that run included; a step that was tried in vain stays without being able.
        able: places in the plan of the steps that can start, as a heap.
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.needs = _reads(plan)
        self.order = tuple(plan.steps)
        self.place = {name: place for place, name in enumerate(self.order)}
        self.readers: dict[str, list[str]] = {}
        for name, sources in self.needs.items():
            for source in sources:
                self.readers.setdefault(source, []).append(name)
        self.made: list[str] = []
        self.failed: dict[str, XstiltsError] = {}
        self.blocked: list[str] = []
        self.told = 0  # of the blocked ones
        self._take_in()

    def _take_in(self) -> None:
        """Read from the store what has to run; steps that were lost, and what needs them, are left out."""
        missing_now = _missing(self.plan, self.needs, self.store)
        lost = {*self.failed, *self.blocked}
        self.waiting: set[str] = set()
        self.unmet: dict[str, set[str]] = {}
        for name in missing_now:  # inputs come first
            if name in lost:
                continue
            if not lost.isdisjoint(self.needs[name]):
                lost.add(name)
                self.blocked.append(name)
                continue
            self.unmet[name] = self.waiting.intersection(self.needs[name])
            self.waiting.add(name)
        self.able = [self.place[name] for name, unmet in self.unmet.items() if not unmet]

    def look_again(self) -> None:
        """Take in, after a pause, what others did to the store.

        Steps that they held may be free or done, and weights may be gone that a waiting step reads.
        """
        time.sleep(POLL_SECONDS)
        self._take_in()

    def take(self, room: int) -> list[str]:
        """The next steps that can start, at most ``room`` of them, in the order of the plan."""
        taken: list[str] = []
        while self.able and len(taken) < room:
            name = self.order[heapq.heappop(self.able)]
            if self._is_settled(name):
                self._release(name)  # others made it meanwhile
            elif all(self.store.has_weights(source) for source in self.needs[name]):
                taken.append(name)  # otherwise weights were evicted meanwhile, which ``look_again`` will see
        return taken

    def book(self, name: str, error: XstiltsError | None = None) -> None:
        """Note that a step was made, or failed."""
        if error is not None:
            self.waiting.discard(name)
            self.failed[name] = error
            self._block(name)
            return
        self.made.append(name)
        self._release(name)

    def _is_settled(self, name: str) -> bool:
        """Whether a step need not run any more: finished, its weights there or read by nothing that has to run."""
        if self._is_finished(name):
            return True
        readers = self.readers.get(name, ())
        return self.store.is_done(name) and all(
            reader not in self.waiting or self._is_finished(reader) for reader in readers
        )

    def _is_finished(self, name: str) -> bool:
        has_none = isinstance(self.plan.steps[name], Predict)
        return self.store.is_done(name) and (has_none or self.store.has_weights(name))

    def _release(self, name: str) -> None:
        """Let the steps start that waited for this one alone."""
        self.waiting.discard(name)
        for reader in self.readers.get(name, ()):
            if reader in self.waiting and name in self.unmet[reader]:
                self.unmet[reader].discard(name)
                if not self.unmet[reader]:
                    heapq.heappush(self.able, self.place[reader])

    def _block(self, name: str) -> None:
        lost = [name]
        while lost:
            fresh = [reader for reader in self.readers.get(lost.pop(), ()) if reader in self.waiting]
            self.waiting.difference_update(fresh)
            self.blocked += fresh
            lost += fresh

    def blocked_now(self) -> list[str]:
        """Steps that were blocked since the last call."""
        fresh, self.told = self.blocked[self.told :], len(self.blocked)
        return fresh


def _collect(
    progress: _Progress, running: dict[concurrent.futures.Future[str | None], str], tell: Callable[[Event], None]
) -> list[str]:
    """Wait for the next steps to end, book them, and return those that were made."""
    made: list[str] = []
    if not running:
        return made
    ended, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in ended:
        name = running.pop(future)
        try:
            account = future.result()
        except XstiltsError as error:
            progress.book(name, error)
            tell(Event("failed", name, str(error)))
            continue
        except concurrent.futures.process.BrokenProcessPool as error:
            raise fail("worker", "a worker process was killed (out of memory?); run again to go on") from error
        if account is None:
            tell(Event("waiting", name))
            continue
        progress.book(name)
        made.append(name)
        tell(Event("done", name, account))
    return made


class _Unread:
    """Drops the weights of trainings whose predictions are all made, unless someone is reading them.

    Attributes:
        readers: disposable training → steps of the whole study that read it and were not seen finished.
    """

    def __init__(self, whole: Plan, store: Store) -> None:
        self.store = store
        self.readers: dict[str, list[str]] = {name: [] for name in evictable(whole)}
        for name, sources in _reads(whole).items():
            for source in self.readers.keys() & sources:
                self.readers[source].append(name)

    def evict(self, names: Iterable[str]) -> None:
        """Drop the weights of those of the trainings that nothing has to read any more."""
        for name in names:
            readers = self.readers.get(name)
            if readers is None:
                continue
            while readers and self.store.is_done(readers[-1]):
                readers.pop()
            if readers or not self.store.has_weights(name):
                continue
            with self.store.lock(name) as free:
                if free:
                    self.store.evict(name)


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
