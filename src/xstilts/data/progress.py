"""A progress bar for reading that takes long; nothing where nobody watches."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

PATIENCE = 2.0  # seconds before a bar appears
STRIDE = 1024  # items between two looks at the clock

T = TypeVar("T")


def watched(items: Iterator[T], what: str, total: int | None) -> Iterator[T]:
    """Yield ``items``; if that takes long, show on standard error how many have passed.

    Only in the main process, and only if standard error is a terminal. The bar goes away at the end.

    Args:
        items: what is counted.
        what: words beside the bar.
        total: expected number; None = not known.
    """
    console = Console(stderr=True)
    if not console.is_terminal or multiprocessing.parent_process() is not None:
        yield from items
        return
    began, task = time.monotonic(), None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    try:
        for number, item in enumerate(items):
            if number % STRIDE == 0:
                task = _advance(bar, task, number, what, total) if time.monotonic() - began >= PATIENCE else None
            yield item
    finally:
        bar.stop()


def _advance(bar: Progress, task: TaskID | None, number: int, what: str, total: int | None) -> TaskID:
    if task is None:
        bar.start()
        task = bar.add_task(what, total=total)
    bar.update(task, completed=number)
    return task
