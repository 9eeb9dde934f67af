"""Files that only the user can supply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.errors import Problem, XstiltsError, fail

MOST_SHOWN = 3  # of the patterns that match nothing


def user_files(root: Path | None, task: str, patterns: Sequence[str], obtain: str) -> tuple[tuple[Path, ...], ...]:
    """Find a task's files.

    Args:
        root: directory of the user's files; None = none was named.
        task: for the message.
        patterns: globs below ``root``.
        obtain: where the files come from and what to put where.

    Returns:
        For each pattern its files, in the order of their names.

    Raises:
        XstiltsError: patterns match none. What to do is a problem of its own, which is told once however often files
            of the task are looked for.
    """
    where = f"task {task}"
    if root is None:
        raise fail(where, f"needs files that only you can supply; name their directory with --files. {obtain}")
    if not root.is_dir():
        raise fail("--files", "not a directory", str(root))
    found = tuple(tuple(sorted(path for path in root.glob(pattern) if path.is_file())) for pattern in patterns)
    missing = list(dict.fromkeys(pattern for pattern, files in zip(patterns, found, strict=True) if not files))
    if missing:
        more = f" and {len(missing) - MOST_SHOWN} more" if len(missing) > MOST_SHOWN else ""
        raise XstiltsError(
            Problem(where, f"needs files that only you can supply, in {root}. {obtain}"),
            Problem(where, f"{root} holds no file {', '.join(missing[:MOST_SHOWN])}{more}"),
        )
    return found
