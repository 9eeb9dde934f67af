"""Rows of one data file, with class numbers replaced by the names that the file itself gives them.

The order of a ClassLabel's names differs between copies of a data set, so a number means nothing without the names that
``datasets`` embeds in the Parquet schema under the key ``huggingface``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from xstilts.errors import Problem, XstiltsError, fail

BATCH_ROWS = 4096


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet or TSV file.

    Args:
        path: the file.
        columns: columns that are read; ``answers.text`` is the field ``text`` of the struct ``answers``.

    Raises:
        XstiltsError: another kind of file, a damaged file, or columns that are missing (all of them).
    """
    with _readable(path):
        schema, batches = _open(path)
        _check_columns(path, schema, columns)
        names = list(dict.fromkeys(column.partition(".")[0] for column in columns))
        classes = _class_names(schema)
        for batch in batches(names):
            values = [_named(batch.column(name).to_pylist(), classes.get(name)) for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def _open(path: Path) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    """Return the schema of a file and what yields its rows, given the columns."""
    if path.suffix == ".parquet":
        file = pa.parquet.ParquetFile(path)
        return file.schema_arrow, lambda names: file.iter_batches(BATCH_ROWS, columns=names)
    if path.suffix == ".tsv":
        table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t"))
        return table.schema, lambda names: iter(table.select(names).to_batches(BATCH_ROWS))
    raise fail(str(path), "not a kind of data file that can be read", path.suffix, (".parquet", ".tsv"))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a damaged file into our error."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise fail(str(path), f"the file is truncated, corrupt or not readable: {reason}") from error


def _check_columns(path: Path, schema: pa.Schema, columns: tuple[str, ...]) -> None:
    there = tuple(name for field in schema for name in _paths(field))
    missing = [Problem(str(path), "missing column", name, there) for name in columns if name not in there]
    if missing:
        raise XstiltsError(*missing)


def _paths(field: pa.Field) -> tuple[str, ...]:
    inner = tuple(field.type) if pa.types.is_struct(field.type) else ()
    return (field.name, *(f"{field.name}.{child.name}" for child in inner))


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column → names of its classes, for columns of class numbers or of lists of them."""
    embedded = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = embedded.get("info", {}).get("features", {})
    inner = {column: _innermost(feature) for column, feature in features.items()}
    return {column: tuple(each["names"]) for column, each in inner.items() if each.get("_type") == "ClassLabel"}


def _innermost(feature: Any) -> dict[str, Any]:
    """The feature of one value of a column: what a Sequence, a List or the older ``[feature]`` holds."""
    while isinstance(feature, list) or isinstance(feature.get("feature"), dict | list):
        feature = feature[0] if isinstance(feature, list) else feature["feature"]
    assert isinstance(feature, dict)
    return feature


def _named(values: list[Any], names: tuple[str, ...] | None) -> list[Any]:
    """Replace class numbers by names; a number without a name stays, such as the hub's -1 for "no label"."""
    if names is None:
        return values
    table: dict[Any, str] = dict(enumerate(names))
    return [[table.get(n, n) for n in each] if isinstance(each, list) else table.get(each, each) for each in values]
