"""The file with which a report starts: a study's cells and the keys that fill them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from xstilts import baselines as rules
from xstilts.data import Sources, load_examples
from xstilts.data.identity import identify
from xstilts.files import write_json
from xstilts.key import key
from xstilts.lineage import lineage, reads
from xstilts.memo import recall, remember
from xstilts.plan import Cell, Plan, closure
from xstilts.spec import SOURCE_LANGUAGE, GeneratedData, Predict, Train, unique
from xstilts.store import Store
from xstilts.tasks import load_task

SCHEMA = 1


def write_manifest(plan: Plan, store: Store, sources: Sources) -> Path:
    """Write ``studies/<study>@<backbone>.json`` and return its path.

    It names every cell of the study, run or not, so that the report can tell what is missing, and the scores of the
    trivial baselines on the same test sets.
    """
    study, backbone = plan.loaded.study, plan.backbone
    predicts = {cell.target: cell.predict for cell in plan.cells}
    content = {
        "schema": SCHEMA,
        "xstilts": importlib.metadata.version("xstilts"),
        "study": study.model_dump(mode="json"),
        "adapters": {name: config.model_dump(mode="json") for name, config in plan.loaded.adapters.items()},
        "backbone": {"name": backbone.name, "fingerprint": backbone.fingerprint, "layers": backbone.layers},
        "tasks": {name: _task(predict) for name, predict in predicts.items()},
        "cells": [_cell(cell) for cell in plan.cells],
        "untranslated": _untranslated(plan),
        "caveats": {name: load_task(name).caveat for name in study.tasks if load_task(name).caveat},
        "baselines": {name: _baselines(predict, store, sources) for name, predict in predicts.items()},
    }
    path = store.manifest(study.name, backbone.name)
    write_json(path, content)
    return path


def _untranslated(plan: Plan) -> list[str]:
    """Intermediate tasks that are trained as published although the study trains on translations."""
    if plan.loaded.study.intermediate_language == SOURCE_LANGUAGE:
        return []
    intermediates = {key(each): each for cell in plan.cells for each in cell.intermediates}
    trains = [source for each in intermediates.values() for source in lineage(each) if isinstance(source, Train)]
    return list(unique(data.name for train in trains for data in train.tasks if data.language is None))


def _task(predict: Predict) -> dict[str, Any]:
    task = load_task(predict.task.name)
    return {
        "version": task.version,
        "format": task.format,
        "metric": task.metric,
        "generated": isinstance(task.data, GeneratedData),
        "overlaps": dict(task.overlaps),
        "cluster": task.cluster,
        "licence": task.licence,
        "citation": task.citation,
        "languages": list(predict.languages),
        "fingerprint": predict.task.fingerprint,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "system": cell.system,
        "intermediate": cell.intermediate,
        "target": cell.target,
        "seed": cell.seed,
        "split": cell.predict.split,
        "predict": key(cell.predict),
        "train": None if cell.train is None else key(cell.train),
        "preliminary_train": None if cell.preliminary_train is None else key(cell.preliminary_train),
        "intermediate_train": None if cell.intermediate_train is None else key(cell.intermediate_train),
        "intermediate_trains": [key(source) for source in cell.intermediates],
        "modules": [key(source) for source in reads(cell.predict)],
        "behind": list(unique(key(step) for step in closure(cell.predict)[:-1])),
    }


def _baselines(predict: Predict, store: Store, sources: Sources) -> dict[str, dict[str, float]]:
    """Scores of the baselines; remembered, because those of a large task take a minute."""
    task = load_task(predict.task.name)
    if task.format in rules.WITHOUT:
        return {}
    cache = store.root / "cache"
    trained = identify(task, ("train",), (), None, sources, cache).fingerprint if task.trained else ""
    asked = json.dumps([task.name, task.version, predict.task.metric, trained, predict.task.fingerprint])
    code = Path(rules.__file__).read_bytes()
    path = cache / "baselines" / f"{hashlib.sha256(asked.encode() + code).hexdigest()}.json"
    found: dict[str, dict[str, float]] | None = recall(path)
    if found is None:
        train = load_examples(task, "train", task.languages("train"), sources) if task.trained else ()
        found = rules.baselines(task, train, load_examples(task, predict.split, predict.languages, sources))
        remember(path, found)
    return found
