"""Modules of a real store and published ones on one test set: their predictions are those of a study."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from xstilts import bundle, evaluation, exchange
from xstilts.data import Sources, fingerprint, load_examples
from xstilts.errors import XstiltsError
from xstilts.evaluation import assembly, evaluate, heads, written
from xstilts.evaluation.heads import Head
from xstilts.evaluation.records import MEAN, Request
from xstilts.published import PublishedHead
from xstilts.results import SCHEMA
from xstilts.tasks import load_task

ROOT = Path(__file__).parents[1]
SYSTEM = '[[system]]\nname = "{0}"\nlabel = "{0}"\nadapter = "{1}"\nstart = "{2}"\nmode = "{3}"\n{4}\n'
SYSTEMS = {
    "direct": ("pfeiffer_r16", "cold", "adapter", ""),
    "slow": ("pfeiffer_r16", "cold", "adapter", "recipe = { lr = 1e-4 }"),
    "stack": ("pfeiffer_r16", "stack", "adapter", 'intermediates = ["mini_mnli"]'),
    "multi": ("pfeiffer_r16", "stack", "adapter", 'intermediates = ["both"]'),
    "fuse": ("pfeiffer_r16", "fuse", "adapter", 'intermediates = ["mini_mnli", "mini_squad1"]'),
    "attention": (
        *("pfeiffer_r16", "fuse", "adapter"),
        'intermediates = ["mini_mnli", "mini_squad1"]\nfuse = { on_top = false }',
    ),
    "lora_stack": ("lora_r8", "stack", "adapter", 'intermediates = ["mini_mnli"]'),
    "lora_merge": (
        *("lora_r8", "merge", "adapter"),
        'intermediates = ["mini_mnli"]\nmerge = { kind = "linear", into = "direct" }',
    ),
    "head": ("head", "cold", "adapter", ""),
    "full": ("full", "warm", "fullft", 'intermediates = ["mini_mnli"]'),
}
STUDY = """
name = "tiny"
title = "Tiny"
seeds = [1]
intermediates = ["mini_mnli", "mini_squad1", "both"]
targets = ["mini_xnli"]
languages = ["en", "sw"]
recipe = { common = { epochs = 1, batch = 8, lr = 3e-3, max_length = 64, train_examples = 48, dev_examples = 8 } }
mixture = [{ name = "both", tasks = ["mini_mnli", "mini_squad1"], sampling = { kind = "uniform" } }]
comparison = [{ name = "gain", candidate = "stack", reference = "direct" }]
"""
SEEDS = """
name = "seeds"
title = "Seeds"
seeds = [1, 2]
source_seeds = "fixed"
intermediates = ["mini_mnli"]
targets = ["mini_xnli", "mini_tatoeba"]
languages = ["de", "sw"]
retrieval_layer = 1
pooling = "mean"
recipe = { common = { epochs = 1, batch = 8, lr = 3e-3, max_length = 64, train_examples = 48, dev_examples = 8 } }
comparison = [{ name = "gain", candidate = "stack", reference = "direct" }]
"""
ENOUGH = ("direct", "stack")
LABELS = ("entailment", "neutral", "contradiction")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two studies done."""
    root = tmp_path_factory.mktemp("evaluate")
    for name, text, systems in (("tiny", STUDY, SYSTEMS), ("seeds", SEEDS, ENOUGH)):
        study = root / f"{name}.toml"
        study.write_text(text + "".join(SYSTEM.format(system, *SYSTEMS[system]) for system in systems))
        where = ["--store", str(root / "store"), "--out", str(root / name), "--device", "cpu", "--workers", "1"]
        command = [sys.executable, "experiments/run.py", "--study", str(study), *where]
        shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert shown.returncode == 0, shown.stdout + shown.stderr
    return root / "store"


@pytest.fixture(scope="module")
def cells(store):
    """System → its cell in the study."""
    manifest = json.loads((store / "studies" / "tiny@mini.json").read_text())
    return {cell["system"]: cell for cell in manifest["cells"]}


@pytest.fixture
def module(store, cells):
    return lambda system: str(store / "steps" / cells[system]["train"])


def request(*modules, **changes):
    values = {"task": "mini_xnli", "backbone": "mini", "device": "cpu", "languages": ("en", "sw"), **changes}
    return Request(modules=modules, **values)


def rows(path):
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    found = table.to_pylist()
    return sorted(found, key=lambda row: (row["language"], row["item_id"]))


def said(evaluated):
    return [dict(sorted(one.predictions.items())) for one in evaluated.modules]


