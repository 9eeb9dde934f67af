"""Published modules, from what a study calls them to a step of its plan, and from that step to a file of the store."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from xstilts import exchange
from xstilts.backbone import weights_digest
from xstilts.doctor import admitted
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.published import Published
from xstilts.spec import Backbone, Import
from xstilts.study import Study


def resolve(study: Study, backbone: Backbone) -> Mapping[str, Import]:
    """Find, examine and name every published module of a study, before anything trains.

    Raises:
        XstiltsError: every module that cannot be found or read, or does not fit the backbone, and why.
    """
    found, problems = dict[str, Import](), list[Problem]()
    for name, table in study.module.items():
        try:
            found[name] = announce(table.source, backbone)
        except XstiltsError as error:
            where = f"{study.name}: module {name}"
            problems += [
                Problem(f"{where}: {each.where}", each.what, each.given, each.allowed) for each in error.problems
            ]
    if problems:
        raise XstiltsError(*problems)
    return found


def announce(source: str, backbone: Backbone) -> Import:
    """A published module as a step.

    Raises:
        XstiltsError: not found, unreadable, unsafe, or made for another backbone.
    """
    path = exchange.locate(source)
    published = admitted(source, backbone)
    return Import(
        backbone, published.method, weights_digest(published.tensors), published.origin.language, source, str(path)
    )


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
