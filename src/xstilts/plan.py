"""A study expands to a plan: every step once, inputs before what needs them, and the table of cells they fill.

Sharing falls out of the keys: two cells that need the same training name the same step. Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xstilts.config import Loaded, resolve_recipe
from xstilts.data.translation import translatable
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.key import key
from xstilts.lineage import inputs, reads
from xstilts.metrics import load_metric
from xstilts.spec import (
    SOURCE_LANGUAGE,
    Backbone,
    Cold,
    Mixture,
    Mode,
    Predict,
    Recipe,
    Role,
    Split,
    Stack,
    Start,
    Step,
    TaskData,
    Train,
    Warm,
)
from xstilts.study import System
from xstilts.tasks import load_task

Precision = Literal["fp32", "bf16"]
Languages = tuple[str, ...]
Fingerprint = Callable[[str, tuple[Split, ...], Languages, str | None], str]
TRAINING_SPLITS: tuple[Split, ...] = ("train", "dev")

# Layer that sentence retrieval pools: of XLM-R Large's 24 what the code of XTREME and of arXiv 2005.13013 pools, of
# other depths the same share; but of 12 what XTREME's code pools of mBERT, and word aligners, too (arXiv 2101.08231).
RETRIEVAL_LAYERS = {12: 8}
RETRIEVAL_DEPTH = (14, 24)


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the result table and the steps behind it.

    Attributes:
        intermediate: None for a system that starts cold.
        train: the training whose model was predicted with; None for the bare backbone.
        preliminary_train: the training of the preliminary task, if the target has one.
        intermediate_train: the training of the intermediate task, if there is one.
    """

    system: str
    intermediate: str | None
    target: str
    seed: int
    predict: Predict
    train: Train | None
    preliminary_train: Train | None
    intermediate_train: Train | None


@dataclass(frozen=True)
class Plan:
    """The steps of a study in an order in which they can run, and its cells.

    Attributes:
        steps: content key → step, each once, inputs first.
        cells: every (system, intermediate, target, seed), of all modes.
        asked: number of trainings that would run if nothing were shared.
    """

    loaded: Loaded
    backbone: Backbone
    steps: dict[str, Step]
    cells: tuple[Cell, ...]
    asked: int

    def only(self, mode: Mode) -> Plan:
        """The part of the plan that fills the cells of one mode."""
        names = {system.name for system in self.loaded.study.system if system.mode == mode}
        if not names:
            modes = sorted({system.mode for system in self.loaded.study.system})
            raise fail(f"study {self.loaded.study.name}", "no system of this mode", mode, modes)
        cells = tuple(cell for cell in self.cells if cell.system in names)
        return _plan(self.loaded, self.backbone, cells)


def expand(
    loaded: Loaded,
    backbone: Backbone,
    fingerprint: Fingerprint,
    auto_precision: Precision,
) -> Plan:
    """Expand a study.

    Args:
        loaded: the study and its adapter configurations.
        backbone: the frozen encoder.
        fingerprint: (task, splits, languages, language of the user's translation or None) → hash of those rows.
        auto_precision: what ``precision = "auto"`` means on the device the study will run on.

    Raises:
        XstiltsError: an intermediate task that cannot be trained.
    """
    study = loaded.study
    _check_sizes(loaded, backbone)
    builder = _Builder(loaded, backbone, fingerprint, auto_precision)
    cells = [
        builder.cell(system, intermediate, target, seed)
        for system in study.system
        for intermediate in ((None,) if system.start == "cold" else study.intermediates)
        for target in study.targets
        for seed in study.seeds
    ]
    return _plan(loaded, backbone, tuple(cells))


def _check_sizes(loaded: Loaded, backbone: Backbone) -> None:
    """Refuse, before anything runs, lengths and layers that the backbone does not have."""
    study = loaded.study
    found: dict[Problem, None] = {}
    for system in study.system:
        targets = (*study.preliminary.values(), *study.targets)
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (("target", targets),)
        if system.start != "cold":
            roles += (("intermediate", study.intermediates),)
        for role, tasks in roles:
            lengths = [resolve_recipe(study, system, role, task).max_length for task in tasks]
            what = f"the backbone has positions for {backbone.positions} tokens"
            found |= {
                Problem(f"{study.name}: recipe of {task}: max_length", what, str(length)): None
                for task, length in zip(tasks, lengths, strict=True)
                if length > backbone.positions
            }
    layer = study.retrieval_layer
    if layer is not None and not 0 <= layer <= backbone.layers:
        what = f"the backbone has layers 0 (embeddings) to {backbone.layers}"
        found[Problem(f"{study.name}: retrieval_layer", what, str(layer))] = None
    if found:
        raise XstiltsError(*found)


def closure(step: Step) -> tuple[Step, ...]:
    """A step preceded by everything it needs, inputs first."""
    return (*(inner for source in inputs(step) for inner in closure(source)), step)


def _plan(loaded: Loaded, backbone: Backbone, cells: tuple[Cell, ...]) -> Plan:
    steps: dict[str, Step] = {}
    asked = 0
    for cell in cells:
        chain = closure(cell.predict)
        asked += sum(isinstance(step, Train) for step in chain)
        for step in chain:
            steps.setdefault(key(step), step)
    return Plan(loaded, backbone, steps, cells, asked)


