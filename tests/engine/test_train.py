import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xstilts.backbone import resolve
from xstilts.engine import compose, loop, train
from xstilts.engine.loop import rate
from xstilts.errors import XstiltsError


@pytest.mark.parametrize("format_name", ["classification", "tagging", "span", "choice"])
def test_every_format_trains(bench, format_name):
    step = bench.step("full", format_name=format_name, epochs=20, lr=3e-3)
    directory = bench.train(step)
    found = bench.result(directory)
    assert found["status"] == "ok" and found["dev_score"] > 60
    assert bench.curve(directory)[-1]["loss"] < 0.7 * bench.curve(directory)[0]["loss"]
    assert sorted(path.name for path in directory.iterdir()) == [
        "curve.jsonl", "encoder.safetensors", "head.safetensors", "result.json",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["head", "pfeiffer", "houlsby", "lora"])
def test_every_method_learns(bench, method):
    directory = bench.train(bench.step(method, epochs=8, lr=1e-2))
    assert bench.curve(directory)[-1]["loss"] < bench.curve(directory)[0]["loss"]
    assert bench.result(directory)["dev_score"] > 50


@pytest.mark.parametrize("method", ["full", "houlsby", "lora"])
def test_same_seed_same_weights_other_seed_other_weights(bench, tmp_path, method):
    first = bench.train(bench.step(method))
    bench.forget(tmp_path / "again")
    assert bench.same(first, bench.train(bench.step(method)))
    other = bench.weights(bench.train(bench.step(method, seed=1)))
    assert not any(
        torch.equal(tensor, other[file][name])
        for file, tensors in bench.weights(first).items()
        for name, tensor in tensors.items()
    )


# --------------------------------------------------------------------------------------------------------- endings


def test_divergence_keeps_the_best_finite_weights(bench, monkeypatch):
    step = bench.step("pfeiffer", epochs=3)
    real = loop.Loop._backward

    def explode(self, task, features):
        return real(self, task, features) * (1.0 if self.progress.step < 7 else float("nan"))

    monkeypatch.setattr(loop.Loop, "_backward", explode)
    directory = bench.train(step)
    found = bench.result(directory)
    assert found["status"] == "diverged" and "step 8" in found["reason"]
    assert (found["steps"], found["best_step"]) == (7, 5)
    assert all(tensor.isfinite().all() for tensors in bench.weights(directory).values() for tensor in tensors.values())


def test_divergence_in_the_first_step_keeps_the_initial_weights(bench, monkeypatch):
    real = loop.Loop._backward
    monkeypatch.setattr(loop.Loop, "_backward", lambda self, *batch: real(self, *batch) * float("inf"))
    directory = bench.train(bench.step("pfeiffer"))
    found = bench.result(directory)
    assert (found["status"], found["dev_score"], found["examples_per_second"]) == ("diverged", None, None)
    assert not bench.weights(directory)["encoder.safetensors"]["encoder.layer.0.output.up.weight"].any()


def test_a_learning_rate_that_explodes_is_told(bench):
    found = bench.result(bench.train(bench.step("full", lr=1e30, epochs=3)))
    assert found["status"] in ("diverged", "collapsed")


def test_constant_predictions_are_told(bench, toys):
    no = tuple(replace(example, gold="no") for example in toys.examples("classification", 40))
    found = bench.result(bench.train(bench.step("full", epochs=3), train.TrainingData(no, bench.data().dev)))
    assert found["status"] == "collapsed" and "same" in found["reason"]


def test_constant_gold_is_not_a_collapse(bench, toys):
    yes = tuple(replace(example, gold="yes") for example in toys.examples("classification", 24))
    found = bench.result(bench.train(bench.step("full", epochs=3), train.TrainingData(yes, yes)))
    assert (found["status"], found["dev_score"]) == ("ok", 100.0)


def test_patience_stops_early_and_the_best_weights_are_kept(bench, monkeypatch):
    scores = iter([50.0, 70.0, 60.0, 70.0, 80.0])
    seen = []

    def evaluate(recipe, members):
        seen.append({name: p.detach().clone() for name, p in members[0].model.encoder.named_parameters()})
        return loop.Evaluation(next(scores), False)

    monkeypatch.setattr(train, "_evaluate", evaluate)
    directory = bench.train(bench.step("pfeiffer", epochs=5, patience=2))
    found = bench.result(directory)
    assert (found["steps"], found["best_step"], found["dev_score"]) == (20, 10, 70.0)
    assert found["status"] == "ok" and "2 evaluations" in found["reason"]
    kept = bench.weights(directory)["encoder.safetensors"]
    assert all(torch.equal(kept[name], seen[1][own]) for name, own in pfeiffer_names(kept).items())


def pfeiffer_names(stored):
    """Stored name → name in the encoder."""
    return {
        name: name.replace(".output.", ".output.adapters.target.adapter_").replace("_down.", "_down.0.")
        for name in stored
    }


# ---------------------------------------------------------------------------------------------------------- recipe


def test_micro_batches_give_the_same_gradients(bench):
    """Tagging, where rows weigh differently; without dropout the only difference is the order of additions."""
    whole = losses(bench, micro_batch=None)
    parts = losses(bench, micro_batch=3)
    assert parts == pytest.approx(whole, rel=1e-4)


