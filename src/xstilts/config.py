"""TOML → spec: studies and adapter configurations, with every problem of a file reported at once."""

from __future__ import annotations

import itertools
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.merges import load_merge
from xstilts.methods import load_method
from xstilts.spec import SOURCE_LANGUAGE, AdapterConfig, Recipe, Role, StartName, unique
from xstilts.study import OTHER, Study, System
from xstilts.tasks import load_task, task_names

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Loaded:
    """A study and the adapter configurations its systems name.

    Attributes:
        directory: of the study's file, to which paths in it are relative.
    """

    study: Study
    adapters: dict[str, AdapterConfig]
    directory: Path


def load_study(name: str, studies: Path, adapter_configs: Path) -> Loaded:
    """Read a study and everything it refers to.

    Args:
        name: file stem in ``studies``, or the path of a TOML file.
        studies: directory of the shipped studies.
        adapter_configs: directory of the adapter configurations.

    Raises:
        XstiltsError: with all problems found, each with the nearest valid name.
    """
    path = Path(name) if name.endswith(".toml") else studies / f"{name}.toml"
    if not path.is_file():
        raise fail("--study", "unknown study", name, _stems(studies))
    content = _read(path)
    problems = list(_name_problems(content, path.name, _stems(adapter_configs)))
    try:
        study = validated(Study, content, path.name)
    except XstiltsError as error:
        raise XstiltsError(*error.problems, *problems) from error
    problems += _study_problems(study, path.name)
    adapters = {}
    for adapter in sorted({system.adapter for system in study.system} & set(_stems(adapter_configs))):
        try:
            adapters[adapter] = load_adapter(adapter_configs / f"{adapter}.toml")
        except XstiltsError as error:
            problems += error.problems
    if not problems:
        problems += _start_problems(study, path.name, adapters)
    if problems:
        raise XstiltsError(*problems)
    return Loaded(study, adapters, path.parent)


def load_adapter(path: Path) -> AdapterConfig:
    """Read one adapter configuration; its kind's own ``Options`` validate the options.

    Only what differs from the defaults is kept, so that a new option does not rename artefacts that exist.

    Raises:
        XstiltsError: no TOML, an unknown kind, or options that the kind does not have or allow.
    """
    config = validated(AdapterConfig, _read(path), path.name)
    kind = load_method(config.kind, f"{path.name}: kind")
    options = validated(kind.Options, config.options, f"{path.name}: options")
    return AdapterConfig(kind=config.kind, options=options.model_dump(exclude_defaults=True))


def tried(system: System) -> System:
    """The system as it trains to find out which intermediate is best (``decide = "few_shot"``)."""
    return system.model_copy(update={"recipe": system.recipe | system.merging.proxy})


def resolve_recipe(study: Study, system: System, role: Role, task: str) -> Recipe:
    """Layer the recipe of one training: common, role, task, system; the later wins."""
    recipe = study.recipe
    layers = (recipe.get("common", {}), recipe.get(role, {}), study.task_recipe.get(task, {}), system.recipe)
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return validated(Recipe, merged, f"{study.name}: recipe")


# ------------------------------------------------------------------------------------------------------- problems


def _name_problems(content: dict[str, Any], file: str, adapters: tuple[str, ...]) -> Iterator[Problem]:
    """Names that nothing carries, in whatever the file holds: told beside what is wrong with its structure."""
    mixtures, chains = _tables(content.get("mixture")), _tables(content.get("chain"))
    mixed, chained = (_strings([table.get("name") for table in tables]) for tables in (mixtures, chains))
    modules = tuple(content["module"]) if isinstance(content.get("module"), dict) else ()
    own = {"mixture": mixed, "chain": chained, "module": list(modules)}
    preliminary = content.get("preliminary")
    for field, given, allowed in (
        ("intermediates", _strings(content.get("intermediates")), (*task_names(), *mixed, *chained, *modules)),
        ("targets", _strings(content.get("targets")), task_names()),
        ("preliminary", _strings(list(preliminary.values()) if isinstance(preliminary, dict) else []), task_names()),
        *((f"mixture {each.get('name')}: tasks", _strings(each.get("tasks")), task_names()) for each in mixtures),
        *((f"chain {each.get('name')}: tasks", _strings(each.get("tasks")), task_names()) for each in chains),
    ):
        yield from _unknown(f"{file}: {field}", "unknown task", given, allowed)
    for kind, names in own.items():
        yield from (
            Problem(f"{file}: {kind}", "has the name of a task", each) for each in names if each in task_names()
        )
        yield from _repeated(f"{file}: {kind}.name", names)
    twice = [name for name in unique(mixed) if name in (*chained, *modules)] + [n for n in chained if n in modules]
    yield from (Problem(f"{file}: intermediates", "two things have this name", name) for name in unique(twice))
    systems, comparisons = _tables(content.get("system")), _tables(content.get("comparison"))
    names = [str(system.get("name")) for system in systems]
    for system in systems:
        where = f"{file}: system {system.get('name')}: adapter"
        yield from _unknown(where, "unknown adapter", _strings([system.get("adapter")]), adapters)
    for comparison in comparisons:
        pair = _strings([comparison.get("candidate"), comparison.get("reference")])
        yield from _unknown(f"{file}: comparison {comparison.get('name')!r}", "unknown system", pair, names)
        if len(set(pair)) < len(pair):
            yield Problem(f"{file}: comparison {comparison.get('name')!r}", "compares a system with itself", pair[0])
    for field, given in (
        ("intermediates", _strings(content.get("intermediates"))),
        ("targets", _strings(content.get("targets"))),
        ("system.name", names),
        ("comparison.name", [str(comparison.get("name")) for comparison in comparisons]),
    ):
        yield from _repeated(f"{file}: {field}", given)


