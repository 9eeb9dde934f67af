"""How far a training has come, and how it shows that: a curve on disk, a progress bar where someone is watching."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

FILE = "curve.jsonl"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        step: optimiser steps done.
        examples: features trained on.
        by_task: of these by task.
        tokens: tokens trained on, without padding.
        padded: tokens computed on, padding included.
        seconds: since the training began, in all processes that worked on it.
        update_seconds: of these in optimiser steps.
        best_step: step of the best dev score; 0 = before the first evaluation.
        best_score: in percent.
        best_by_task: see ``loop.Evaluation``.
        constant: whether the predictions of the best evaluation were all the same.
        stale: evaluations since the best one.
        curve_bytes: length of the curve.
        line_step: step of the last line of the curve.
        line_tokens: ``tokens`` at that step.
        line_seconds: ``update_seconds`` at that step.
        loss: sum over the steps since then.
    """

    step: int = 0
    examples: int = 0
    by_task: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    padded: int = 0
    seconds: float = 0.0
    update_seconds: float = 0.0
    best_step: int = 0
    best_score: float | None = None
    best_by_task: dict[str, dict[str, float]] = field(default_factory=dict)
    constant: bool = False
    stale: int = 0
    curve_bytes: int = 0
    line_step: int = 0
    line_tokens: int = 0
    line_seconds: float = 0.0
    loss: float = 0.0

    @property
    def examples_per_second(self) -> float | None:
        """Throughput of the optimiser steps; None before the first."""
        return self.examples / self.update_seconds if self.step else None


def rewind(directory: Path, progress: Progress) -> None:
    """Cut the curve back to where the checkpoint was taken."""
    with (directory / FILE).open("ab") as stream:
        stream.truncate(min(progress.curve_bytes, stream.tell()))


def write_line(
    directory: Path, progress: Progress, lr: float, dev: float | None, by_task: Mapping[str, Mapping[str, float]]
) -> None:
    """Add a line to the curve: step, mean loss and tokens per second since the last line, learning rate, dev scores."""
    seconds = progress.update_seconds - progress.line_seconds
    line = {
        "step": progress.step,
        "loss": progress.loss / (progress.step - progress.line_step),
        "lr": lr,
        "tokens_per_second": round((progress.tokens - progress.line_tokens) / seconds),
        "dev": dev,
        "dev_by_task": by_task,
    }
    with (directory / FILE).open("ab") as stream:
        stream.write(json.dumps(line).encode() + b"\n")
        progress.curve_bytes = stream.tell()
    progress.loss, progress.line_step = 0.0, progress.step
    progress.line_tokens, progress.line_seconds = progress.tokens, progress.update_seconds


@contextlib.contextmanager
def progress_bar(label: str, steps: int, visible: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows how far a training is, its throughput and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, transient=True, disable=not visible) as bar:
        task = bar.add_task(label, total=steps, speed="")

        def show(progress: Progress) -> None:
            speed = progress.examples_per_second
            bar.update(task, completed=progress.step, speed=f"{speed:.0f} examples/s" if speed else "")

        yield show
