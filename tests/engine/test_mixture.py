"""Several tasks trained jointly: one module, a head per task, batches of one task each."""

import json
import math
from dataclasses import replace

import pytest
import torch

from xstilts.backbone import resolve
from xstilts.engine import compose, loop, train
from xstilts.errors import XstiltsError
from xstilts.key import key
from xstilts.spec import Mixture, Predict, Sampling, Stack, TaskData, Warm
from xstilts.store import SCRATCH
from xstilts.tasks import load_task

PROPORTIONAL = Sampling(kind="proportional")
UNIFORM = Sampling(kind="uniform")


def mixed(step, *format_names, sampling=PROPORTIONAL):
    also = tuple(TaskData(f"toy_{name}", 1, "m 1", "0") for name in format_names)
    return replace(step, mixture=Mixture(also, sampling))


def mixture(bench, method="pfeiffer", start=None, sampling=PROPORTIONAL, **recipe):
    return mixed(bench.step(method, start, **recipe), "tagging", "span", sampling=sampling)


def test_one_module_and_a_head_per_task(bench):
    directory = bench.train(mixture(bench, epochs=2))
    weights = bench.weights(directory)
    assert {name.partition(".")[0] for name in weights["head.safetensors"]} == {
        "toy_classification", "toy_tagging", "toy_span",
    }  # fmt: skip
    alone = bench.weights(bench.train(bench.step("pfeiffer")))
    assert weights["encoder.safetensors"].keys() == alone["encoder.safetensors"].keys()
    heads = {name: bench.weights(bench.train(bench.step("pfeiffer", format_name=name))) for name in ("tagging", "span")}
    for name, stored in heads.items():
        mine = {each for each in weights["head.safetensors"] if each.startswith(f"toy_{name}.")}
        assert mine == {f"toy_{name}.{each}" for each in stored["head.safetensors"]}
    assert bench.result(directory)["head_parameters"] == sum(t.numel() for t in weights["head.safetensors"].values())


def test_every_task_is_trained_evaluated_and_told(bench):
    directory = bench.train(mixture(bench, "full", epochs=12, lr=3e-3))
    found = bench.result(directory)
    assert found["status"] == "ok" and found["steps"] == 12 * 15
    assert (found["examples"], found["examples_seen"]) == (120, 12 * 120)
    assert {task: told["examples_seen"] for task, told in found["by_task"].items()} == {
        "toy_classification": 480, "toy_tagging": 480, "toy_span": 480,
    }  # fmt: skip
    scores = [told["dev"]["score"] for told in found["by_task"].values()]
    assert found["dev_score"] == pytest.approx(sum(scores) / 3) and min(scores) > 50
    evaluations = [line for line in bench.curve(directory) if line["dev"] is not None]
    assert [set(line["dev_by_task"]) for line in evaluations] == [set(found["by_task"])] * 12
    best = next(line for line in evaluations if line["step"] == found["best_step"])
    assert best["dev"] == found["dev_score"] == max(line["dev"] for line in evaluations)
    assert best["dev_by_task"] == {task: told["dev"] for task, told in found["by_task"].items()}


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("sampling", [PROPORTIONAL, UNIFORM, Sampling(kind="temperature", temperature=2.0)])
def test_a_mixture_of_one_task_is_that_task_bit_for_bit(bench, method, sampling):
    step = bench.step(method, epochs=3)
    alone, joint = bench.train(step), bench.train(mixed(step, sampling=sampling))
    assert key(step) != key(mixed(step, sampling=sampling))
    first, second = bench.weights(alone), bench.weights(joint)
    renamed = {name.removeprefix("toy_classification."): t for name, t in second["head.safetensors"].items()}
    assert len(renamed) == 4
    for one, two in (
        (first["encoder.safetensors"], second["encoder.safetensors"]),
        (first["head.safetensors"], renamed),
    ):
        assert one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)
    assert bench.curve(alone) == bench.curve(joint)


def test_the_first_head_begins_as_it_would_alone(bench, toys):
    tasks = [toys.task(name) for name in ("classification", "tagging", "span")]
    joint = compose.for_training(mixture(bench), tasks, bench.runtime()).head
    alone = compose.for_training(bench.step(), tasks[:1], bench.runtime()).head
    assert all(torch.equal(joint[f"toy_classification.{name}"], alone[name]) for name in alone)


