"""Which columns of a file a part of an Example was made from: those whose change changes it.

A task reads a row in its own way: it renames columns, joins them, takes parts out of them or counts. What came from
where is asked of that reading itself, on the rare row that has a flaw: the value of one column after another is
replaced, and the row is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xstilts.spec import Example, Part, Row

UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row of another shape makes a task raise
MARK = "1"  # lengthens a text: a number becomes another one, and names keep their beginning


class Spot(NamedTuple):
    """A part of an Example, or one of several values that it holds.

    Attributes:
        part: attribute of the Example or of its fields.
        element: which word, or which option; None = the whole part.
    """

    part: str
    element: int | None = None


class Reading(NamedTuple):
    """How a task reads the rows of a part, and the columns that it asks for."""

    read: Callable[[Row, Part, int], tuple[Example, ...]]
    part: Part
    columns: tuple[str, ...]

    def __call__(self, row: Row, number: int) -> tuple[Example, ...]:
        """The Examples of a row, which has this number in the part."""
        return self.read(row, self.part, number)


def origin(reading: Reading, row: Row, number: int, index: int, spot: Spot) -> tuple[str, ...]:
    """Return the columns that a part of an Example was made from.

    Where a task can read no other value of a column (it looks it up in a list of its own), a change does not tell; such
    columns are returned if the change of no other column shows.

    Args:
        reading: how the row is read.
        row: its values.
        number: its number in the part.
        index: place of the Example among those of the row.
        spot: the part.

    Returns:
        Columns in the order in which the task asks for them; none if the part is made from the row's position alone.
    """
    before = _value(reading(row, number)[index], spot)
    changed, unknown = [], []
    for column in reading.columns:
        try:
            after = _value(reading(_replaced(row, column), number)[index], spot)
        except Exception:  # a value that no file holds may break the task's reading in any way
            unknown.append(column)
            continue
        if after is not before and after != before:
            changed.append(column)
    return tuple(changed or unknown)


def named(spot: Spot, columns: tuple[str, ...]) -> str:
    """Name a part of an Example by the columns that it was made from, for a message."""
    if columns == (spot.part,):
        return listed(columns)
    return f"{listed(columns)} ({spot.part})" if columns else f"{spot.part} (made from no column)"


def listed(columns: tuple[str, ...]) -> str:
    """Columns, for a message."""
    return f"column{'s' if len(columns) > 1 else ''} {', '.join(map(repr, columns))}"


def _value(example: Example, spot: Spot) -> object:
    """What an Example holds at a spot.

    Raises:
        IndexError: the part has fewer elements.
    """
    owner = example.fields if hasattr(example.fields, spot.part) else example
    whole = getattr(owner, spot.part)
    return whole if spot.element is None else whole[spot.element]


def _replaced(row: Row, column: str) -> dict[str, Any]:
    """The row with another value in one column, or in one field of a struct."""
    name, _, field = column.partition(".")
    value = row[name]
    return {**row, name: {**value, field: _other(value[field])} if field else _other(value)}


def _other(value: Any) -> Any:
    """A value like another, but different from it."""
    if isinstance(value, list):
        return [_other(each) for each in value] or [MARK]
    if isinstance(value, dict):
        return {key: _other(each) for key, each in value.items()}
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else f"{value}{MARK}"
