"""The JSON that a report reads from the store: the manifest of a study, and the account of a training.

Nothing is believed that differs from the checksum taken when its step was published.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.spec import FormatName, Split
from xstilts.study import Study

M = TypeVar("M", bound=BaseModel)


class Record(BaseModel):
    """Base of what the store holds as JSON: frozen, and open to fields that a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class BackboneRecord(Record):
    """The frozen encoder of the study."""

    name: str
    fingerprint: str
    layers: int


class TaskRecord(Record):
    """A target task as the study saw it.

    Attributes:
        generated: whether the project made its text itself.
        overlaps: task → what its data shares with this task's.
    """

    version: int
    format: FormatName
    metric: str
    cluster: str
    licence: str
    citation: str
    languages: tuple[str, ...]
    fingerprint: str
    generated: bool
    overlaps: dict[str, str] = Field(default_factory=dict)


class CellRecord(Record):
    """One (system, intermediate, target, seed) and the keys of the steps that fill it.

    Attributes:
        train: the training that was predicted with; None for the bare backbone.
        preliminary_train: the training of the preliminary task, if the target has one.
        intermediate_train: the training of the intermediate task, if there is one.
    """

    system: str
    intermediate: str | None
    target: str
    seed: int
    split: Split
    predict: str
    train: str | None
    preliminary_train: str | None = None
    intermediate_train: str | None


class Training(NamedTuple):
    """A training behind a cell: its key, what it is for, and what it trained."""

    key: str
    role: Literal["intermediate", "preliminary", "target"]
    task: str


class Manifest(Record):
    """The content of ``studies/<study>@<backbone>.json``.

    Attributes:
        untranslated: intermediate tasks trained as published in a study that trains on translations.
        caveats: task of the study → what every reader of a score that it takes part in must know.
    """

    schema_version: Literal[1] = Field(alias="schema")
    xstilts: str
    study: Study
    adapters: dict[str, dict[str, Any]]
    backbone: BackboneRecord
    tasks: dict[str, TaskRecord]
    cells: tuple[CellRecord, ...]
    baselines: dict[str, dict[str, dict[str, float]]]
    caveats: dict[str, str] = Field(default_factory=dict)
    untranslated: tuple[str, ...] = ()

    def trainings(self, cell: CellRecord) -> tuple[Training, ...]:
        """The trainings behind a cell, each once, in the order in which they ran."""
        found: dict[str, Training] = {}
        if cell.intermediate_train is not None:
            found[cell.intermediate_train] = Training(cell.intermediate_train, "intermediate", str(cell.intermediate))
        if cell.preliminary_train is not None:
            before = self.study.preliminary[cell.target]
            found.setdefault(cell.preliminary_train, Training(cell.preliminary_train, "preliminary", before))
        if cell.train is not None:
            found.setdefault(cell.train, Training(cell.train, "target", cell.target))
        return tuple(found.values())

    def overlaps(self, intermediate: str | None, target: str) -> dict[str, str]:
        """Tasks trained before a target that share data with it → what they share."""
        before = [*(self.study.members(intermediate) if intermediate else ()), self.study.preliminary.get(target)]
        return {name: text for name, text in self.tasks[target].overlaps.items() if name in before}

    @model_validator(mode="after")
    def _names_are_known(self) -> Manifest:
        compared = {name for each in self.study.comparison for name in (each.candidate, each.reference)}
        systems = compared | {cell.system for cell in self.cells}
        targets = {*self.study.targets, *(cell.target for cell in self.cells)}
        unknown = (systems - {system.name for system in self.study.system}) | (targets - set(self.tasks))
        if unknown:
            raise ValueError(f"names what the study does not have: {', '.join(sorted(unknown))}")
        return self


class TrainRecord(Record):
    """The content of a training's ``result.json``; trainable and stored parameters include those of the head."""

    kind: Literal["train"]
    status: Literal["ok", "collapsed", "diverged"]
    reason: str | None
    seconds: float
    peak_memory_bytes: int | None
    trainable_parameters: int
    head_parameters: int
    total_parameters: int
    stored_parameters: int
    stored_bytes: int
    examples_per_second: float | None
    padding_factor: float | None
    dev_score: float | None
    environment: dict[str, Any]


def verified(path: Path) -> bytes:
    """Content of one file of a finished step.

    Raises:
        XstiltsError: it is not there, or differs from its checksum in ``files.json``.
    """
    try:
        expected = json.loads((path.parent / "files.json").read_bytes())[path.name]
        content = path.read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise fail(str(path), "cannot be read; delete its directory and run the study again") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise fail(str(path), "differs from what was published; delete its directory and run the study again")
    return content


def step_of(directory: Path) -> dict[str, Any]:
    """The step that a finished directory holds, spelled out.

    Raises:
        XstiltsError: its ``step.json`` is damaged, or is that of another key than the directory is named after.
    """
    path = directory / "step.json"
    try:
        content = json.loads(verified(path))
        key, step = content["key"], dict(content["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise fail(str(path), "does not describe a step; delete its directory and run the study again") from error
    if key != directory.name:
        raise fail(str(path), "foreign artefact: holds another step than its directory says", key, [directory.name])
    return step


def parse(model: type[M], content: bytes, path: Path) -> M:
    """Read a record.

    Raises:
        XstiltsError: with every field that is missing or wrong.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problems = [
            Problem(f"{path}: {'.'.join(map(str, item['loc'])) or 'content'}", item["msg"]) for item in error.errors()
        ]
        raise XstiltsError(*problems) from error
