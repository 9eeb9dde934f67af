"""A store as a finished study leaves it, with planted effects, made in a second without training anything.

Planted: the adapter loses 15 points on the QA target and nothing elsewhere; the first intermediate task gains 15 points
on the classification target and 40 on retrieval, the second one nothing anywhere.
"""

import hashlib
import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xstilts.files import write_json
from xstilts.metrics import load_metric
from xstilts.results import SCHEMA
from xstilts.spec import Answers
from xstilts.store import Store
from xstilts.study import POOLED

LANGUAGES = ("en", "de", "zh", "sw")
TARGETS = {  # name → (format, metric, languages, examples per language, examples per cluster, base rate)
    "nli": ("classification", "accuracy", LANGUAGES, 180, 3, 0.6),
    "pos": ("tagging", "tagging", LANGUAGES, 60, 1, 0.8),
    "qa": ("span", "squad", LANGUAGES, 120, 5, 0.6),
    "pairs": ("retrieval", "accuracy", LANGUAGES[1:], 100, 1, 0.4),
}
GAIN = {("helpful", "nli"): 0.15, ("helpful", "pairs"): 0.4}
LOSS = {("adapter", "qa"): -0.15, ("adapter_stilts", "qa"): -0.15}
NATURAL = frozenset()  # targets whose text was not generated
INTERMEDIATES = ("helpful", "neutral")
DEV = {"helpful": 75.0, "neutral": 70.0}  # dev score after an intermediate; 70 without
FUSION = 240_000  # parameters
SYSTEMS = (
    {"name": "full", "label": "full fine-tuning", "mode": "fullft", "adapter": "full", "start": "cold"},
    {"name": "full_stilts", "label": "full FT, intermediate", "mode": "fullft", "adapter": "full", "start": "warm"},
    {"name": "adapter", "label": "adapter", "mode": "adapter", "adapter": "pfeiffer", "start": "cold"},
    {
        "name": "adapter_stilts",
        "label": "adapter, intermediate",
        "mode": "adapter",
        "adapter": "pfeiffer",
        "start": "stack",
    },
)
COMPARISONS = (
    {"name": "adapter vs full", "candidate": "adapter", "reference": "full"},
    {"name": "the same with intermediate", "candidate": "adapter_stilts", "reference": "full_stilts"},
    {"name": "gain, adapter", "candidate": "adapter_stilts", "reference": "adapter"},
    {"name": "gain, full", "candidate": "full_stilts", "reference": "full"},
)
RIGHT = {"classification": "yes", "retrieval": "right"}
WRONG = {"classification": "no", "retrieval": "wrong"}
ANSWERS = {"en": "the brown fox", "de": "der braune Fuchs", "zh": "棕 色 的 狐 狸", "sw": "mbweha wa kahawia"}
PARTIAL = {"en": "brown", "de": "Fuchs", "zh": "狐 狸", "sw": "mbweha"}


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def generator(*parts):
    return np.random.default_rng(int(digest(*parts), 16))


def gold_and_prediction(form, language, right, rng):
    if form == "tagging":
        gold = [("DET", "NOUN", "VERB", "NOUN", "PUNCT")[i % 5] for i in range(7)]
        pred = [tag if ok else "ADJ" for tag, ok in zip(gold, right, strict=True)]
        return gold, tuple(pred), gold
    if form == "span":
        gold = Answers((ANSWERS[language],), (3,))
        pred = ANSWERS[language] if right else rng.choice([PARTIAL[language], ""])
        return {"texts": [ANSWERS[language]], "starts": [3]}, str(pred), gold
    return RIGHT[form], RIGHT[form] if right else WRONG[form], RIGHT[form]


