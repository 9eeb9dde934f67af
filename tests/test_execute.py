"""The graph walk, with a stand-in for the computation: who runs what, once, and what survives a kill."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from xstilts import execute
from xstilts.config import load_study
from xstilts.data import Sources
from xstilts.errors import fail
from xstilts.execute import Machine, missing
from xstilts.key import key
from xstilts.lineage import inputs, reads
from xstilts.plan import evictable, expand
from xstilts.spec import Backbone, Train, Warm
from xstilts.store import WEIGHTS, Store

ROOT = Path(__file__).parents[1]
STUDY = """
name = "t"
title = "T"
seeds = [1, 2]
intermediates = ["mini_mnli"]
targets = ["mini_xnli", "mini_tatoeba"]
recipe = { common = { epochs = 1, lr = 1e-3 } }
system = [
  { name = "full_direct", label = "d", mode = "fullft", adapter = "full", start = "cold" },
  { name = "full_warm", label = "w", mode = "fullft", adapter = "full", start = "warm" },
  { name = "stack", label = "s", mode = "adapter", adapter = "pfeiffer_r16", start = "stack" },
]
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "t.toml").write_text(STUDY)
    loaded = load_study(str(tmp_path / "t.toml"), tmp_path, ROOT / "adapter_configs")
    return expand(loaded, Backbone("b" * 64, 4, 256, "mini", "/x"), lambda *rows: str(rows), "fp32")


@pytest.fixture
def machine(tmp_path):
    return Machine(Store(tmp_path / "store"), Sources(), "cpu")


@pytest.fixture(autouse=True)
def compute(monkeypatch, tmp_path):
    """Stand in for training and prediction; every call leaves a line in ``log``."""
    log = tmp_path / "log"
    log.touch()

    def fake(step, machine, directory):
        for source in reads(step):
            assert (machine.store.verified(key(source)) / WEIGHTS).is_file()
        with log.open("a") as stream:
            stream.write(f"{key(step)}\n")
        name = WEIGHTS if isinstance(step, Train) else "predictions.parquet"
        (directory / name).write_text(key(step))
        (directory / "result.json").write_text("{}")

    monkeypatch.setattr(execute, "compute", fake)
    return log


def run(plan, machine):
    events = []
    return execute.run(plan, plan, machine, events.append), events


def ran(log):
    return log.read_text().split()


def test_every_step_runs_once_and_a_second_run_does_no_work(plan, machine, compute):
    outcome, _ = run(plan, machine)
    assert sorted(outcome.made) == sorted(plan.steps) == sorted(ran(compute))
    again, events = run(plan, machine)
    assert again.made == () and events == [] and len(ran(compute)) == len(plan.steps)


def test_a_finished_step_says_what_it_was(plan, machine):
    run(plan, machine)
    for name in plan.steps:
        written = json.loads((machine.store.verified(name) / "step.json").read_text())
        assert written["step"]["task"]["name"].startswith("mini_")
        assert written["xstilts"]


def test_full_weights_go_once_predicted_and_sources_stay(plan, machine):
    run(plan, machine)
    gone = {
        name for name, step in plan.steps.items() if isinstance(step, Train) and not machine.store.has_weights(name)
    }
    assert gone == evictable(plan) != frozenset()


def test_evicted_weights_are_made_again_only_for_a_step_that_reads_them(plan, machine, compute):
    run(plan, machine)
    lost = next(
        name
        for name in plan.steps
        if not isinstance(plan.steps[name], Train)
        and any(key(source) in evictable(plan) for source in inputs(plan.steps[name]))
    )
    directory = machine.store.directory(lost)
    directory.rename(directory.with_name("elsewhere"))
    source = key(inputs(plan.steps[lost])[0])
    assert missing(plan, machine.store) == (source, lost)
    compute.write_text("")
    run(plan, machine)
    assert ran(compute) == [source, lost]


