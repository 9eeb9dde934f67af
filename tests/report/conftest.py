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


def train_result(mode, status="ok"):
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
        "stored_parameters": 3_400_600 if full else 40_600,
        "stored_bytes": 13_600_000 if full else 162_000,
        "examples_per_second": 300.0 if full else 420.0,
        "padding_factor": 1.04,
        "dev_score": 70.0,
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


def fill(store, study, skip=(), collapsed=()):
    """Publish the steps of every cell but those in ``skip`` and return the cells of the manifest."""
    cells = []
    for system, target, seed in itertools.product(study["system"], TARGETS, study["seeds"]):
        for middle in (None,) if system["start"] == "cold" else INTERMEDIATES:
            name, retrieval = system["name"], TARGETS[target][0] == "retrieval"
            source_seed = seed if study["source_seeds"] == "paired" else study["seeds"][0]
            source = middle and digest(study["name"], "train", name, middle, source_seed)
            train = source if retrieval else digest(study["name"], "train", name, middle, target, seed)
            predict = digest(study["name"], "predict", target, train or "bare")
            cell = {"system": name, "intermediate": middle, "target": target, "seed": seed, "split": "test"}
            cells.append({**cell, "predict": predict, "train": train, "intermediate_train": source})
            if (name, middle, target, seed) in skip:
                continue
            for key, task in ((source, middle), (train, target)):
                if key and not store.is_done(key):
                    status = "collapsed" if (name, middle, target, seed) in collapsed else "ok"
                    publish(store, key, {"task": {"name": task}}, train_result(system["mode"], status))
            if not store.is_done(predict):
                rate = TARGETS[target][-1] + GAIN.get((middle, target), 0) + LOSS.get((name, target), 0)
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


@pytest.fixture
def store_maker():
    """The generator itself, for a test that needs another study."""
    return make_store