@dataclass(frozen=True)
class _Builder:
    """Turns one (system, intermediate, target, seed) into steps."""

    loaded: Loaded
    backbone: Backbone
    fingerprint: Fingerprint
    auto_precision: Precision

    def cell(self, system: System, intermediate: str | None, target: str, seed: int) -> Cell:
        source = None
        if intermediate is not None:
            source = self.train(system, "intermediate", intermediate, self._source_seed(seed), Cold())
        start, before = _start(system, source), None
        if target in self.loaded.study.preliminary:
            before = self.train(system, "target", self.loaded.study.preliminary[target], seed, start)
            start = Warm(before)
        train = before or source
        if load_task(target).trained:
            train = self.train(system, "target", target, seed, start)
        predict = self.predict(system, target, train)
        return Cell(system.name, intermediate, target, seed, predict, train, before, source)

    def train(self, system: System, role: Role, name: str, seed: int, start: Start) -> Train:
        study = self.loaded.study
        tasks = study.members(name) if role == "intermediate" else (name,)
        data = [self._training_data(role, task) for task in tasks]
        sampling = next((each.sampling for each in study.mixture if each.name == name), None)
        return Train(
            backbone=self.backbone,
            task=data[0],
            method=self.loaded.adapters[system.adapter],
            start=start,
            recipe=self._recipe(system, role, name),
            seed=seed,
            mixture=None if sampling is None else Mixture(tuple(data[1:]), sampling),
        )

    def _training_data(self, role: Role, task: str) -> TaskData:
        """The rows of a training; an intermediate task's may be the user's translation, where its format has one."""
        language = self.loaded.study.intermediate_language
        translated = role == "intermediate" and language != SOURCE_LANGUAGE and translatable(load_task(task))
        return self._data(task, TRAINING_SPLITS, (), language if translated else None)

    def predict(self, system: System, target: str, train: Train | None) -> Predict:
        study, declared = self.loaded.study, load_task(target)
        shown = declared.languages("test")
        languages = tuple(lang for lang in shown if not study.languages or lang in study.languages)
        if not languages:
            raise fail(f"{study.name}: languages", f"none is tested by {target}", None, shown)
        recipe = self._recipe(system, "target", target)
        assert recipe.precision != "auto"
        # a trained dual encoder is asked at the layer and with the pooling that it was trained with
        free = declared.retrieves and not declared.trained
        mines = declared.format == "mining"
        return Predict(
            model=train or self.backbone,
            task=self._data(target, ("dev", "test") if mines else ("test",), languages),
            split="test",
            languages=languages,
            max_length=recipe.max_length,
            doc_stride=recipe.doc_stride,
            precision=recipe.precision,
            layer=self._layer() if free else None,
            pooling=study.pooling if free else None,
            calibration="dev" if mines else None,
            threads=recipe.threads,
        )

    def _recipe(self, system: System, role: Role, task: str) -> Recipe:
        recipe = resolve_recipe(self.loaded.study, system, role, task)
        return recipe.model_copy(update={"precision": self.auto_precision}) if recipe.precision == "auto" else recipe

    def _data(
        self, task: str, splits: tuple[Split, ...], languages: Languages, translation: str | None = None
    ) -> TaskData:
        declared = load_task(task)
        metric = load_metric(declared.metric)
        rows = self.fingerprint(task, splits, languages, translation)
        return TaskData(task, declared.version, f"{metric.name} {metric.version}", rows, translation)

    def _source_seed(self, seed: int) -> int:
        study = self.loaded.study
        return seed if study.source_seeds == "paired" else study.seeds[0]

    def _layer(self) -> int:
        asked = self.loaded.study.retrieval_layer
        return declared_layer(self.backbone.layers) if asked is None else asked


def declared_layer(layers: int) -> int:
    """The layer that sentence retrieval pools in an encoder of so many layers, if the study names none."""
    part, whole = RETRIEVAL_DEPTH
    return RETRIEVAL_LAYERS.get(layers, -(-layers * part // whole))


def _start(system: System, source: Train | None) -> Start:
    if source is None:
        return Cold()
    return Warm(source) if system.start == "warm" else Stack((source,))


def evictable(plan: Plan) -> frozenset[str]:
    """Keys of fully fine-tuned trainings that no training of the plan reads.

    Their weights are as large as the backbone and are not needed once their predictions are made.
    """
    trains = {name: step for name, step in plan.steps.items() if isinstance(step, Train)}
    sources = {key(source) for step in trains.values() for source in reads(step)}
    return frozenset(name for name, step in trains.items() if step.method.kind == "full" and name not in sources)


def label(plan: Plan, step: Step) -> str:
    """One line that tells a reader what a step does."""
    if isinstance(step, Train):
        return f"train {trained_on(step)} · {_ancestry(plan, step)} · seed {step.seed}"
    if isinstance(step.model, Backbone):
        return f"predict {step.task.name} · bare backbone"
    return (
        f"predict {step.task.name} · {trained_on(step.model)}, {_ancestry(plan, step.model)} · seed {step.model.seed}"
    )


def trained_on(step: Train) -> str:
    """The tasks of a training, and the language of their rows where it is not English."""
    return "+".join(each.name if each.language is None else f"{each.name}@{each.language}" for each in step.tasks)


def _ancestry(plan: Plan, step: Train) -> str:
    names = [name for name, config in plan.loaded.adapters.items() if config == step.method]
    start = type(step.start).__name__.lower()
    sources = ", ".join(trained_on(source) for source in inputs(step))
    return f"{names[0]} {start}" + (f" on {sources}" if sources else "")
