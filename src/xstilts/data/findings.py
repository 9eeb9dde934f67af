"""Problems of data, gathered: a damaged file of 100,000 rows yields one readable error, not 100,000 lines.

Every message says what its number counts: a ``line`` of a text file from 1, as editors do; a ``row`` of a Parquet file
from 0, as tools for such files do; an ``example`` from 1, where a task reads a file in its own way or makes its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from xstilts.errors import Problem, XstiltsError

MOST_SHOWN = 30

Unit = Literal["row", "line", "example"]


class At(NamedTuple):
    """A place in a file.

    Attributes:
        file: file, or split of a generated task.
        unit: what is counted.
        number: of that unit.
    """

    file: str
    unit: Unit
    number: int


@dataclass
class Findings:
    """Problems found so far. The same problem in several rows of a file counts as one, told with its first row.

    A file that is read several times, such as one that holds all languages, is told of once.
    """

    _rows: dict[_Same, dict[int, None]] = field(default_factory=dict)
    _others: dict[Problem, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self._rows or self._others)

    def add(self, *problems: Problem) -> None:
        """Note problems that concern a file or a split as a whole."""
        self._others |= dict.fromkeys(problems)

    def add_row(self, at: At, place: str, flaw: Flaw) -> None:
        """Note a problem of one row.

        Args:
            at: the row.
            place: its columns, or the part of the Example that was made from it.
            flaw: what is wrong there.
        """
        self._rows.setdefault(_Same(at.file, at.unit, place, flaw), {})[at.number] = None

    def raise_if_any(self) -> None:
        """Raise one error with everything that was found.

        Raises:
            XstiltsError: if anything was.
        """
        found = [*self._others, *(_problem(same, tuple(numbers)) for same, numbers in self._rows.items())]
        if len(found) > MOST_SHOWN:
            more = Problem("data", f"and {len(found) - MOST_SHOWN} more problems like these")
            found = [*found[:MOST_SHOWN], more]
        if found:
            raise XstiltsError(*found)


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong at one place of a row; the fields are those of ``Problem``."""

    what: str
    given: str | None = None
    allowed: tuple[str, ...] = ()


class _Same(NamedTuple):
    """What problems have in common that are told as one."""

    file: str
    unit: Unit
    place: str
    flaw: Flaw


def _problem(same: _Same, numbers: tuple[int, ...]) -> Problem:
    file, unit, place, flaw = same
    count = "" if len(numbers) == 1 else f" (and in {len(numbers) - 1} more {unit}s)"
    return Problem(f"{file}: {unit} {numbers[0]}: {place}", flaw.what + count, flaw.given, flaw.allowed)
