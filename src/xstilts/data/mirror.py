"""A local mirror of the hub: ``<root>/<org>/<name>/`` holds what the repository ``<org>/<name>`` holds."""

from __future__ import annotations

from pathlib import Path

from xstilts.errors import fail


def folder(root: Path, repo: str) -> Path:
    """Return the folder of a repository in a mirror.

    Raises:
        XstiltsError: the mirror or the repository is not there; says what is.
    """
    if not root.is_dir():
        raise fail("data", "the mirror is not a directory", str(root))
    found = root / repo
    if not found.is_dir():
        there = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*") if path.is_dir())
        raise fail(str(root), "the mirror has no such data set", repo, there)
    return found
