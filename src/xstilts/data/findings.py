"""Problems of data, gathered: a damaged file of 100,000 rows yields one readable error, not 100,000 lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from xstilts.errors import Problem, XstiltsError

MOST_SHOWN = 30


@dataclass
class Findings:
    """Problems found so far. The same problem in several rows of a file counts as one, told with its first row.

    A file that is read several times, such as one that holds all languages, is told of once.

    Attributes:
        unit: what a file's numbers count, in the singular.
    """

    unit: str = "row"
    _rows: dict[tuple[str, str, str, str | None, tuple[str, ...]], dict[int, None]] = field(default_factory=dict)
    _others: dict[Problem, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self._rows or self._others)

    def add(self, *problems: Problem) -> None:
        """Note problems that concern a file or a split as a whole."""
        self._others |= dict.fromkeys(problems)

    def add_row(self, file: str, row: int, place: str, problem: Flaw) -> None:
        """Note a problem of one row.

        Args:
            file: file, or split of a generated task.
            row: its number in the file: of a row from 0, of an Example from 1.
            place: column, or part of the Example that was made from the row.
            problem: what is wrong there.
        """
        same = (file, place, problem.what, problem.given, problem.allowed)
        self._rows.setdefault(same, {})[row] = None

    def raise_if_any(self) -> None:
        """Raise one error with everything that was found.

        Raises:
            XstiltsError: if anything was.
        """
        found = [*self._others, *(_problem(self.unit, same, tuple(rows)) for same, rows in self._rows.items())]
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


def _problem(unit: str, same: tuple[str, str, str, str | None, tuple[str, ...]], rows: tuple[int, ...]) -> Problem:
    file, place, what, given, allowed = same
    count = "" if len(rows) == 1 else f" (and in {len(rows) - 1} more {unit}s)"
    return Problem(f"{file}: {unit} {rows[0]}: {place}", what + count, given, allowed)