def losses(bench, **recipe):
    bench.forget(bench.root.with_name(f"micro{recipe['micro_batch']}"))
    config = json.loads((Path(bench.backbone.path) / "config.json").read_text())
    quiet = bench.root / "quiet"
    shutil.copytree(bench.backbone.path, quiet)
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (quiet / "config.json").write_text(json.dumps(config))
    bench.backbone = resolve(str(quiet))
    step = bench.step("full", format_name="tagging", epochs=2, lr=1e-3, **recipe)
    return [line["loss"] for line in bench.curve(bench.train(step))]


@pytest.mark.parametrize("method", ["full", "houlsby", "lora"])
def test_gradient_checkpointing_changes_nothing(bench, tmp_path, method):
    plain = bench.train(bench.step(method))
    bench.forget(tmp_path / "checkpointed")
    assert bench.same(plain, bench.train(bench.step(method, gradient_checkpointing=True)))


def test_rows_are_padded_little_and_counted(bench, toys):
    data = train.TrainingData(toys.examples("classification", 400), toys.examples("classification", 16, first=1000))
    found = bench.result(bench.train(bench.step("head", batch=16), data))
    assert 1.0 <= found["padding_factor"] <= 1.10
    assert (found["examples"], found["examples_seen"], found["steps"]) == (400, 400, 25)


def test_subsets_of_the_recipe_are_taken(bench):
    found = bench.result(bench.train(bench.step("head", train_examples=24, dev_examples=8)))
    assert (found["examples"], found["steps"]) == (24, 3)


def test_evaluations_are_spread_over_the_training(bench):
    directory = bench.train(bench.step("head", epochs=2, evaluations=3))  # 10 steps
    assert [line["step"] for line in bench.curve(directory) if line["dev"] is not None] == [4, 7, 10]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_learning_rate_rises_and_falls(warmup):
    rates = [rate(step, 40, warmup) for step in range(40)]
    top = rates.index(1.0)
    assert top == round(warmup * 40)
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert min(rates) > 0 and max(rates) == 1.0


def test_bf16_trains(bench):
    found = bench.result(bench.train(bench.step("lora", precision="bf16")))
    assert found["status"] in ("ok", "collapsed")


# ---------------------------------------------------------------------------------------------------------- result


@pytest.mark.parametrize("method", ["full", "pfeiffer", "lora"])
def test_result_counts_parameters_and_bytes(bench, method):
    directory = bench.train(bench.step(method))
    found = bench.result(directory)
    stored = {file: sum(t.numel() for t in tensors.values()) for file, tensors in bench.weights(directory).items()}
    assert found["trainable_parameters"] == found["stored_parameters"] == sum(stored.values())
    assert found["head_parameters"] == stored["head.safetensors"] == 32 * 32 + 32 + 32 * 2 + 2
    assert found["stored_bytes"] == sum((directory / file).stat().st_size for file in stored)
    assert found["total_parameters"] >= found["trainable_parameters"]
    assert found["peak_memory_bytes"] > 0 and found["seconds"] > 0 and found["environment"]["threads"] == 1


def test_changed_frozen_weights_are_noticed(bench, monkeypatch):
    real = loop.Loop._compare

    def meddle(self, evaluation):
        with torch.no_grad():
            self.model.encoder.embeddings.word_embeddings.weight[7] += 1e-3
        real(self, evaluation)

    monkeypatch.setattr(loop.Loop, "_compare", meddle)
    with pytest.raises(RuntimeError, match="frozen"):
        bench.train(bench.step("lora"))


def test_bad_data_is_refused(bench, toys):
    good = toys.examples("classification", 8)
    without = (replace(good[0], gold=None), *good[1:])
    for data, message in [
        (train.TrainingData((), good), "no examples"),
        (train.TrainingData(good, ()), "no examples"),
        (train.TrainingData(without, good), "1 examples have no gold"),
        (train.TrainingData((replace(good[0], gold="maybe"), *good[1:]), good), "label space; given 'maybe'"),
    ]:
        with pytest.raises(XstiltsError, match=message):
            bench.train(bench.step("head"), data)


def test_retrieval_is_not_trained(bench):
    with pytest.raises(XstiltsError, match="nothing to train"):
        bench.train(bench.step("full", format_name="retrieval"))


def test_a_finished_training_leaves_no_model_behind(bench, monkeypatch):
    """A process runs hundreds of trainings."""
    seen = []
    real = compose.for_training

    def watched(*args):
        trainee = real(*args)
        seen.append(weakref.ref(trainee.model))
        return trainee

    monkeypatch.setattr(compose, "for_training", watched)
    for seed in range(2):
        bench.train(bench.step("lora", seed=seed))
    gc.collect()
    assert [reference() for reference in seen] == [None, None]


def test_progress_bar_shows_only_when_asked(bench, capfd):
    bench.train(bench.step("head"))
    assert capfd.readouterr() == ("", "")
    bench.train(bench.step("head", seed=1), progress=True)


def test_scores_that_are_no_numbers_are_a_divergence_and_never_a_prediction(bench, toys, monkeypatch):
    good, bad = bench.step("lora"), bench.step("lora", seed=1)
    bench.train(good)
    forward = compose.Model.forward

    def overflow(self, batch):
        return forward(self, batch) * (1.0 if self.training else torch.nan)

    monkeypatch.setattr(compose.Model, "forward", overflow)
    found = bench.result(bench.train(bad))
    assert found["status"] == "diverged" and "dev" in found["reason"] and found["dev_score"] is None
    with pytest.raises(XstiltsError, match="not finite"):
        bench.predict(good, toys.examples("classification", 4))
