"""How a command ends: its exit code, and one clear message instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from xstilts.errors import XstiltsError

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130


def finish(work: Callable[[], int | None], interrupted: str = "") -> int:
    """Do what a command is for.

    Args:
        work: returns an exit code, or None for 0.
        interrupted: what the user is told after Ctrl-C; empty = nothing.

    Returns:
        The exit code: that of ``work``, 2 for bad input, which is told on stderr, 130 after Ctrl-C.
    """
    try:
        return work() or DONE
    except XstiltsError as error:
        sys.stderr.write(f"error: {_printable(str(error))}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{interrupted}\n" if interrupted else "")
        return INTERRUPTED


def _printable(text: str) -> str:
    """A message without what a terminal would obey: names of files and contents of other people's are quoted in it."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