def predictions(target, rate, seed_parts):
    """Rows of one prediction: item difficulty is shared by all systems and languages, the run's luck is its own."""
    form, metric, languages, count, per_cluster, _ = TARGETS[target]
    stats_of = load_metric(metric).stats
    difficulty = generator(target, "items").normal(0, 0.25, count // per_cluster)
    luck = generator(seed_parts).normal(0, 0.01)
    rows = []
    for language in languages:
        rng = generator(seed_parts, language)
        for item in range(count):
            chance = rate + luck + difficulty[item // per_cluster] * (form != "tagging")
            right = rng.random(7) < chance if form == "tagging" else rng.random() < chance
            shown, pred, gold = gold_and_prediction(form, language, right, rng)
            rows.append(
                {
                    "item_id": f"{target}-{item}",
                    "cluster": f"{target}-{item // per_cluster}",
                    "language": language,
                    "gold": json.dumps(shown, ensure_ascii=False),
                    "pred": json.dumps(pred, ensure_ascii=False),
                    "stats": list(stats_of(gold, pred, language)),
                }
            )
    return rows


def publish(store, key, step, result, rows=None):
    directory = store.begin(key)
    write_json(directory / "step.json", {"key": key, "step": step})
    write_json(directory / "result.json", result)
    if rows is not None:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), directory / "predictions.parquet")
    store.publish(key)


def module_result(kind, seconds=0.5):
    """Of what was not trained."""
    result = {"kind": kind, "status": "ok", "stored_parameters": 40_000, "stored_bytes": 160_000, "seconds": seconds}
    return result | ({"stored_parameters": 40_600, "head_parameters": 600} if kind == "combine" else {})


def train_result(mode, status="ok", dev=70.0, fused=0):
    full = mode == "fullft"
    return {
        "kind": "train",
        "status": status,
        "reason": None if status == "ok" else "constant predictions on dev",
        "seconds": 20.0 if full else 14.0,
        "peak_memory_bytes": 800_000_000 if full else 500_000_000,
        "trainable_parameters": 3_400_000 if full else 40_000,
        "head_parameters": 600,
        "total_parameters": 3_440_000,
        "stored_parameters": 3_400_600 if full else 40_600 + fused,
        "stored_bytes": 13_600_000 if full else 162_000,
        "examples_per_second": 300.0 if full else 420.0,
        "padding_factor": 1.04,
        "dev_score": dev,
        "environment": {"python": "3.11", "torch": "2.13", "device": "cpu", "threads": 1},
    }


def task_record(target):
    form, metric, languages, _, per_cluster, _ = TARGETS[target]
    return {
        "version": 1,
        "format": form,
        "metric": metric,
        "cluster": "paragraph" if per_cluster > 1 else "sentence",
        "licence": "CC BY 4.0",
        "citation": "Somebody et al. 2020",
        "languages": list(languages),
        "fingerprint": digest(target),
        "generated": target not in NATURAL,
    }


def used(study, system):
    """Names of a system's intermediates as its cells have them."""
    if system["start"] == "cold":
        return (None,)
    names = system.get("intermediates") or study["intermediates"]
    return (POOLED.join(names),) if system["start"] in ("fuse", "merge") else tuple(names)


