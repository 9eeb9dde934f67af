"""``manifest.json``: everything that is needed to use a module."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from xstilts.spec import AdapterConfig, FormatName, Recipe, Value

SCHEMA: Literal[1] = 1
MANIFEST, CARD, ENCODER, HEAD = "manifest.json", "README.md", "encoder.safetensors", "head.safetensors"
STORE_FILES = frozenset({"step.json", "result.json", "files.json", "curve.jsonl"})
LARGEST_MANIFEST = 8_000_000  # bytes; of a fully fine-tuned XLM-R large it has 60,000
LARGEST_HEADER = 8_000_000  # bytes, of a safetensors file
LARGEST_FILE = 4 * 2**30  # bytes; fully fine-tuned XLM-R large has 2.3
HEX64 = r"^[0-9a-f]{64}$"
KEY = r"^[0-9a-f]{32}$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"


class TensorEntry(Value):
    """A tensor of a file."""

    key: str
    shape: tuple[int, ...]
    dtype: Literal["F32"]


class FileEntry(Value):
    """A file of the bundle; ``tensors`` is empty for the model card."""

    name: Literal["encoder.safetensors", "head.safetensors", "README.md"]
    bytes: int = Field(ge=0, le=LARGEST_FILE)
    sha256: str = Field(pattern=HEX64)
    tensors: tuple[TensorEntry, ...] = ()


class BackboneEntry(Value):
    """The frozen encoder that the module belongs to; see ``spec.Backbone``.

    Attributes:
        hidden: size of its states.
        tokenizer: sha256 of ``tokenizer.json``.
    """

    name: str
    fingerprint: str = Field(pattern=HEX64)
    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    tokenizer: str = Field(pattern=HEX64)


class TaskEntry(Value):
    """A task that the module was trained on, with its label space.

    Attributes:
        language: ISO 639 code of the training rows.
        rows: fingerprint of the rows.
    """

    name: str
    version: int
    format: FormatName
    metric: str
    labels: tuple[str, ...]
    language: str
    rows: str
    licence: str


class HeadEntry(Value):
    """A head of ``head.safetensors``.

    Attributes:
        prefix: of the names of its tensors; empty where it is the only one.
        labels: of its outputs in order; empty = it has none (span, choice), or they are not named.
    """

    prefix: str
    format: FormatName
    labels: tuple[str, ...]


class Below(Value):
    """A module that this one was trained on top of, and without which it is not whole."""

    key: str = Field(pattern=KEY)
    what: str


class Measure(Value):
    """A metric on dev or test rows, with its 95 % interval where there is one.

    Attributes:
        n: examples behind it.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = Field(default=None, ge=0)


class Licence(Value):
    """Terms of something that went into the module, as its publisher states them; empty = not stated."""

    of: str
    text: str


class Manifest(Value):
    """``manifest.json``: closed, so that a field that is not known is refused and not ignored.

    Attributes:
        key: of the step that made the module.
        below: lowest first.
        start: how its making began, in words.
        language: of a language adapter.
    """

    schema_version: Literal[1] = SCHEMA
    xstilts: str
    key: str = Field(pattern=KEY)
    name: str
    made: Literal["trained", "imported", "combined"]
    start: str
    below: tuple[Below, ...]
    backbone: BackboneEntry
    method: AdapterConfig
    tasks: tuple[TaskEntry, ...]
    heads: tuple[HeadEntry, ...]
    language: str | None = Field(pattern=LANGUAGE)
    recipe: Recipe | None
    seed: int | None
    metrics: tuple[Measure, ...]
    licences: tuple[Licence, ...]
    files: tuple[FileEntry, ...]


def header(path: Path) -> list[tuple[str, tuple[int, ...], Any]]:
    """Names, shapes and types of the tensors of a safetensors file, sorted by name; the tensors are not touched.

    Raises:
        ValueError: the header is not that of a safetensors file; nothing beyond ``LARGEST_HEADER`` is read.
    """
    with path.open("rb") as stream:
        size = path.stat().st_size
        first = stream.read(8)
        (length,) = struct.unpack("<Q", first) if len(first) == 8 else (size + 1,)
        if length > min(LARGEST_HEADER, size - 8):
            raise ValueError("its header is longer than the file, or than any header can be")
        try:
            header = json.loads(stream.read(length))
        except RecursionError as error:
            raise ValueError("its header is nested too deep") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    header.pop("__metadata__", None)
    try:
        return sorted((name, tuple(map(int, about["shape"])), str(about["dtype"])) for name, about in header.items())
    except (TypeError, KeyError, OverflowError) as error:
        raise ValueError("its header does not list tensors") from error


def first_line(error: Exception) -> str:
    """An error in one line; of a value that a model refuses: which field, and why."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}, given {str(first['input'])[:80]!r}"
    return str(error).splitlines()[0]
