"""Packages whose file names are names: a new file is a new task, metric or method, and there is no list to edit.

A file whose name begins with ``_`` is shared by its neighbours and is no entry.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

from xstilts.errors import fail


def names(package: ModuleType) -> tuple[str, ...]:
    """Names of a package's entries, sorted."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def entry(package: ModuleType, name: str, where: str, what: str) -> ModuleType:
    """Import the entry of this name.

    Args:
        package: such as ``xstilts.tasks``.
        name: as the user wrote it.
        where: place in the user's input, for the message.
        what: what an entry is, for the message.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    known = sys.modules.get(f"{package.__name__}.{name}")  # listing a folder costs more than all else here
    if known is not None and not name.startswith("_"):
        return known
    if name not in names(package):
        raise fail(where, f"unknown {what}", name, names(package))
    return importlib.import_module(f"{package.__name__}.{name}")
