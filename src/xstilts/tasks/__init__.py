"""Tasks, one file each. The file name is the task's name; there is no list to edit."""

from __future__ import annotations

import importlib
import pkgutil

from xstilts.errors import fail
from xstilts.spec import Task


def task_names() -> tuple[str, ...]:
    """Names of all shipped tasks, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def load_task(name: str, where: str = "task") -> Task:
    """Import ``tasks/<name>.py`` and return its ``TASK``.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    if name not in task_names():
        raise fail(where, "unknown task", name, task_names())
    task = importlib.import_module(f"{__name__}.{name}").TASK
    assert isinstance(task, Task) and task.name == name, f"tasks/{name}.py must expose TASK named {name!r}"
    return task
