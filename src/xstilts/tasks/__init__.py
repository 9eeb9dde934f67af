"""Tasks, one file each. The file name is the task's name; there is no list to edit."""

from __future__ import annotations

import sys

from xstilts import catalogue
from xstilts.spec import Task


def task_names() -> tuple[str, ...]:
    """Names of all shipped tasks, sorted."""
    return catalogue.names(sys.modules[__name__])


def load_task(name: str, where: str = "task") -> Task:
    """Import ``tasks/<name>.py`` and return its ``TASK``.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    task = catalogue.entry(sys.modules[__name__], name, where, "task").TASK
    assert isinstance(task, Task) and task.name == name, f"tasks/{name}.py must expose TASK named {name!r}"
    return task
