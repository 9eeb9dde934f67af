"""Published modules, from what a study calls them to a step of its plan, and from that step to a file of the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from xstilts import exchange
from xstilts.backbone import weights_digest
from xstilts.doctor import Diagnosis, admitted, cleared, examine
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.published import Published
from xstilts.spec import Backbone, Import
from xstilts.study import Study

HERE = Path()


def resolve(
    study: Study, backbone: Backbone, beside: Path = HERE, tell: Callable[[str], None] = lambda line: None
) -> Mapping[str, Import]:
    """Find, examine and name every published module of a study, before anything trains.

    Args:
        study: names the modules.
        backbone: that they are to be used with. One that is out of reach, and only announced, allows no examination:
            then modules are read, and their layers are counted.
        beside: directory of the study's file, to which the paths of modules are relative.
        tell: is given a line on every module.

    Raises:
        XstiltsError: every module that cannot be found or read, or does not fit the backbone, and why.
    """
    found, problems = dict[str, Import](), list[Problem]()
    for name, table in study.module.items():
        try:
            found[name], said = _announce(_located(table.source, beside), backbone)
            tell(f"module {name}: {said}")
        except XstiltsError as error:
            problems += [replace(each, where=_where(study, name, each.where)) for each in error.problems]
    if problems:
        raise XstiltsError(*problems)
    return found


def _where(study: Study, name: str, where: str) -> str:
    """A place in a module, as it is told to somebody who knows the module by its name in the study."""
    seen = where.rpartition(f"{study.module[name].source}: ")[2]
    return f"{study.name}: module {name}" + (f": {seen}" if seen != "module" else "")


def _located(source: str, beside: Path) -> str:
    """What a study calls a module, as it is called from here: a directory seen from the study's file, or a hub id.

    Raises:
        XstiltsError: a directory that can only be seen from here.
    """
    there = beside / source
    if source and there.is_dir():
        return str(there)
    if source and Path(source).is_dir():
        raise fail("source", f"a path is relative to the study's file, and there is no directory {there}", source)
    return source


def _announce(source: str, backbone: Backbone) -> tuple[Import, str]:
    """A published module as a step, and what a user should know of it.

    Raises:
        XstiltsError: not found, unreadable, unsafe, or made for another backbone.
    """
    path = exchange.locate(source)
    if backbone.fingerprint:
        found = examine(source, backbone)
        published, said = cleared(found), _warnings(found)
    else:
        published, said = exchange.load(source), f"not examined, for {backbone.name} is not here"
        if published.layers != backbone.layers:
            raise fail(source, f"made for {published.layers} layers, {backbone.name} has {backbone.layers}")
    method, fingerprint = published.method, weights_digest(published.tensors)
    return Import(backbone, method, fingerprint, published.origin.language, source, str(path)), said


def _warnings(found: Diagnosis) -> str:
    """The verdict, with all that the user is warned of."""
    warned = [f"{check.name}: {check.found}" for check in found.checks if check.verdict == "warning"]
    return "; ".join((f"can be used with {found.backbone}", *(f"warning: {each}" for each in warned)))


def run(step: Import, directory: Path) -> None:
    """Write ``encoder.safetensors`` and ``result.json`` of a published module.

    Raises:
        XstiltsError: the module changed since the study was planned, or can no longer be read.
    """
    from xstilts.engine import artifact
    from xstilts.engine.compose import ENCODER_FILE, about

    began = time.perf_counter()
    published = admitted(step.source, step.backbone)
    if weights_digest(published.tensors) != step.fingerprint or published.method != step.method:
        raise fail(f"module {step.source}", "changed since the study was planned; run the study again")
    artifact.save(directory / ENCODER_FILE, published.tensors, about(step, "encoder"))
    result = {
        "kind": "import",
        "status": "ok",
        "stored_parameters": sum(tensor.numel() for tensor in published.tensors.values()),
        "stored_bytes": (directory / ENCODER_FILE).stat().st_size,
        "head_parameters": 0,
        "seconds": time.perf_counter() - began,
        "origin": _origin(published),
    }
    (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _origin(published: Published) -> dict[str, str | None]:
    origin = published.origin
    return {
        "layout": origin.layout,
        "version": origin.version,
        "name": origin.name,
        "backbone": origin.backbone,
        "language": origin.language,
        "task": origin.task,
        "licence": origin.licence,
    }