def test_a_failed_step_blocks_what_needs_it_and_nothing_else(plan, machine, monkeypatch):
    honest = execute.compute
    bad = next(
        name for name, step in plan.steps.items() if step.task.name == "mini_mnli" and step.method.kind == "full"
    )

    def failing(step, machine, directory):
        if key(step) == bad:
            raise fail("here", "went wrong")
        honest(step, machine, directory)

    monkeypatch.setattr(execute, "compute", failing)
    outcome, events = run(plan, machine)
    assert list(outcome.failed) == [bad]
    assert len(outcome.blocked) == 3  # the target training, its prediction and the retrieval prediction
    assert {*outcome.made, *outcome.blocked, bad} == set(plan.steps)
    assert [event.text for event in events if event.kind == "failed"] == ["here: went wrong"]
    assert machine.store.state(bad) == "partial"


@pytest.mark.parametrize(
    ("error", "expected"), [(28, "make room and run the same command"), (30, "read-only file system")]
)
def test_what_the_disk_refuses_is_told(plan, machine, monkeypatch, error, expected):
    def refuse(*_):
        raise OSError(error, os.strerror(error), "somewhere")

    monkeypatch.setattr(execute, "compute", refuse)
    outcome, _ = run(plan, machine)
    assert all(expected in str(told) for told in outcome.failed.values())
    assert len(outcome.failed) + len(outcome.blocked) == len(plan.steps)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_destructor_swallows_still_ends_the_run(plan, machine, compute, monkeypatch, kind):
    class Dying:
        def __del__(self):
            os.kill(os.getpid(), kind)
            time.sleep(0.01)

    finish = execute.compute

    def dying(step, machine, directory):
        Dying()
        finish(step, machine, directory)

    before = signal.signal(kind, signal.default_int_handler)
    monkeypatch.setattr(execute, "compute", dying)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(plan, machine)
        assert signal.getsignal(kind) is signal.default_int_handler
    finally:
        signal.signal(kind, before)
    assert len(ran(compute)) == 1 and len(missing(plan, machine.store)) == len(plan.steps) - 1


def test_a_signal_that_the_caller_ignores_stays_ignored(plan, machine, compute, monkeypatch):
    finish = execute.compute

    def signalled(step, machine, directory):
        os.kill(os.getpid(), signal.SIGINT)
        finish(step, machine, directory)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(execute, "compute", signalled)
    try:
        run(plan, machine)
    finally:
        signal.signal(signal.SIGINT, before)
    assert missing(plan, machine.store) == ()


def _run_slowly(plan, machine, seconds):
    quick = execute.compute

    def slow(*arguments):
        time.sleep(seconds)
        quick(*arguments)

    execute.compute = slow
    execute.run(plan, plan, machine, lambda event: None)


def test_two_processes_on_one_store_share_the_work(plan, machine, compute):
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=_run_slowly, args=(plan, machine, 0.02)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
    assert [process.exitcode for process in pair] == [0, 0]
    evicted_meanwhile = len(ran(compute)) - len(set(ran(compute)))
    assert set(ran(compute)) == set(plan.steps) and evicted_meanwhile == 0


def test_a_killed_run_is_taken_up_by_the_next(plan, machine, compute):
    process = multiprocessing.get_context("fork").Process(target=_run_slowly, args=(plan, machine, 0.05))
    process.start()
    while len(ran(compute)) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = {name for name in plan.steps if machine.store.is_done(name)}
    assert done
    compute.write_text("")
    run(plan, machine)
    assert set(ran(compute)) == set(plan.steps) - done
    assert not list((machine.store.root / "partial").iterdir())


def test_two_processes_work_side_by_side(plan, machine, compute):
    """Each takes what the other does not hold, instead of waiting for it."""
    began = time.perf_counter()
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=_run_slowly, args=(plan, machine, 0.2)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
    assert set(ran(compute)) == set(plan.steps)
    assert time.perf_counter() - began < 0.8 * 0.2 * len(plan.steps)


def test_a_source_evicted_before_its_lock_is_held_is_made_again(plan, machine, compute):
    run(plan, machine)
    source = next(step for name, step in plan.steps.items() if name in evictable(plan))
    predict = next(step for step in plan.steps.values() if source in inputs(step))
    machine.store.directory(key(predict)).rename(machine.store.root / "elsewhere")
    assert execute.perform(predict, machine) is None
    outcome, _ = run(plan, machine)
    assert set(outcome.made) == {key(source), key(predict)} and not outcome.failed


