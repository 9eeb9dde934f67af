"""The training loop: one optimiser step after another, evaluation on dev, checkpoints, and a reason to stop.

On ``accelerate`` for the device, the backward pass and gradient clipping. AdamW is the fused one under every method:
with the default one a third of a full fine-tuning step is the optimiser, and adapters look faster than they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from xstilts.batches import Feature, Turn, collate, lengths, micro_batches, mixture_batches
from xstilts.engine import record
from xstilts.engine.checkpoint import State
from xstilts.engine.device import autocast
from xstilts.engine.record import Progress
from xstilts.errors import fail
from xstilts.formats import loss
from xstilts.key import stable_int
from xstilts.spec import Recipe, Sampling
from xstilts.store import SCRATCH

CURVE_LINES = 200  # per training, besides those of evaluations
SAVING_SHARE = 0.05  # of the time at most that may go into checkpoints


class Machine(Protocol):
    """What the loop must know of ``compose.Runtime``."""

    @property
    def device(self) -> str:
        """A torch device name."""

    @property
    def progress(self) -> bool:
        """Whether to draw a progress bar."""

    @property
    def checkpoint_seconds(self) -> float:
        """Time between two checkpoints."""


class Evaluation(NamedTuple):
    """What a model does on dev.

    Attributes:
        score: in percent, the mean over the tasks of a mixture; NaN where the model's scores were no numbers.
        constant: all predictions are the same although the gold is not; in a mixture, of every task.
        by_task: task → what was measured: ``score``, and of masked language modelling ``loss`` (nats per token).
    """

    score: float
    constant: bool
    by_task: Mapping[str, Mapping[str, float]] = MappingProxyType({})


class Stop(NamedTuple):
    """How a training ended: ``ok`` or ``diverged``, and why it ended early if it did."""

    status: str
    reason: str | None


@dataclass(frozen=True, eq=False)
class Member:
    """One task of a training.

    Attributes:
        name: of the task.
        model: the encoder with the task's head; see ``compose.Model``.
        features: training data.
        noise: (features, seed) → the features as a step sees them; None = as they are.
        coupled: the features of a batch depend on each other; see ``formats.Format``.
    """

    name: str
    model: nn.Module
    features: Sequence[Feature]
    noise: Callable[[Sequence[Feature], int], list[Feature]] | None = None
    coupled: bool = False


@dataclass(frozen=True, eq=False)
class Job:
    """What to train and how.

    Attributes:
        label: for the progress bar.
        model: all of it: the encoder with the heads of all members.
        trained: parameter name → parameter that trains.
        members: the tasks; several are a mixture.
        sampling: of a mixture's batches.
        recipe: see ``spec.Recipe``.
        seed: orders the data; torch itself must be seeded already.
        evaluate: scores the model on dev.
        penalty: a term that is added to the loss of every step, whatever the task; None = nothing is.
    """

    label: str
    model: nn.Module
    trained: dict[str, nn.Parameter]
    members: tuple[Member, ...]
    sampling: Sampling
    recipe: Recipe
    seed: int
    evaluate: Callable[[], Evaluation]
    penalty: Callable[[], torch.Tensor] | None = None


@dataclass(frozen=True)
class Place:
    """Where a training happens.

    Attributes:
        key: of the step.
        directory: the step's partial directory.
        machine: device, progress bar and checkpoints.
        began: when the step began, by ``time.perf_counter``.
    """

    key: str
    directory: Path
    machine: Machine
    began: float


class Loop:
    """One training."""

    def __init__(self, job: Job, place: Place) -> None:
        self.job, self.place, self.recipe = job, place, job.recipe
        self.accelerator = _accelerator(place.machine.device)
        self.device = self.accelerator.device
        self.model, self.optimizer = self.accelerator.prepare(job.model, _optimizer(job.trained, job.recipe))
        self.state = State(place.key, job.trained, self.optimizer, {}, Progress())
        self.lengths = [lengths(member.features) for member in job.members]
        self.active = [_trained(member.model, job.trained) for member in job.members]
        self.epoch_steps = sum(math.ceil(len(member.features) / self.recipe.batch) for member in job.members)
        self.steps = self.recipe.epochs * self.epoch_steps
        count = min(self.recipe.evaluations or self.recipe.epochs, self.steps)
        self.evaluations = {math.ceil(self.steps * (number + 1) / count) for number in range(count)}
        self.epoch, self.batches = -1, list[Turn]()
        self.earlier = 0.0  # seconds spent by processes that were stopped
        self.saved, self.save_cost = time.perf_counter(), 0.0

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return self.state.progress

    @property
    def fused(self) -> bool:
        """Whether this device has the fused AdamW."""
        return bool(self.optimizer.defaults["fused"])

    def run(self) -> Stop:
        """Train to the end, from the checkpoint if there is one; leaves the best weights in the model."""
        self.state.keep_best()
        self.state.restore(self.place.directory / SCRATCH)
        self.earlier = self.progress.seconds
        record.rewind(self.place.directory, self.progress)
        stop = Stop("ok", None)
        with record.progress_bar(self.job.label, self.steps, self.place.machine.progress) as show:
            while self.progress.step < self.steps and stop.reason is None:
                stop = self._step()
                show(self.progress)
        self.state.take_best()
        self.progress.seconds = self._seconds()
        return stop

    # ------------------------------------------------------------------------------------------------------ steps

    def _step(self) -> Stop:
        """One optimiser step and what follows it; where it diverges, the weights are left alone."""
        if self.recipe.patience is not None and self.progress.stale >= self.recipe.patience:
            return Stop("ok", f"no gain on dev in {self.recipe.patience} evaluations")
        began = time.perf_counter()
        task, features = self._next_batch()
        value = self._backward(task, features)
        active = self.active[task]  # the heads of a mixture's other tasks have no gradient, and AdamW passes them over
        assert all(p.grad is not None for p in active), "a parameter is declared to train but unused"
        norm = float(self.accelerator.clip_grad_norm_(active, self.recipe.max_grad_norm))
        if not (math.isfinite(value) and math.isfinite(norm)):
            return Stop("diverged", f"loss {value}, gradient norm {norm} at step {self.progress.step + 1}")
        lr = self.recipe.lr * rate(self.progress.step, self.steps, self.recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.progress.examples += len(features)
        name = self.job.members[task].name
        self.progress.by_task[name] = self.progress.by_task.get(name, 0) + len(features)
        self.progress.loss += value
        self.progress.update_seconds += time.perf_counter() - began
        return self._after_step(lr)

    def _next_batch(self) -> tuple[int, list[Feature]]:
        """The number of the task whose turn it is, and its features."""
        step = self.progress.step
        epoch, number = divmod(step, self.epoch_steps)
        if epoch != self.epoch:
            self.epoch = epoch
            self.batches = mixture_batches(self.lengths, self.recipe.batch, self.job.sampling, self.job.seed, epoch)
        task, indices = self.batches[number]
        member = self.job.members[task]
        features = [member.features[index] for index in indices]
        return task, features if member.noise is None else member.noise(features, stable_int(self.job.seed, step))

    def _backward(self, task: int, features: list[Feature]) -> float:
        """Add up the gradients of a batch, a micro-batch at a time; returns the mean loss over its targets."""
        member = self.job.members[task]
        weight = sum(feature.weight for feature in features)
        total = torch.zeros((), device=self.device)
        member.model.train()
        for part in micro_batches(features, self.recipe.micro_batch or len(features), member.coupled):
            batch = collate(part)
            self.progress.tokens += int(batch.mask.sum())
            self.progress.padded += batch.mask.numel()
            batch = batch.to(self.device)
            with autocast(self.device, self.recipe.precision):
                scores = member.model(batch)
            share = loss(scores, batch.targets) / weight
            self.accelerator.backward(share)
            total += share.detach()
        if self.job.penalty is not None:
            penalty = self.job.penalty()
            self.accelerator.backward(penalty)
            total += penalty.detach()
        return float(total)

    def _after_step(self, lr: float) -> Stop:
        """Evaluate, record and save when it is time."""
        step, dev, by_task = self.progress.step, None, dict[str, Mapping[str, float]]()
        if step in self.evaluations:
            evaluation = self.job.evaluate()
            if math.isnan(evaluation.score):
                return Stop("diverged", f"scores on dev are not finite at step {step}")
            self._compare(evaluation)
            dev, by_task = evaluation.score, dict(evaluation.by_task)
        if dev is not None or step % max(1, self.steps // CURVE_LINES) == 0:
            record.write_line(self.place.directory, self.progress, lr, dev, by_task)
        wait = max(self.place.machine.checkpoint_seconds, self.save_cost / SAVING_SHARE)
        if time.perf_counter() - self.saved >= wait:
            self._save()
        return Stop("ok", None)

    def _compare(self, evaluation: Evaluation) -> None:
        """Keep the weights if they are the best so far; of equal ones the first."""
        progress = self.progress
        if progress.best_score is not None and evaluation.score <= progress.best_score:
            progress.stale += 1
            return
        progress.best_score, progress.best_step = evaluation.score, progress.step
        progress.constant, progress.stale = evaluation.constant, 0
        progress.best_by_task = {task: dict(found) for task, found in evaluation.by_task.items()}
        self.state.keep_best()

    def _save(self) -> None:
        began = time.perf_counter()
        self.progress.seconds = self._seconds()
        self.state.save(self.place.directory / SCRATCH)
        self.saved = time.perf_counter()
        self.save_cost = self.saved - began

    def _seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.place.began


def rate(step: int, steps: int, warmup: float) -> float:
    """Learning rate of a step (from 0) as a share of its peak: linear warm-up, then linear decay towards 0.

    Args:
        step: optimiser steps done.
        steps: of the whole training.
        warmup: share of the steps.
    """
    rising = round(warmup * steps)
    return (step + 1) / (rising + 1) if step < rising else (steps - step) / (steps - rising)


def _trained(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
    """Those of the parameters that train which are part of a model."""
    parts = {id(parameter) for parameter in model.parameters()}
    return [parameter for parameter in trained.values() if id(parameter) in parts]


def _optimizer(trained: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Fused AdamW; weight decay on matrices only, as usual. A device without the fused kernel gets the plain one."""
    groups = [
        {"params": [p for p in trained.values() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    try:
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(groups, lr=recipe.lr)


def _accelerator(device: str) -> Accelerator:
    """An accelerator of this training's own, because it keeps what it prepares.

    Precision is left to ``autocast``: accelerate fixes its own once a process.

    Raises:
        XstiltsError: the device is not there, or accelerate was configured for several processes.
    """
    wanted = torch.device(device)
    if wanted.type == "cuda":
        torch.cuda.set_device(wanted)  # accelerate takes the current one
    accelerator = Accelerator(cpu=wanted.type == "cpu", mixed_precision="no")
    if accelerator.device.type != wanted.type or accelerator.num_processes != 1:
        given = f"{accelerator.device.type} x {accelerator.num_processes}"
        raise fail("--device", f"one training runs in one process on {device}, but accelerate offers", given)
    return accelerator