def _study_problems(study: Study, file: str) -> Iterator[Problem]:
    """What is wrong with a study whose structure is right."""
    yield from _repeated(f"{file}: seeds", [str(seed) for seed in study.seeds])
    used = unique((*study.intermediates, *study.tasks))
    yield from _unknown(f"{file}: task_recipe", "not a task of this study", study.task_recipe, used)
    yield from _unknown(f"{file}: subsets", "not a task of this study", study.subsets, study.tasks)
    yield from _unknown(f"{file}: preliminary", "not a target of this study", study.preliminary, study.targets)
    yield from _protocol_problems(study, file)
    for mixture in study.mixture:
        yield from _repeated(f"{file}: mixture {mixture.name}: tasks", mixture.tasks)
    for system in study.system:
        yield from _system_problems(study, system, f"{file}: system {system.name}")
    yield from _language_problems(study, file)
    yield from _recipe_problems(study)


def _system_problems(study: Study, system: System, where: str) -> Iterator[Problem]:
    """Names that a system uses: of intermediates, languages and published modules."""
    if system.start != "cold" and not study.intermediates:
        yield Problem(where, f"start {system.start!r} needs intermediates")
    yield from _unknown(f"{where}: intermediates", "not one of the study", system.intermediates, study.intermediates)
    yield from _repeated(f"{where}: intermediates", system.intermediates)
    modules = system.language_modules
    yield from _unknown(f"{where}: language_modules", "unknown module", modules.values(), study.module)
    spoken = {code for name in {*study.targets} & {*task_names()} for code in load_task(name).languages("test")}
    allowed = (SOURCE_LANGUAGE, OTHER, *sorted(spoken))
    yield from _unknown(f"{where}: language_modules", "no target task has this language", modules, allowed)


def _protocol_problems(study: Study, file: str) -> Iterator[Problem]:
    """Tasks in roles that they cannot play; unknown names are told elsewhere."""
    known = {name: load_task(name) for name in {*study.tasks} & {*task_names()}}
    unlabelled = {name for name, task in known.items() if task.format == "mlm"}
    untrained = {name for name, task in known.items() if not task.trained}
    before = tuple(study.preliminary.values())
    roles = [(f"mixture {each.name}", each.tasks) for each in study.mixture]
    yield from _among(
        f"{file}: targets", "masked language modelling is only trained, never tested", study.targets, unlabelled
    )
    yield from _among(f"{file}: preliminary", "masked language modelling can only be intermediate", before, unlabelled)
    roles += [(f"chain {each.name}", each.tasks) for each in study.chain]
    for field, names in (("intermediates", study.intermediates), ("preliminary", before), *roles):
        yield from _among(f"{file}: {field}", "the task has no training rows", names, untrained)
    for target in (target for target, name in study.preliminary.items() if target == name):
        yield Problem(f"{file}: preliminary", "a task before itself; train it for more epochs instead", target)
    for kind, tables in (("mixture", study.mixture), ("chain", study.chain)):
        for name in (each.name for each in tables if each.name not in study.intermediates):
            yield Problem(f"{file}: {kind}", "is not among the intermediates", name, study.intermediates)
    swapped = {name for system in study.system for name in system.language_modules.values()}
    for name in (name for name in study.module if name not in {*study.intermediates, *swapped}):
        what = "is neither among the intermediates nor in a system's language_modules"
        yield Problem(f"{file}: module", what, name)


def _among(where: str, what: str, names: Iterable[str], wrong: set[str]) -> Iterator[Problem]:
    yield from (Problem(where, what, name) for name in names if name in wrong)


def _language_problems(study: Study, file: str) -> Iterator[Problem]:
    known: set[str] = set()
    for name in set(study.targets) & set(task_names()):
        known |= set(load_task(name).languages("test"))
    yield from _unknown(f"{file}: languages", "no target task has this language", study.languages, sorted(known))


def _recipe_problems(study: Study) -> Iterator[Problem]:
    """Resolve every recipe the study will use; each distinct problem is told once."""
    found: dict[Problem, None] = {}
    for system in study.system:
        names = () if system.start == "cold" else system.intermediates or study.intermediates
        uses: list[tuple[Role, str]] = [("intermediate", each) for name in names for each in study.trained_for(name)]
        targets: list[tuple[Role, str]] = [("target", task) for task in (*study.preliminary.values(), *study.targets)]
        for each, (role, task) in (
            *((system, use) for use in uses + targets),
            *((tried(system), use) for use in targets),
        ):
            try:
                resolve_recipe(study, each, role, task)
            except XstiltsError as error:
                found |= dict.fromkeys(error.problems)
    yield from found