# -------------------------------------------------------------------------------------------- modules of a store

WEIGHTS_LEFT = tuple(system for system in SYSTEMS if system != "full")


@pytest.fixture(scope="module")
def all_of_them(store, cells, tmp_path_factory):
    """Every module of the study that has its weights, evaluated at once."""
    out = tmp_path_factory.mktemp("out") / "all"
    paths = [str(store / "steps" / cells[system]["train"]) for system in WEIGHTS_LEFT]
    return out, evaluate(request(*paths, out=out))


@pytest.mark.parametrize("system", WEIGHTS_LEFT)
def test_a_module_says_what_the_study_predicted_with_it(system, store, cells, all_of_them):
    out, found = all_of_them
    name = found.modules[WEIGHTS_LEFT.index(system)].name
    study = rows(store / "steps" / cells[system]["predict"] / "predictions.parquet")
    assert rows(out / name / "predictions.parquet") == study and len(study) == 240
    recorded = json.loads((store / "steps" / cells[system]["predict"] / "result.json").read_text())["scores"]
    scores = {each.language: each.score for each in found.scores() if each.module == name}
    assert {language: scores[language] for language in ("en", "sw")} == pytest.approx(recorded)
    assert scores[MEAN] == pytest.approx(np.mean(list(recorded.values())))


def test_modules_of_one_shape_share_a_pass(all_of_them):
    _, found = all_of_them
    together = {system: len(one.together) for system, one in zip(WEIGHTS_LEFT, found.modules, strict=True)}
    shared = {"direct": 2, "slow": 2}
    assert together == {system: shared.get(system, 1) for system in WEIGHTS_LEFT}
    assert not any(one.remarks for one in found.modules)


def test_what_is_written(all_of_them):
    out, found = all_of_them
    assert {path.name for path in out.iterdir()} == {"scores.csv", "evaluation.json", *(m.name for m in found.modules)}
    account = json.loads((out / "evaluation.json").read_text())
    task = load_task("mini_xnli")
    examples = load_examples(task, "test", ("en", "sw"), Sources())
    assert account["task"]["fingerprint"] == fingerprint(examples) and account["task"]["metric"] == "accuracy 1"
    assert account["xstilts"] and account["seconds"] > 0 and account["max_length"] == 64
    by_system = dict(zip(WEIGHTS_LEFT, account["modules"], strict=True))
    assert len(by_system["fuse"]["below"]) == 2 and by_system["direct"]["below"] == []
    assert by_system["stack"]["below"][0] in by_system["fuse"]["below"]
    with (out / "scores.csv").open() as stream:
        listed = list(csv.DictReader(stream))
    assert len(listed) == len(WEIGHTS_LEFT) * 3 == len(account["scores"])
    assert float(listed[0]["low"]) < float(listed[0]["score"]) < float(listed[0]["high"])
    assert [row["examples"] for row in listed[:3]] == ["120", "120", "240"]
    text = "\n".join(written.lines(found))
    assert all(one.name in text and one.candidate.source in text for one in found.modules)


def test_the_interval_is_that_of_clustered_means(all_of_them):
    """Worked out by hand for one module and language: t interval with deviations summed inside clusters."""
    out, found = all_of_them
    first = next(each for each in found.scores() if each.language == "sw")
    own = [row for row in rows(out / first.module / "predictions.parquet") if row["language"] == "sw"]
    right = np.array([row["stats"][0] for row in own])
    clusters = np.unique([row["cluster"] for row in own], return_inverse=True)[1]
    sums = np.bincount(clusters, weights=right - right.mean())
    count = len(sums)
    error = 100 * math.sqrt(count / (count - 1) * np.sum(sums**2)) / len(right)
    reach = error * stats.t.ppf(0.975, count - 1)
    assert 1 < count < len(right)
    wanted = (100 * right.mean(), 100 * right.mean() - reach, 100 * right.mean() + reach)
    assert (first.score, first.low, first.high) == pytest.approx(wanted)


def test_the_head_of_another_task_with_the_same_labels_is_told(store, cells):
    """A fully fine-tuned intermediate, and a mixture, whose two heads are told apart by format."""
    paths = [str(store / "steps" / cells[system]["intermediate_train"]) for system in ("full", "multi")]
    found = evaluate(request(*paths, languages=("en",)))
    assert [one.remarks for one in found.modules] == [("its head was trained on mini_mnli",)] * 2
    spans = evaluate(request(paths[1], task="mini_xquad", languages=("en",)))
    assert spans.modules[0].remarks == ("its head was trained on mini_squad1",)


