"""Files that only the user can supply."""

from __future__ import annotations

from pathlib import Path

from xstilts.errors import fail


def user_files(root: Path | None, task: str, pattern: str, obtain: str) -> tuple[Path, ...]:
    """Find a task's files.

    Args:
        root: directory of the user's files; None = none was named.
        task: for the message.
        pattern: glob below ``root``.
        obtain: where the files come from and what to put where.

    Returns:
        The files in the order of their names.

    Raises:
        XstiltsError: there are none; says what to do.
    """
    if root is None:
        raise fail(f"task {task}", f"needs files that only you can supply; name their directory with --files. {obtain}")
    if not root.is_dir():
        raise fail("--files", "not a directory", str(root))
    found = tuple(sorted(path for path in root.glob(pattern) if path.is_file()))
    if not found:
        raise fail(str(root), f"holds no file {pattern}, which task {task} needs. {obtain}")
    return found
