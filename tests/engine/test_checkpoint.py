"""Exact resume: wherever a training is killed, it ends with the weights it would have had."""

import itertools
import pickle
import signal
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest
import torch

from xstilts.engine import artifact, compose, loop, train
from xstilts.engine.checkpoint import State
from xstilts.engine.record import Progress
from xstilts.errors import XstiltsError
from xstilts.key import key
from xstilts.store import SCRATCH


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


# where → (owner, attribute, number of the call that does not return, step the last checkpoint was taken at)
KILLS = {
    "before the first checkpoint": (loop.Loop, "_step", 1, 0),
    "in an early step": (loop.Loop, "_backward", 4, 3),
    "in a late step": (loop.Loop, "_backward", 13, 12),
    "in an evaluation": (train, "_evaluate", 2, 9),
    "while a checkpoint is written": (artifact, "save_file", 7, 6),
    "before a checkpoint is put in place": (artifact.os, "fsync", 5, 4),
    "while the results are written": (train, "_result", 1, 15),
}


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("point", KILLS)
def test_kill_and_resume_gives_the_uninterrupted_weights(bench, tmp_path, monkeypatch, method, point):
    step = bench.step(method, epochs=3, lr=3e-3)  # 15 steps, dropout 0.1
    whole = bench.train(step)
    bench.forget(tmp_path / "killed")
    monkeypatch.setattr(loop, "SAVING_SHARE", float("inf"))  # save after every step
    owner, name, call, saved = KILLS[point]
    real, calls = getattr(owner, name), itertools.count(1)

    def kill(*args, **kwargs):
        if next(calls) < call:
            return real(*args, **kwargs)
        if name == "save_file":
            Path(args[1]).write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        with pytest.raises(Killed):
            bench.train(step, checkpoint_seconds=0.0)
    torch.manual_seed(12345)  # whatever the process did in between
    counted = itertools.count()
    next_batch = loop.Loop._next_batch
    monkeypatch.setattr(loop.Loop, "_next_batch", lambda self: (next(counted), next_batch(self))[1])
    resumed = bench.train(step, checkpoint_seconds=0.0)
    assert next(counted) == 15 - saved
    assert bench.same(whole, resumed)
    assert bench.curve(whole) == bench.curve(resumed)
    assert {path.name for path in resumed.iterdir()} == {path.name for path in whole.iterdir()} | {SCRATCH}
    assert bench.result(resumed)["examples_seen"] == bench.result(whole)["examples_seen"] == 120


def test_a_killed_process_is_resumed(bench, tmp_path):
    """The real thing once: SIGKILL in a process of its own."""
    step = bench.step("houlsby", epochs=3)
    whole = bench.train(step)
    bench.forget(tmp_path / "killed")
    directory = bench.directory(step)
    (tmp_path / "step.pickle").write_bytes(pickle.dumps((step, bench.data(), directory)))
    program = f"""
        import os, pickle, signal
        from xstilts.engine import compose, loop, train
        from xstilts.spec import GeneratedData, Task
        step, data, directory = pickle.load(open({str(tmp_path / "step.pickle")!r}, "rb"))
        task = Task("toy_classification", 1, "classification", "accuracy", GeneratedData({{}}, None), ("no", "yes"))
        loop.SAVING_SHARE, real = float("inf"), loop.Loop._backward
        def die(self, *batch):
            if self.progress.step == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *batch)
        loop.Loop._backward = die
        train.run(step, [(task, data)], directory, compose.Runtime("cpu", None, checkpoint_seconds=0.0))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert [path.name for path in (directory / "checkpoint").iterdir()] == ["checkpoint.safetensors"]
    assert bench.same(whole, bench.train(step))


def kill(*_):
    raise Killed


@pytest.mark.parametrize("harm", ["truncate", "garbage", "foreign"])
def test_a_damaged_checkpoint_is_refused(bench, monkeypatch, harm):
    monkeypatch.setattr(loop, "SAVING_SHARE", float("inf"))
    step = bench.step("lora", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(compose, "save", kill)
        with pytest.raises(Killed):
            bench.train(step, checkpoint_seconds=0.0)
    path = bench.directory(step) / "checkpoint" / "checkpoint.safetensors"
    content = path.read_bytes()
    if harm == "foreign":
        content = content.replace(key(step).encode(), b"0" * 32)
    path.write_bytes({"truncate": content[:-100], "garbage": b"\x00" * 64, "foreign": content}[harm])
    with pytest.raises(XstiltsError, match="delete it to start over"):
        bench.train(step)


# ---------------------------------------------------------------------------------------------------------- memory


def state(parameters):
    optimizer = torch.optim.AdamW(parameters.values())
    return State("0" * 32, parameters, optimizer, {}, Progress())


def test_the_best_weights_are_kept_in_the_same_memory():
    parameter = torch.nn.Parameter(torch.zeros(4))
    kept = state({"a": parameter})
    kept.keep_best()
    place = kept.best["a"].data_ptr()
    with torch.no_grad():
        parameter += 1
    assert not kept.best["a"].any()
    kept.keep_best()
    assert kept.best["a"].tolist() == [1.0] * 4 and kept.best["a"].data_ptr() == place != parameter.data_ptr()


def test_a_checkpoint_is_read_tensor_by_tensor(tmp_path, monkeypatch):
    """A parameter without a step, as the head of a task whose turn has not come, is restored as such."""
    stepped, idle = torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(5))
    first = state({"stepped": stepped, "idle": idle})
    first.keep_best()
    stepped.grad = torch.randn(3, 2)
    first.optimizer.step()
    first.save(tmp_path)
    second = state({name: torch.nn.Parameter(torch.zeros_like(p)) for name, p in first.trained.items()})
    second.keep_best()
    best = {name: tensor.data_ptr() for name, tensor in second.best.items()}
    alive, most = [], []
    real = artifact.stream

    def watched(*args):
        for name, tensor in real(*args):
            alive.append(weakref.ref(tensor))
            most.append(sum(reference() is not None for reference in alive))
            yield name, tensor

    monkeypatch.setattr(artifact, "stream", watched)
    assert second.restore(tmp_path)
    assert len(most) == 1 + 2 * 5 and max(most) <= 2
    assert {name: tensor.data_ptr() for name, tensor in second.best.items()} == best
    for name in ("stepped", "idle"):
        assert torch.equal(second.trained[name], first.trained[name])
        assert torch.equal(second.best[name], first.best[name])
    assert float(second.optimizer.state[second.trained["stepped"]]["step"]) == 1
    for each in (first, second):
        each.optimizer.zero_grad()
        for parameter in each.trained.values():
            parameter.grad = torch.ones_like(parameter)
        each.optimizer.step()
    assert all(torch.equal(second.trained[name], first.trained[name]) for name in first.trained)