def seeds_of(store, target):
    """The stacked systems of the second study, whose seeds share the module below."""
    manifest = json.loads((store / "studies" / "seeds@mini.json").read_text())
    return [cell for cell in manifest["cells"] if (cell["system"], cell["target"]) == ("stack", target)]


def predicted(found, number):
    examples = [found.examples[index] for index in found.modules[number].predictions]
    keys = [(example.language, example.item_id) for example in examples]
    return dict(zip(keys, found.modules[number].predictions.values(), strict=True))


def stored(store, cell):
    study = rows(store / "steps" / cell["predict"] / "predictions.parquet")
    return {(row["language"], row["item_id"]): json.loads(row["pred"]) for row in study}


def test_modules_on_the_same_module_share_a_pass(store):
    one, two = seeds_of(store, "mini_xnli")
    found = evaluate(request(*(str(store / "steps" / cell["train"]) for cell in (one, two)), languages=("de", "sw")))
    assert [len(each.together) for each in found.modules] == [2, 2]
    assert found.modules[0].candidate.below == found.modules[1].candidate.below
    assert [predicted(found, number) for number in range(2)] == [stored(store, cell) for cell in (one, two)]


def test_retrieval_needs_no_head_and_has_a_layer(store):
    cell, _ = seeds_of(store, "mini_tatoeba")
    module = str(store / "steps" / cell["train"])
    asked = request(module, task="mini_tatoeba", languages=("de", "sw"), layer=1, pooling="mean")
    assert predicted(evaluate(asked), 0) == stored(store, cell)
    assert evaluate(replace(asked, layer=None)).layer == 3, "what a study takes that names none"


# --------------------------------------------------------------------------------------------- what lies below


@pytest.fixture
def copied(tmp_path, module):
    def copy(system):
        target = tmp_path / Path(module(system)).name
        shutil.copytree(module(system), target)
        return target

    return copy


def test_a_bundle_without_what_it_lies_on_is_refused(copied, store, cells):
    lonely = copied("fuse")
    with pytest.raises(XstiltsError, match=r"lies on bottleneck trained on mini_mnli.*not beside it") as told:
        evaluate(request(str(lonely)))
    assert len(told.value.problems) == 2
    for key in bundle.verify(lonely).below:
        shutil.copytree(store / "steps" / key.key, lonely.parent / key.key)
    evaluate(request(str(lonely), languages=("en",)))


def test_another_bundle_in_the_place_of_what_lies_below_is_refused(copied, store, cells):
    stacked = copied("stack")
    (below,) = bundle.verify(stacked).below
    shutil.copytree(store / "steps" / cells["direct"]["train"], stacked.parent / below.key)
    with pytest.raises(XstiltsError, match="another step than its directory is named after"):
        evaluate(request(str(stacked)))


BROKEN_STEPS = {
    "missing": None,
    "no JSON": "{",
    "no start": '{"key": "KEY", "step": {}}',
    "continued": '{"key": "KEY", "step": {"start": {"type": "Warm"}}}',
    "other sources": '{"key": "KEY", "step": {"start": {"type": "Fuse", "sources": [{"key": "0"}]}}}',
    "of another step": '{"key": "0", "step": {"start": {"type": "Fuse", "sources": []}}}',
}


@pytest.mark.parametrize("name", BROKEN_STEPS)
def test_a_fusion_that_does_not_say_what_it_attends_over_is_refused(name, copied, store):
    fused = copied("attention")
    for each in bundle.verify(fused).below:
        shutil.copytree(store / "steps" / each.key, fused.parent / each.key)
    (fused / "step.json").unlink()
    if BROKEN_STEPS[name] is not None:
        (fused / "step.json").write_text(BROKEN_STEPS[name].replace("KEY", fused.name))
    with pytest.raises(XstiltsError, match=r"step.json does not say which"):
        evaluate(request(str(fused)))


def test_a_module_of_another_backbone_is_refused(module, backbone):
    with pytest.raises(XstiltsError, match="another mini") as told:
        evaluate(request(module("direct"), module("attention"), backbone=backbone.path))
    assert {problem.where.partition(":")[0] for problem in told.value.problems} >= {module("direct")}


# -------------------------------------------------------------------------------------------- published modules


@pytest.fixture(scope="module")
def published(store, cells):
    """A LoRA with a head, as it could have been published."""
    return bundle.read(store / "steps" / cells["lora_merge"]["train"])