def test_same_seed_same_weights(bench, tmp_path):
    first = bench.train(mixture(bench, sampling=UNIFORM))
    bench.forget(tmp_path / "again")
    assert bench.same(first, bench.train(mixture(bench, sampling=UNIFORM)))
    assert not bench.same(first, bench.train(mixture(bench, seed=1, sampling=UNIFORM)))


def test_an_inactive_head_does_not_move(bench, monkeypatch):
    """Neither by the optimiser's momentum nor by weight decay, and it takes no part in the gradient's norm."""
    moved, clipped = [], []
    real = loop.Loop._step

    def watched(self):
        task, _ = self._next_batch()
        before = {name: p.detach().clone() for name, p in self.job.trained.items()}
        clip = self.accelerator.clip_grad_norm_
        self.accelerator.clip_grad_norm_ = lambda parameters, most: (
            clipped.append(list(parameters)) or clip(parameters, most)
        )
        stop = real(self)
        self.accelerator.clip_grad_norm_ = clip
        heads = {
            name.split(".")[1]
            for name, p in self.job.trained.items()
            if name.startswith("head.") and not p.equal(before[name])
        }
        moved.append((self.job.members[task].name, heads))
        assert all(p.grad is None for p in self.job.trained.values())
        assert {id(p) for p in clipped[-1]} == {
            id(p) for p in self.job.members[task].model.parameters() if p.requires_grad
        }
        return stop

    monkeypatch.setattr(loop.Loop, "_step", watched)
    bench.train(mixture(bench, "lora", epochs=2, weight_decay=0.1))
    assert len(moved) == 30 and all(heads == {task} for task, heads in moved)


# ---------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("call", [1, 2, 9, 20, 30])
@pytest.mark.parametrize("sampling", [PROPORTIONAL, Sampling(kind="temperature", temperature=3.0)])
def test_kill_and_resume_gives_the_uninterrupted_weights(bench, tmp_path, killed, sampling, call):
    """Early kills come before some of the heads had their first step."""
    step = mixture(bench, "lora", sampling=sampling, epochs=2, lr=3e-3)
    whole = bench.train(step)
    bench.forget(tmp_path / "killed")
    killed(lambda: bench.train(step, checkpoint_seconds=0.0), call)
    resumed = bench.train(step, checkpoint_seconds=0.0)
    assert bench.same(whole, resumed) and bench.curve(whole) == bench.curve(resumed)
    told = [bench.result(directory) for directory in (whole, resumed)]
    assert told[0]["by_task"] == told[1]["by_task"]
    assert (resumed / SCRATCH).is_dir()


# ----------------------------------------------------------------------------------------------------- what follows


@pytest.mark.parametrize("method", ["pfeiffer", "lora"])
def test_a_module_of_a_mixture_is_stacked_and_continued_like_any_other(bench, method):
    source = mixture(bench, method, lr=2e-2)
    bench.train(source)
    for start in (Stack((source,)), Warm(source)):
        found = bench.result(bench.train(bench.step(method, start, seed=3)))
        assert found["status"] in ("ok", "collapsed") and list(found["by_task"]) == ["toy_classification"]
        again = mixed(bench.step(method, start, seed=3), "choice")
        assert len(bench.result(bench.train(again))["by_task"]) == 2
    assert compose.lineage(bench.step(method, Stack((source,))))[0] == source


def prediction(bench, source, format_name):
    return Predict(source, TaskData(f"toy_{format_name}", 1, "m 1", "0"), "test", ("en",), 48, 8, "fp32")


@pytest.mark.parametrize("format_name", ["classification", "tagging", "span"])
def test_every_member_is_predicted_with_its_own_head(bench, toys, format_name):
    source = mixture(bench, "full", epochs=12, lr=3e-3)
    directory = bench.train(source)
    # the weights are the best ones by the mean score, so dev scores are found again exactly
    data = bench.data(format_name).dev
    scores = json.loads((bench.predict(source, data, format_name) / "result.json").read_text())["scores"]
    assert scores["en"] == bench.result(directory)["by_task"][f"toy_{format_name}"]["dev"]["score"]
    model = compose.for_prediction(prediction(bench, source, format_name), toys.task(format_name), bench.runtime())
    stored = bench.weights(directory)["head.safetensors"]
    for name, parameter in model.head.named_parameters():
        assert torch.equal(parameter, stored[f"toy_{format_name}.{name}"])


