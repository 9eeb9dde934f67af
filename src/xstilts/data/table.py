"""Rows of one data file: Parquet, TSV, CSV or JSON lines.

The order of a ClassLabel's names differs between copies of a data set, so a number means nothing without the names that
``datasets`` embeds in the Parquet schema under the key ``huggingface``: class numbers are replaced by these names.

Rules for text files:
    * UTF-8. A byte order mark at the start of the file is no part of the first value; elsewhere it is a character.
    * TSV and CSV begin with the names of their columns, and every value is text: nothing is guessed to be a number, a
      date or a missing value. Values may be quoted, quotes inside them are doubled.
    * Lines may end in LF or CR LF; blank lines are skipped. A line break inside a quoted value stays as it is, and the
      row is named by the line in which it begins.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from xstilts.data.columns import listed
from xstilts.data.findings import Unit
from xstilts.errors import Problem, XstiltsError, fail

BATCH_ROWS = 4096
DELIMITERS = {".tsv": "\t", ".csv": ","}
KINDS = (".parquet", ".tsv", ".csv", ".jsonl")
LONGEST_VALUE = 2**31 - 1  # characters; the csv module stops at 131,072 unless told otherwise
BOM = b"\xef\xbb\xbf"

Rows = Iterator[tuple[int, dict[str, Any]]]


def unit_of(path: Path) -> Unit:
    """What the numbers of a file's rows count: lines of a text file, from 1, or rows of a Parquet file, from 0."""
    return "row" if path.suffix == ".parquet" else "line"


def read_rows(path: Path, columns: tuple[str, ...]) -> Rows:
    """Yield the rows of a data file with their numbers; see ``unit_of``.

    Args:
        path: the file.
        columns: columns that are read; ``answers.text`` is the field ``text`` of the struct ``answers``.

    Raises:
        XstiltsError: another kind of file, a damaged file, a line that is not what the kind of file asks for, or
            columns that are missing (all of them).
    """
    if path.suffix == ".parquet":
        return _read_parquet(path, columns)
    if path.suffix in DELIMITERS:
        return _read_delimited(path, columns)
    if path.suffix == ".jsonl":
        return _read_jsonl(path, columns)
    raise fail(str(path), "not a kind of data file that can be read", path.suffix, KINDS)


# ---------------------------------------------------------------------------------------------------------- parquet


def _read_parquet(path: Path, columns: tuple[str, ...]) -> Rows:
    with _readable(path), pa.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        _check_columns(str(path), tuple(name for field in schema for name in _paths(field)), columns)
        names, classes, row = _outer(columns), _class_names(path, schema), 0
        _check_classes(path, schema, [name for name in names if name in classes])
        for batch in file.iter_batches(BATCH_ROWS, columns=names):
            values = [_named(_values(path, row, name, batch.column(name)), classes.get(name)) for name in names]
            rows = (dict(zip(names, each, strict=True)) for each in zip(*values, strict=True))
            yield from enumerate(rows, row)
            row += batch.num_rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a damaged file into our error."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise fail(str(path), f"the file is truncated, corrupt or not readable: {reason}") from error


def _values(path: Path, first: int, name: str, column: pa.Array) -> list[Any]:
    """The values of one column of a batch that begins with row ``first``."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        for row, value in enumerate(column, first):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise fail(f"{path}: row {row}: {listed((name,))}", f"is not UTF-8 text ({error.reason})") from error
        raise


def _paths(field: pa.Field) -> tuple[str, ...]:
    inner = tuple(field.type) if pa.types.is_struct(field.type) else ()
    return (field.name, *(f"{field.name}.{child.name}" for child in inner))


def _class_names(path: Path, schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column → names of its classes, for columns of class numbers or of lists of them."""
    try:
        embedded = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = embedded.get("info", {}).get("features", {})
        inner = {column: _innermost(feature) for column, feature in features.items()}
        names = {column: tuple(each["names"]) for column, each in inner.items() if each.get("_type") == "ClassLabel"}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"the description of its columns, under the key 'huggingface', is damaged ({error})"
        raise fail(str(path), what) from error
    return names