@pytest.fixture(scope="module")
def expected(store, cells):
    return said(evaluate(request(str(store / "steps" / cells["lora_merge"]["train"]))))[0]


def with_order(published, order, labels):
    """The same head with its outputs in another order."""
    tensors = {
        name: tensor[order] if name.startswith("out_proj") else tensor
        for name, tensor in published.head.tensors.items()
    }
    return replace(published, head=PublishedHead(published.head.format, tensors, labels))


def test_labels_that_the_file_names_are_matched_by_name(published, expected, tmp_path):
    named = tuple(LABELS[number].upper() for number in (2, 0, 1))
    exchange.write(with_order(published, [2, 0, 1], named), tmp_path / "hub", "adapterhub")
    assert said(evaluate(request(str(tmp_path / "hub"))))[0] == expected
    also = evaluate(request(str(tmp_path / "hub"), labels=LABELS))
    assert said(also)[0] == expected, "what the file says of its own labels stands"


def test_labels_that_the_file_does_not_name_are_asked_for(published, expected, tmp_path):
    exchange.write(with_order(published, [1, 2, 0], None), tmp_path / "peft", "peft")
    with pytest.raises(XstiltsError, match=r"does not name its outputs.* say their order with --labels"):
        evaluate(request(str(tmp_path / "peft")))
    in_order = tuple(LABELS[number] for number in (1, 2, 0))
    found = evaluate(request(str(tmp_path / "peft"), labels=in_order))
    assert said(found)[0] == expected and found.modules[0].name == "peft"
    assert said(evaluate(request(str(tmp_path / "peft"), labels=LABELS)))[0] != expected


def test_a_published_module_beside_one_of_a_store(published, expected, module, tmp_path):
    exchange.write(published, tmp_path / "hub", "adapterhub")
    found = evaluate(request(str(tmp_path / "hub"), module("direct"), module("lora_stack")))
    alone = [said(evaluate(request(module(system))))[0] for system in ("direct", "lora_stack")]
    assert said(found) == [expected, *alone]


# ------------------------------------------------------------------------------------------------------- heads


def head(outputs=3, labels=LABELS, task=None, format_name="classification"):
    import torch

    return Head(
        format_name, {"out_proj.weight": torch.eye(outputs), "out_proj.bias": torch.zeros(outputs)}, labels, task
    )


XNLI = load_task("mini_xnli")
REFUSED_HEADS = {
    "none": (
        (),
        (),
        "has no head for mini_xnli, a task of the format classification; a study trains one; given 'none'",
    ),
    "another format": ((head(format_name="tagging"),), (), "given 'tagging'"),
    "too few outputs": ((head(2, None),), (), "its head has 2 outputs, mini_xnli has 3 labels"),
    "other labels": ((head(labels=("a", "b", "c")),), (), "names its outputs a, b, c, so which is which"),
    "a label twice": ((head(labels=("neutral", "Neutral", "entailment")),), (), "names its outputs neutral"),
    "no labels": ((head(labels=None),), (), "does not name its outputs"),
    "several": ((head(task="mini_mnli"), head(task="other")), (), "has several heads that fit"),
    "its own does not fit": ((head(2, None, "mini_xnli"), head(task="mini_mnli")), (), "2 outputs"),
}


@pytest.mark.parametrize("name", REFUSED_HEADS)
def test_a_head_that_cannot_be_read_is_refused(name):
    offered, said_labels, what = REFUSED_HEADS[name]
    with pytest.raises(XstiltsError, match=what):
        heads.choose("module", offered, XNLI, said_labels)


def test_the_head_of_the_task_goes_before_others():
    import torch

    own, other = head(task="mini_xnli", labels=("contradiction", "neutral", "entailment")), head(task="mini_mnli")
    chosen = heads.choose("module", (other, own), XNLI)
    assert chosen.remark is None
    order = [own.labels.index(label) for label in XNLI.labels]
    assert chosen.tensors["out_proj.weight"].equal(torch.eye(3)[order])
    assert "mini_mnli" in heads.choose("module", (other,), XNLI).remark
    fallback = heads.choose("module", (head(labels=("x", "y", "z")),), XNLI, LABELS)
    assert fallback.tensors["out_proj.weight"].equal(torch.eye(3)[[LABELS.index(label) for label in XNLI.labels]])


WRONG_LABELS = {
    "too few": (("entailment",), "mini_xnli", "must name every label of mini_xnli once"),
    "unknown": (("entailment", "neutral", "no"), "mini_xnli", "allowed: contradiction, entailment, neutral"),
    "not of this task": (("a",), "mini_xquad", "mini_xquad has no labels"),
}