def test_a_module_below_a_stack_that_cannot_be_made_again_blocks_what_reads_it(plan, machine, monkeypatch):
    """The training on top of it is finished, but its prediction reads both modules."""
    run(plan, machine)
    predict = next(step for step in plan.steps.values() if len(reads(step)) == 2)
    below = key(reads(predict)[0])
    (machine.store.directory(below) / WEIGHTS).unlink()
    machine.store.directory(key(predict)).rename(machine.store.root / "elsewhere")

    def failing(step, machine, directory):
        raise fail("here", "went wrong")

    monkeypatch.setattr(execute, "compute", failing)
    outcome, events = run(plan, machine)
    assert list(outcome.failed) == [below] and outcome.blocked == (key(predict),) and not outcome.made
    assert [event.kind for event in events] == ["started", "failed", "blocked"]


def test_a_training_that_others_made_read_and_evicted_meanwhile_is_not_repeated(plan, machine, compute):
    machine.store.prepare()
    late = execute._Progress(plan, machine.store)
    run(plan, machine)
    compute.write_text("")
    while late.waiting:
        assert late.able and late.take(1) == []
    assert ran(compute) == [] and late.made == []


def test_weights_that_a_killed_run_left_are_dropped_by_the_next(plan, machine):
    run(plan, machine)
    left = sorted(evictable(plan))[0]
    (machine.store.directory(left) / WEIGHTS).write_text(left)
    run(plan, machine)
    assert not machine.store.has_weights(left)


GROUPS = 1250


@pytest.fixture
def large_plan(plan):
    """5,000 steps: 1,250 times a source, a full fine-tuning on it, and a prediction of either."""
    full = {name: step for name, step in plan.steps.items() if isinstance(step, Train) and step.method.kind == "full"}
    source = next(step for step in full.values() if step.task.name == "mini_mnli")
    target = next(step for step in full.values() if inputs(step) == (source,))
    predicted = {name: step for name, step in plan.steps.items() if name not in full}
    predicts = [next(step for step in predicted.values() if inputs(step) == (each,)) for each in (source, target)]
    steps = []
    for seed in range(GROUPS):
        first = dataclasses.replace(source, seed=seed)
        second = dataclasses.replace(target, seed=seed, start=Warm(first))
        pairs = zip(predicts, (first, second), strict=True)
        steps += [first, second, *(dataclasses.replace(predict, model=model) for predict, model in pairs)]
    return dataclasses.replace(plan, steps={key(step): step for step in steps})


class CountingStore(Store):
    """Counts how often something is looked up."""

    looks = 0

    def is_done(self, key):
        CountingStore.looks += 1
        return super().is_done(key)

    def has_weights(self, key):
        CountingStore.looks += 1
        return super().has_weights(key)


def test_the_walk_of_a_large_plan_is_linear(large_plan, tmp_path, monkeypatch):
    """Every event looks at a few steps; a walk of the whole plan per event would take 25 million looks."""
    store = CountingStore(tmp_path / "large")
    order = []

    def stand_in(step, machine):
        name = key(step)
        assert all((store.directory(key(source)) / WEIGHTS).is_file() for source in reads(step))
        store.directory(name).mkdir()
        (store.directory(name) / "files.json").write_text("{}")
        if isinstance(step, Train):
            (store.directory(name) / WEIGHTS).touch()
        order.append(name)
        return ""

    monkeypatch.setattr(execute, "perform", stand_in)
    steps = 4 * GROUPS
    assert len(large_plan.steps) == steps
    outcome, events = run(large_plan, Machine(store, Sources(), "cpu"))
    assert order == list(large_plan.steps) == list(outcome.made) and len(events) == 2 * steps
    assert CountingStore.looks < 12 * steps
    kept = {name for name in large_plan.steps if store.has_weights(name)}
    assert len(kept) == GROUPS and not kept & evictable(large_plan)


def test_one_failure_in_a_large_plan_blocks_what_needs_it(large_plan, tmp_path, monkeypatch):
    def stand_in(step, machine):
        raise fail("here", "went wrong")

    monkeypatch.setattr(execute, "perform", stand_in)
    outcome, _ = run(large_plan, Machine(Store(tmp_path / "large"), Sources(), "cpu"))
    assert len(outcome.failed) == GROUPS and len(outcome.blocked) == 3 * GROUPS and not outcome.made