def _check_classes(path: Path, schema: pa.Schema, columns: Iterable[str]) -> None:
    """Refuse columns of classes that hold anything but numbers, or lists of them; texts name the class themselves."""
    wrong = {name: schema.field(name).type for name in columns if not _holds_classes(schema.field(name).type)}
    what = "the file calls this a column of classes, but its values are not integers, texts, or lists of them"
    if wrong:
        raise XstiltsError(*(Problem(f"{path}: {listed((name,))}", what, str(kind)) for name, kind in wrong.items()))


def _holds_classes(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    allowed = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    return any(holds(kind) for holds in allowed)


def _innermost(feature: Any) -> dict[str, Any]:
    """The feature of one value of a column: what a Sequence, a List or the older ``[feature]`` holds."""
    while isinstance(feature, list) or isinstance(feature.get("feature"), dict | list):
        feature = feature[0] if isinstance(feature, list) else feature["feature"]
    return feature  # type: ignore[no-any-return]


def _named(values: list[Any], names: tuple[str, ...] | None) -> list[Any]:
    """Replace class numbers by names; a number without a name stays, such as the hub's -1 for "no label"."""
    if names is None:
        return values
    table: dict[Any, str] = dict(enumerate(names))
    return [[table.get(n, n) for n in each] if isinstance(each, list) else table.get(each, each) for each in values]


# ------------------------------------------------------------------------------------------------------- text files


def _read_delimited(path: Path, columns: tuple[str, ...]) -> Rows:
    csv.field_size_limit(LONGEST_VALUE)
    reader = csv.reader((line for _, line in _lines(path)), delimiter=DELIMITERS[path.suffix], strict=True)
    records = _records(path, reader)
    begin, header = next(records, (0, []))
    if not header:
        raise fail(str(path), "the file is empty; its first line names the columns")
    if len(set(header)) < len(header):
        raise fail(f"{path}: line {begin}", "a column is named twice", ", ".join(header))
    _check_columns(str(path), tuple(header), columns)
    places = [(name, header.index(name)) for name in _outer(columns)]
    for begin, record in records:
        if len(record) != len(header):
            what = f"{len(record)} values where the first line names {len(header)} columns"
            raise fail(f"{path}: line {begin}", what, DELIMITERS[path.suffix].join(record)[:80])
        yield begin, {name: record[place] for name, place in places}


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, values) of every record."""
    begin = 1
    try:
        for record in reader:
            if record:
                yield begin, record
            begin = reader.line_num + 1
    except csv.Error as error:
        raise fail(f"{path}: line {begin}", f"cannot be read ({error})") from error


def _read_jsonl(path: Path, columns: tuple[str, ...]) -> Rows:
    names = _outer(columns)
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise fail(where, f"is not JSON ({error})", line.strip()[:80]) from error
        if not isinstance(row, dict):
            raise fail(where, "is not a JSON object", line.strip()[:80])
        if any(name not in row for name in columns):
            inner = [f"{name}.{key}" for name, value in row.items() if isinstance(value, dict) for key in value]
            _check_columns(where, (*row, *inner), columns)
        yield number, {name: row[name] for name in names}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line with its end) of a UTF-8 file, from 1."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield number, (line.removeprefix(BOM) if number == 1 else line).decode()
                except UnicodeDecodeError as error:
                    what = f"is not UTF-8 text ({error.reason} at byte {error.start})"
                    raise fail(f"{path}: line {number}", what) from error
    except OSError as error:
        raise fail(str(path), f"cannot be read ({error.strerror})") from error


# ----------------------------------------------------------------------------------------------------------- shared


def _outer(columns: tuple[str, ...]) -> list[str]:
    """The columns as a file lists them: ``answers`` for ``answers.text``, each once."""
    return list(dict.fromkeys(column.partition(".")[0] for column in columns))


def _check_columns(where: str, there: tuple[str, ...], columns: tuple[str, ...]) -> None:
    missing = [Problem(where, "missing column", name, there) for name in columns if name not in there]
    if missing:
        raise XstiltsError(*missing)