@pytest.mark.parametrize("name", WRONG_LABELS)
def test_labels_are_checked_before_anything_is_read(name):
    labels, task, what = WRONG_LABELS[name]
    with pytest.raises(XstiltsError, match=what):
        evaluate(request("no/such/module", task=task, labels=labels))


# -------------------------------------------------------------------------------------------------------- input

BAD = {
    "no such task": ({"task": "mini_xnl"}, "did you mean 'mini_xnli'"),
    "no such language": ({"languages": ("xx",)}, "no such language"),
    "not predicted": ({"task": "mini_mlm"}, "is trained, and not predicted"),
    "no such split": ({"task": "mini_tatoeba", "split": "train"}, r"no such split.*allowed: test"),
    "a layer without retrieval": ({"layer": 1}, "belong to retrieval"),
    "no such layer": ({"task": "mini_tatoeba", "languages": ("de",), "layer": 9}, "layers 0 to 4"),
    "too long": ({"max_length": 1000}, "positions for 8 to 256"),
    "no stride": ({"doc_stride": 0}, "at least 1"),
    "no such device": ({"device": "tpu"}, "not a device"),
    "no such backbone": ({"backbone": "here"}, "neither a directory nor a hub id"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_message(name, module):
    changes, what = BAD[name]
    with pytest.raises(XstiltsError, match=what):
        evaluate(request(module("direct"), **changes))


def test_all_modules_that_cannot_be_used_are_told_at_once(module, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(XstiltsError) as told:
        evaluate(request(module("direct"), str(tmp_path / "empty"), "nothing", module("full")))
    assert [problem.what.split(":")[0].split(";")[0] for problem in told.value.problems] == [
        "is no published module",
        "neither a directory nor a hub id 'org/name'",
        "is missing",
    ]


def test_the_same_module_twice_is_refused(module):
    with pytest.raises(XstiltsError, match="named more than once"):
        evaluate(request(module("direct"), module("direct")))


def test_modules_that_were_trained_with_other_lengths_are_not_mixed_silently(module, monkeypatch):
    real, lengths = assembly.assemble, iter([96, 64, 96, 64])

    def other(source, backbone):
        return replace(real(source, backbone), lengths=assembly.Lengths(next(lengths), 64))

    monkeypatch.setattr(evaluation, "assemble", other)
    both = request(module("direct"), module("slow"), languages=("en",))
    with pytest.raises(XstiltsError, match="--max-length: the modules were trained with different ones"):
        evaluate(both)
    assert evaluate(replace(both, max_length=48)).lengths == (48, 64)


# ------------------------------------------------------------------------------------------------------- output


def test_nothing_is_overwritten(module, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("kept")
    monkeypatch.setattr(evaluation, "_evaluate", None)  # nothing is computed in vain
    with pytest.raises(XstiltsError, match="exists and is not empty; nothing is overwritten"):
        evaluate(request(module("direct"), out=out))
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (out / "mine").read_text() == "kept"


def test_half_an_evaluation_is_never_there(module, tmp_path, monkeypatch):
    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written, "write_json", fails)
    with pytest.raises(XstiltsError, match="the disk is full"):
        evaluate(request(module("direct"), languages=("en",), out=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- command line


def command(*arguments):
    words = [sys.executable, "experiments/evaluate.py", *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=200, env={**os.environ})


def test_the_command_prints_a_table_and_writes(module, tmp_path):
    out = tmp_path / "out"
    both = (module("direct"), module("slow"))
    shown = command("mini_xnli", *both, "--languages", "sw", "en", "--device", "cpu", "--out", str(out))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "mini_xnli, test: accuracy in percent with 95 % intervals"
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["language", "examples"],
        ["sw", "120"],
        ["en", "120"],
        ["mean", "240"],
    ]
    assert "one pass" in shown.stdout and lines[-1] == f"written: {out}"
    assert len(list(out.glob("*/predictions.parquet"))) == 2
    again = command("mini_xnli", *both, "--device", "cpu", "--out", str(out))
    assert again.returncode == 2 and again.stderr.startswith("error: ") and "not empty" in again.stderr
    assert "Traceback" not in again.stderr and not again.stdout


def test_the_command_refuses_what_has_no_head(module):
    shown = command("mini_xquad", module("direct"), "--device", "cpu")
    assert shown.returncode == 2
    assert "has no head for mini_xquad, a task of the format span; a study trains one" in shown.stderr
    assert shown.stderr.startswith("error: ") and "Traceback" not in shown.stderr