def test_a_task_that_is_no_member_is_refused(bench, toys):
    source = mixture(bench)
    bench.train(source)
    with pytest.raises(XstiltsError, match=r"given 'toy_classification\+toy_tagging\+toy_span'"):
        compose.for_prediction(prediction(bench, source, "choice"), toys.task("choice"), bench.runtime())
    other = replace(prediction(bench, source, "span"), task=TaskData("toy_span", 2, "m 1", "0"))
    with pytest.raises(XstiltsError, match="needs a model that was trained on this task"):
        compose.for_prediction(other, toys.task("span"), bench.runtime())


# ------------------------------------------------------------------------------------------------------ evaluation


def undevised(task):
    """The task without a dev split."""
    return replace(task, data=replace(task.data, splits={"train": ("en",)}))


def test_a_task_without_dev_is_trained_and_not_evaluated(bench, toys):
    step = mixed(bench.step("lora"), "span")
    spans = train.TrainingData(bench.data("span").train, ())
    directory = bench.directory(step)
    pairs = [(toys.task("classification"), bench.data()), (undevised(toys.task("span")), spans)]
    train.run(step, pairs, directory, bench.runtime())
    found = bench.result(directory)
    assert found["by_task"]["toy_span"]["dev"] is None and found["by_task"]["toy_span"]["examples_seen"] == 40
    assert found["dev_score"] == found["by_task"]["toy_classification"]["dev"]["score"]


def test_a_mixture_without_any_dev_is_refused(bench, toys):
    step = mixed(bench.step("lora"), "span")
    pairs = [(undevised(toys.task(name)), replace(bench.data(name), dev=())) for name in ("classification", "span")]
    with pytest.raises(XstiltsError, match=r"train toy_classification\+toy_span: no task has a dev split"):
        train.run(step, pairs, bench.directory(step), bench.runtime())


def test_scores_that_are_no_numbers_in_one_task_are_a_divergence(bench, monkeypatch):
    real = train._evaluate_one

    def broken(recipe, member):
        return loop.Evaluation(math.nan, False) if member.task.name == "toy_span" else real(recipe, member)

    monkeypatch.setattr(train, "_evaluate_one", broken)
    found = bench.result(bench.train(mixture(bench)))
    assert found["status"] == "diverged" and found["dev_score"] is None


@pytest.mark.parametrize(("count", "status"), [(1, "ok"), (2, "ok"), (3, "collapsed")])
def test_only_a_mixture_whose_tasks_all_collapse_is_collapsed(bench, monkeypatch, count, status):
    constant = ("toy_span", "toy_tagging", "toy_classification")[:count]

    def evaluate(recipe, member):
        name = member.task.name
        return loop.Evaluation(50.0, name in constant, {name: {"score": 50.0}})

    monkeypatch.setattr(train, "_evaluate_one", evaluate)
    assert bench.result(bench.train(mixture(bench)))["status"] == status


def test_subsets_are_taken_of_every_task(bench):
    found = bench.result(bench.train(mixture(bench, train_examples=16, dev_examples=4)))
    assert [told["examples"] for told in found["by_task"].values()] == [16, 16, 16] and found["steps"] == 6


# ------------------------------------------------------------------------------------------------------- miniature


def test_the_miniature_trains_two_tasks_with_masked_language_modelling(bench, tmp_path):
    bench.backbone = resolve("mini")
    names = ("mini_mnli", "mini_qqp", "mini_mlm")
    tasks = [load_task(name) for name in names]
    first, *also = (TaskData(name, 1, "accuracy 1", "0") for name in names)
    step = bench.step("pfeiffer", epochs=1, lr=1e-3, batch=16, train_examples=160, dev_examples=40)
    step = replace(step, task=first, mixture=Mixture(tuple(also), Sampling(kind="capped", cap=100)))
    data = [
        train.TrainingData(*(task.data.examples(split, task.languages(split)[0]) for split in ("train", "dev")))
        for task in tasks
    ]
    directory = bench.directory(step)
    train.run(step, list(zip(tasks, data, strict=True)), directory, bench.runtime())
    found = bench.result(directory)
    assert found["steps"] == 30 and found["status"] in ("ok", "collapsed")
    assert all(told["examples_seen"] == 160 for told in found["by_task"].values())
    dev = {task: told["dev"] for task, told in found["by_task"].items()}
    assert found["dev_score"] == pytest.approx((dev["mini_mnli"]["score"] + dev["mini_qqp"]["score"]) / 2)
    # the backbone was pre-trained on this language modelling; a uniform guess has a loss of log(4374) = 8.4
    assert dev["mini_mlm"]["loss"] < 4 and dev["mini_mlm"]["score"] > 20
