"""The one error type of the project.

Every message says where, what was given, what is allowed and what is nearest, so that the reader can mend it without
opening our code. Checks that can find several problems collect them all and raise once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: file, step or field, as the user would point at it (``mini.toml: targets[2]``).
        what: what is wrong, a short clause.
        given: the offending value as the user wrote it, if there is one.
        allowed: what would have been accepted, if it can be listed.
    """

    where: str
    what: str
    given: str | None = None
    allowed: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        if self.given is not None:
            text += f"; given {self.given!r}"
            near = difflib.get_close_matches(self.given, self.allowed, n=1)
            if near:
                text += f", did you mean {near[0]!r}?"
        if self.allowed:
            text += f" (allowed: {_listing(self.allowed)})"
        return text


class XstiltsError(Exception):
    """Something the user can mend. Never raised for our own bugs.

    Args:
        problems: one or more :class:`Problem`, all that were found.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[type[XstiltsError], tuple[Problem, ...]]:
        return type(self), self.problems


def fail(where: str, what: str, given: str | None = None, allowed: Iterable[str] = ()) -> XstiltsError:
    """Return the error for a single problem (the caller raises it)."""
    return XstiltsError(Problem(where, what, given, tuple(allowed)))


def _listing(names: tuple[str, ...], limit: int = 40) -> str:
    shown = ", ".join(sorted(names)[:limit])
    return shown if len(names) <= limit else f"{shown}, … {len(names) - limit} more"
