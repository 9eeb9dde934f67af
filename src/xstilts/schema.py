"""The JSON that a report reads from the store: the manifest of a study, and the account of what made a module.

Nothing is believed that differs from the checksum taken when its step was published.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.spec import FormatName, Split, unique
from xstilts.study import POOLED, Study

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
        train: the step that was predicted with; None for the bare backbone.
        preliminary_train: the training of the preliminary task, if the target has one.
        intermediate_train: the step behind the intermediate, if there is a single one: a training, a combination or a
            published module.
        intermediate_trains: the steps behind all intermediates that are used at once, in their order; where the
            target's own module is merged with them, its training comes first.
        modules: every step whose weights the prediction reads, language adapters that take each other's place included;
            empty for the bare backbone, and in files older than the field.
        behind: every step that had to run before the prediction, kept or not; empty likewise.
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
    intermediate_trains: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The intermediates, each by itself."""
        return () if self.intermediate is None else tuple(self.intermediate.split(POOLED))

    @property
    def sources(self) -> tuple[str, ...]:
        """The steps behind its intermediates."""
        return self._joined[1]

    @property
    def own(self) -> tuple[str, ...]:
        """What was predicted with, and the target's own training where that was merged into it."""
        return (*self._joined[0], *(() if self.train is None else (self.train,)))

    @property
    def _joined(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The target's own trainings among what was joined, and the intermediates."""
        single = () if self.intermediate_train is None else (self.intermediate_train,)
        joined = self.intermediate_trains or single
        first = max(0, len(joined) - len(self.names))
        return joined[:first], joined[first:]


Part = Literal["intermediate", "preliminary", "target", "auxiliary"]


class Training(NamedTuple):
    """A step behind a cell: its key, what it is for, and what it trained.

    Auxiliary are the earlier trainings of a chain, language adapters, combinations that a target is trained on, and
    short trainings that decide one.
    """

    key: str
    role: Part
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
        """The steps behind a cell, each once, in the order in which they ran."""
        known: dict[str, Training] = {}
        one_each = len(cell.names) == len(cell.sources)
        for number, key in enumerate(cell.sources):
            name = cell.names[number] if one_each else str(cell.intermediate)
            known.setdefault(key, Training(key, "intermediate", name))
        if cell.preliminary_train is not None:
            task = self.study.preliminary[cell.target]
            known.setdefault(cell.preliminary_train, Training(cell.preliminary_train, "preliminary", task))
        for key in cell.own:
            known.setdefault(key, Training(key, "target", cell.target))
        auxiliary = {key: Training(key, "auxiliary", str(cell.intermediate)) for key in cell.behind}
        return tuple((auxiliary | known).values())

    def modules(self, cell: CellRecord) -> tuple[str, ...]:
        """The steps whose modules have to be kept to predict a cell again."""
        if cell.modules or cell.train is None:
            return cell.modules
        start = next(each.start for each in self.study.system if each.name == cell.system)
        return unique((*(() if start == "warm" else cell.sources), cell.train))

    def published(self, cell: CellRecord) -> bool:
        """Whether a published module takes part, of whose training data nothing is known."""
        languages = next(each.language_modules for each in self.study.system if each.name == cell.system)
        return bool(languages) or any(name in self.study.module for name in cell.names)

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


class ModuleRecord(Record):
    """The content of the ``result.json`` of what was not trained: a published module, or one made of several.

    Stored parameters include those of the head.
    """

    kind: Literal["import", "combine"]
    status: Literal["ok"]
    seconds: float
    stored_parameters: int
    stored_bytes: int
    head_parameters: int = 0


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


def made(path: Path) -> TrainRecord | ModuleRecord:
    """The account of a step that left a module behind.

    Raises:
        XstiltsError: its ``result.json`` is damaged, or is of another kind.
    """
    content = verified(path)
    try:
        kind = json.loads(content)["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise fail(str(path), "does not say what it is the result of") from error
    return parse(TrainRecord, content, path) if kind == "train" else parse(ModuleRecord, content, path)


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