class Filler:
    """Publishes the steps of one study, each once."""

    def __init__(self, store, study, collapsed):
        self.store, self.study, self.collapsed = store, study, collapsed

    def put(self, key, task, result):
        if not self.store.is_done(key):
            publish(self.store, key, {"task": {"name": task}}, result)
        return key

    def source(self, system, name, seed, status):
        seed = seed if self.study["source_seeds"] == "paired" else self.study["seeds"][0]
        if name in self.study.get("module", {}):
            return self.put(digest("import", name), name, module_result("import"))
        key = digest(self.study["name"], "train", system["name"], name, seed)
        return self.put(key, name, train_result(system["mode"], status))

    def cell(self, system, middle, target, seed):
        """One cell, and its steps but for the prediction."""
        name, start = system["name"], system["start"]
        names = middle.split(POOLED) if middle else []
        status = "collapsed" if (name, middle, target, seed) in self.collapsed else "ok"
        sources = [self.source(system, each, seed, status) for each in names]
        own = digest(self.study["name"], "train", name, middle, target, seed)
        modules, behind, train = [*([] if start == "warm" else sources), own], [*sources, own], own
        pooled = list(sources)
        if TARGETS[target][0] == "retrieval":
            train = sources[0] if sources else None
            modules = behind = [train] if sources else []
        else:
            fused = FUSION if start == "fuse" else 0
            dev = DEV.get(middle, 70.0)
            self.put(own, target, train_result(system["mode"], status, dev, fused))
            if start == "merge":
                direct = system.get("merge", {}).get("into") == "direct"
                parts = [*sources, own] if direct else sources
                merged = self.put(digest("combine", *parts), target, module_result("combine"))
                pooled, train = ([own, *sources], merged) if direct else (sources, own)
                modules = [merged] if direct else [merged, own]
                behind = [*sources, own, merged] if direct else [*sources, merged, own]
        several = len(names) > 1
        return {
            "system": name,
            "intermediate": middle,
            "target": target,
            "seed": seed,
            "split": "test",
            "predict": digest(self.study["name"], "predict", target, train or "bare"),
            "train": train,
            "intermediate_train": sources[0] if len(sources) == 1 and not several else None,
            "intermediate_trains": pooled,
            "modules": modules,
            "behind": behind,
        }


def fill(store, study, skip=(), collapsed=()):
    """Publish the steps of every cell but those in ``skip`` and return the cells of the manifest."""
    cells = []
    filler = Filler(store, study, collapsed)
    for system, target, seed in itertools.product(study["system"], TARGETS, study["seeds"]):
        for middle in used(study, system):
            name = system["name"]
            cell = filler.cell(system, middle, target, seed)
            cells.append(cell)
            predict = cell["predict"]
            if (name, middle, target, seed) not in skip and not store.is_done(predict):
                gain = max((GAIN.get((each, target), 0) for each in (middle or "").split(POOLED)), default=0)
                rate = TARGETS[target][-1] + gain + LOSS.get((name, target), 0)
                task = {"name": target, "version": 1, "fingerprint": digest(target)}
                rows = predictions(target, rate, predict)
                publish(store, predict, {"task": task, "split": "test"}, {"kind": "predict"}, rows)
    return cells


def make_store(root, skip=(), collapsed=(), **changes):
    """Write a store that holds one study, and return its root."""
    study = {
        "name": "planted",
        "title": "A study with planted effects",
        "seeds": [1, 2, 3],
        "source_seeds": "paired",
        "backbone": "mini",
        "intermediates": list(INTERMEDIATES),
        "targets": list(TARGETS),
        "recipe": {},
        "system": list(SYSTEMS),
        "comparison": list(COMPARISONS),
        **changes,
    }
    store = Store(root)
    store.prepare()
    manifest = {
        "schema": 1,
        "xstilts": "0.1.0",
        "study": study,
        "adapters": {
            "full": {"kind": "full", "options": {}},
            "pfeiffer": {"kind": "bottleneck", "options": {"where": "output"}},
        },
        "backbone": {"name": study["backbone"], "fingerprint": "b" * 64, "layers": 4},
        "tasks": {target: task_record(target) for target in TARGETS},
        "cells": fill(store, study, skip, collapsed),
        "baselines": {
            target: {
                "majority": dict.fromkeys(TARGETS[target][2], 34.0),
                "overlap": dict.fromkeys(TARGETS[target][2], 41.5),
            }
            for target in TARGETS
        },
    }
    write_json(store.manifest(study["name"], study["backbone"]), manifest)
    return root


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """The full study, without one cell and with one collapsed run."""
    skip = {("full_stilts", "neutral", "pos", 3)}
    collapsed = {("adapter", None, "pos", 2)}
    return make_store(tmp_path_factory.mktemp("planted"), skip, collapsed)


@pytest.fixture(scope="session")
def store_maker_once():
    """The generator for a store that a whole module reads."""
    return make_store


@pytest.fixture
def store_maker():
    """The generator itself, for a test that needs another study."""
    return make_store
