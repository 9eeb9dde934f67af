"""A study expands to a plan: every step once, inputs before what needs them, and the table of cells they fill.

Sharing falls out of the keys: two cells that need the same training name the same step. Nothing here runs anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from xstilts.composition import check
from xstilts.config import Loaded, resolve_recipe, tried
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.key import key
from xstilts.lineage import inputs, reads
from xstilts.plan.cells import Builder, Cell, Fingerprint, Precision
from xstilts.spec import Backbone, Import, Mode, Predict, Role, Step, Train, unique
from xstilts.study import POOLED


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
    modules: Mapping[str, Import] = MappingProxyType({}),
) -> Plan:
    """Expand a study.

    Args:
        loaded: the study and its adapter configurations.
        backbone: the frozen encoder.
        fingerprint: (task, splits, languages, language of the user's translation or None) → hash of those rows.
        auto_precision: what ``precision = "auto"`` means on the device the study will run on.
        modules: the study's published modules, by name.

    Raises:
        XstiltsError: everything that cannot be composed, and why; lengths and layers that the backbone lacks.
    """
    study = loaded.study
    _check_sizes(loaded, backbone)
    builder = Builder(loaded, backbone, fingerprint, auto_precision, modules)
    cells, problems = [], dict[Problem, None]()
    for system in study.system:
        for intermediate, target in itertools.product(study.used_by(system), study.targets):
            try:
                found = [builder.cell(system, intermediate, target, seed) for seed in study.seeds]
                for cell in found:
                    check(cell.predict)
                cells += found
            except XstiltsError as error:
                where = f"{study.name}: system {system.name}"
                problems |= {replace(each, where=f"{where}: {each.where}"): None for each in error.problems}
    if problems:
        raise XstiltsError(*problems)
    return _plan(loaded, backbone, tuple(cells))


def _check_sizes(loaded: Loaded, backbone: Backbone) -> None:
    """Refuse, before anything runs, lengths and layers that the backbone does not have."""
    study = loaded.study
    found: dict[Problem, None] = {}
    for system in study.system:
        targets = (*study.preliminary.values(), *study.targets)
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (("target", targets),)
        used = [name for each in study.used_by(system) if each is not None for name in each.split(POOLED)]
        roles += (("intermediate", unique(name for each in used for name in study.trained_for(each))),)
        for role, tasks in roles:
            variants = (system, tried(system)) if role == "target" else (system,)
            lengths = [max(resolve_recipe(study, each, role, task).max_length for each in variants) for task in tasks]
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


def evictable(plan: Plan) -> frozenset[str]:
    """Keys of fully fine-tuned models that nothing of the plan but predictions reads.

    Their weights are as large as the backbone and are not needed once their predictions are made.
    """
    sources = {name: step for name, step in plan.steps.items() if not isinstance(step, Predict)}
    kept = {key(read) for step in sources.values() for read in reads(step)}
    return frozenset(name for name, step in sources.items() if step.method.kind == "full" and name not in kept)