def _start_problems(study: Study, file: str, adapters: dict[str, AdapterConfig]) -> list[Problem]:
    problems = []
    for system in study.system:
        config = adapters[system.adapter]
        where = f"{file}: system {system.name}"
        for start in _starts(study, system):
            reason = load_method(config.kind).refuse(start)
            if reason:
                problems.append(Problem(where, f"start {start!r} with {system.adapter!r} is refused: {reason}"))
        if (system.mode == "fullft") != (config.kind == "full"):
            problems.append(Problem(where, f"mode {system.mode!r} does not fit adapter kind {config.kind!r}"))
        if system.start == "merge":
            try:
                kind = load_merge(system.merging.kind, f"{where}: merge.kind")
                validated(kind.Options, system.merging.options, f"{where}: merge.options")
            except XstiltsError as error:
                problems += error.problems
    return problems


def _starts(study: Study, system: System) -> tuple[StartName, ...]:
    """Every start that a training of the system has."""
    found: list[StartName] = ["stack"] if system.language_modules else []
    if system.start != "merge":
        found.append(system.start)
    elif system.merging.into != "direct":
        found.append(system.merging.into)
    if any(load_task(target).trained for target in study.preliminary):
        found.append("warm")
    return unique(found)


def _unknown(where: str, what: str, names: Iterable[str], allowed: Iterable[str]) -> Iterator[Problem]:
    choices = tuple(allowed)
    yield from (Problem(where, what, name, choices) for name in names if name not in choices)


def _repeated(where: str, names: Iterable[str]) -> Iterator[Problem]:
    listed = list(names)
    yield from (Problem(where, "given twice", name) for name in sorted(set(listed)) if listed.count(name) > 1)


# -------------------------------------------------------------------------------------------------------- parsing


def _stems(directory: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in directory.glob("*.toml")))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise fail(path.name, f"not valid TOML: {error}") from error


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def validated(model: type[M], content: object, where: str) -> M:
    """Validate as strict JSON, where arrays may become tuples but nothing else is coerced.

    Raises:
        XstiltsError: with every problem of the content.
    """
    try:
        # TOML has dates, which are no value of any key: shown as what they are, they fit nowhere
        return model.model_validate_json(json.dumps(content, default=lambda date: {"date": str(date)}))
    except ValidationError as error:
        found: list[dict[str, Any]] = [dict(item) for item in error.errors()]
        places = [item["loc"] for item in found]
        # pydantic counts what is left of a list after its bad items: not the user's mistake
        real = [i for i in found if i["type"] != "too_short" or not any(_inside(place, i["loc"]) for place in places)]
        raise XstiltsError(*(_problem(model, item, where) for item in real)) from error


def _inside(place: tuple[Any, ...], whole: tuple[Any, ...]) -> bool:
    return len(place) > len(whole) and place[: len(whole)] == whole


def _problem(model: type[BaseModel], item: dict[str, Any], where: str) -> Problem:
    path = tuple(item["loc"])
    place = ".".join(str(part) for part in path)
    if item["type"] == "extra_forbidden":
        owner = _model_at(model, path[:-1])
        parent = ".".join(str(part) for part in path[:-1])
        return Problem(
            f"{where}: {parent}" if parent else where, "unknown key", str(path[-1]), tuple(owner.model_fields)
        )
    if item["type"] == "missing":
        return Problem(f"{where}: {place}", "is missing")
    given = item["input"] if isinstance(item["input"], str) else json.dumps(item["input"], ensure_ascii=False)
    allowed = _literals(_annotation_at(model, path)) if item["type"] == "literal_error" else ()
    what = item["msg"].removeprefix("Value error, ")
    return Problem(f"{where}: {place}", what[0].lower() + what[1:], given[:80], allowed)


def _annotation_at(model: type[BaseModel], path: tuple[Any, ...]) -> Any:
    """The annotation of a location in a model; ``object`` where it cannot be told."""
    here: Any = model
    for part, following in itertools.zip_longest(path, path[1:]):
        if following == "[key]":  # a dictionary's key is located under itself
            return typing.get_args(here)[0]
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = _present(field.annotation) if field else object
        else:
            inner = [arg for arg in typing.get_args(here) if arg is not Ellipsis]
            here = inner[-1] if inner else object
    return here


def _model_at(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel]:
    found = _annotation_at(model, path)
    assert isinstance(found, type) and issubclass(found, BaseModel), f"{path} is not a table"
    return found


def _present(annotation: Any) -> Any:
    """What a value is that may be absent."""
    some = [each for each in typing.get_args(annotation) if each is not types.NoneType]
    return (
        some[0] if typing.get_origin(annotation) in (typing.Union, types.UnionType) and len(some) == 1 else annotation
    )


def _literals(annotation: Any) -> tuple[str, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(name for arg in typing.get_args(annotation) for name in _literals(arg))
    return tuple(map(str, typing.get_args(annotation))) if typing.get_origin(annotation) is typing.Literal else ()
