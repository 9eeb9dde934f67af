"""Masked language modelling in the engine: head, decoder, masks, dev loss, resume."""

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from xstilts.backbone import load_encoder, load_language_model_head, load_tokenizer, resolve
from xstilts.engine import compose, loop, train
from xstilts.engine.inference import NotFiniteError
from xstilts.engine.masked import measure
from xstilts.errors import XstiltsError
from xstilts.formats import Text, encode, load_format
from xstilts.spec import Mixture, Predict, Sampling, TaskData
from xstilts.tasks import load_task

MLM = load_task("mini_mlm")
DATA = TaskData("mini_mlm", 1, "accuracy 1", "0")
HEAD = {"dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias"}
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture
def mini(bench):
    bench.backbone = resolve("mini")
    return bench


def lines(train_lines=64, dev_lines=24):
    return train.TrainingData(
        MLM.data.examples("train", "mul")[:train_lines], MLM.data.examples("dev", "mul")[:dev_lines]
    )


def step(bench, method="lora", **recipe):
    return replace(bench.step(method, **{"lr": 1e-3, "batch": 16, **recipe}), task=DATA)


def run(bench, asked, data=None, **runtime):
    directory = bench.directory(asked)
    train.run(asked, [(MLM, data or lines())], directory, bench.runtime(**runtime))
    return directory


def test_the_head_begins_as_the_one_the_backbone_was_pretrained_with(mini):
    trainee = compose.for_training(step(mini), [MLM], mini.runtime())
    stored = load_language_model_head(mini.backbone)
    assert set(trainee.head) == set(stored) == HEAD
    assert all(torch.equal(trainee.head[name], stored[name]) for name in HEAD)


@pytest.mark.parametrize(("method", "moves"), [("full", True), ("lora", False), ("pfeiffer", False), ("head", False)])
def test_the_decoder_trains_with_the_embeddings_and_is_frozen_with_them(mini, method, moves):
    trainee = compose.for_training(step(mini, method), [MLM], mini.runtime())
    assert (f"encoder.{WORDS}" in trainee.trained) == moves
    assert not any("decoder" in name for name in trainee.trained | trainee.frozen)
    directory = run(mini, step(mini, method))
    weights = mini.weights(directory)
    assert set(weights["head.safetensors"]) == HEAD
    before = load_language_model_head(mini.backbone)
    assert not any(torch.equal(weights["head.safetensors"][name], before[name]) for name in HEAD)
    if moves:
        # only a decoder tied to them moves the embeddings of tokens that do not occur in the data
        text = Text(load_tokenizer(mini.backbone), 48, 8)
        shown = {int(i) for row in text.ids([e.fields.first for e in lines().train]) for i in row}
        unseen = [i for i in range(4, 4373) if i not in shown]
        change = weights["encoder.safetensors"][WORDS] - load_encoder(mini.backbone).state_dict()[WORDS]
        assert len(unseen) > 1000 and (change[unseen].abs().sum(1) > 0).float().mean() > 0.9


def test_alone_it_is_selected_by_the_share_of_tokens_and_the_loss_is_told(mini):
    directory = run(mini, step(mini, epochs=3))
    found = mini.result(directory)
    dev = found["by_task"]["mini_mlm"]["dev"]
    assert found["status"] == "ok" and dev["score"] == found["dev_score"] and 0 < dev["loss"] < math.log(4374)
    assert [line["dev_by_task"]["mini_mlm"]["score"] for line in mini.curve(directory) if line["dev"] is not None] == [
        line["dev"] for line in mini.curve(directory) if line["dev"] is not None
    ]


def test_it_learns(mini):
    """From a head of its own, because the shipped one is trained already."""
    directory = run(mini, step(mini, "full", epochs=6, lr=2e-3))
    losses = [line["dev_by_task"]["mini_mlm"]["loss"] for line in mini.curve(directory) if line["dev"] is not None]
    assert losses[-1] < losses[0]


def test_masks_change_from_step_to_step_and_repeat_with_the_seed(mini, tmp_path, monkeypatch):
    seen = []
    real = loop.Loop._backward

    def watched(self, task, features):
        seen.append({feature.example: feature.rows[0].tolist() for feature in features})
        return real(self, task, features)

    monkeypatch.setattr(loop.Loop, "_backward", watched)
    first = run(mini, step(mini, epochs=2))
    epochs = [{k: v for batch in half for k, v in batch.items()} for half in (seen[:4], seen[4:])]
    assert epochs[0].keys() == epochs[1].keys() and len(epochs[0]) == 64
    assert sum(epochs[0][number] != epochs[1][number] for number in epochs[0]) > 55
    mini.forget(tmp_path / "again")
    assert mini.same(first, run(mini, step(mini, epochs=2)))


@pytest.mark.parametrize("call", [1, 3, 8])
def test_kill_and_resume_gives_the_uninterrupted_weights(mini, tmp_path, killed, call):
    asked = step(mini, "full", epochs=2)
    whole = run(mini, asked)
    mini.forget(tmp_path / "killed")
    killed(lambda: run(mini, asked, checkpoint_seconds=0.0), call)
    resumed = run(mini, asked, checkpoint_seconds=0.0)
    assert mini.same(whole, resumed) and mini.curve(whole) == mini.curve(resumed)


def test_dev_is_masked_alike_for_every_seed_and_capped(mini, monkeypatch):
    seen = []
    real = train.measure

    def watched(model, features, precision):
        seen.append([feature.rows[0].tolist() for feature in features])
        return real(model, features, precision)

    monkeypatch.setattr(train, "measure", watched)
    monkeypatch.setattr(train, "DEV_LINES", 20)
    for seed in (0, 1):
        run(mini, step(mini, seed=seed, epochs=2))
    assert len(seen) == 4 and all(rows == seen[0] for rows in seen) and len(seen[0]) == 20


def test_beside_another_task_it_does_not_select(mini, toys):
    also = TaskData("toy_classification", 1, "m 1", "0")
    asked = replace(step(mini, "full"), mixture=Mixture((also,), Sampling(kind="proportional")))
    directory = mini.directory(asked)
    train.run(asked, [(MLM, lines()), (toys.task("classification"), mini.data())], directory, mini.runtime())
    found = mini.result(directory)
    assert found["dev_score"] == found["by_task"]["toy_classification"]["dev"]["score"]
    assert set(found["by_task"]["mini_mlm"]["dev"]) == {"score", "loss"}


def test_it_is_not_predicted(mini):
    asked = Predict(step(mini), DATA, "test", ("mul",), 48, 8, "fp32")
    with pytest.raises(XstiltsError, match="trained, and not predicted"):
        compose.for_prediction(asked, MLM, mini.runtime())


# --------------------------------------------------------------------------------------------------------- measure


def test_measure_is_the_loss_over_all_masked_tokens(mini):
    text = Text(load_tokenizer(mini.backbone), 48, 8)
    shape = load_format("mlm")
    features = shape.noise(encode(MLM, lines().dev, text).features, text, 1)
    trainee = compose.for_training(step(mini, "head"), [MLM], mini.runtime())
    found = measure(trainee.model, features, "fp32")
    losses, right = [], []
    with torch.inference_mode():
        for feature in features:
            ids = torch.from_numpy(feature.rows[0]).long()[None]
            hidden = trainee.model.encoder(ids).last_hidden_state[0, feature.anchors[:, 0]]
            words = trainee.model.encoder.get_parameter(WORDS)
            head = trainee.model.head
            scores = head.layer_norm(torch.nn.functional.gelu(head.dense(hidden))) @ words.T + head.bias
            targets = torch.from_numpy(feature.targets)
            losses += (-scores.log_softmax(-1)[range(len(targets)), targets]).tolist()
            right += (scores.argmax(-1) == targets).tolist()
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert found.score == pytest.approx(100 * sum(right) / len(right))
    with torch.no_grad():
        trainee.model.head.bias[5] = torch.nan
    with pytest.raises(NotFiniteError):
        measure(trainee.model, features, "fp32")


# -------------------------------------------------------------------------------------------------------- backbone


def spoilt(bench, tmp_path, change):
    """The mini backbone with its tensors changed."""
    directory = tmp_path / "spoilt"
    directory.mkdir()
    source = compose.Path(bench.backbone.path)
    for name in ("config.json", "tokenizer.json"):
        (directory / name).write_bytes((source / name).read_bytes())
    save_file(change(load_file(source / "model.safetensors")), directory / "model.safetensors")
    return resolve(str(directory))


def test_without_a_pretrained_head_it_begins_fresh(mini, tmp_path):
    mini.backbone = spoilt(mini, tmp_path, lambda t: {n: v for n, v in t.items() if not n.startswith("lm_head.")})
    assert load_language_model_head(mini.backbone) is None
    heads = [compose.for_training(step(mini, seed=seed), [MLM], mini.runtime()).head for seed in (0, 0, 1)]
    assert torch.equal(heads[0]["dense.weight"], heads[1]["dense.weight"])
    assert not torch.equal(heads[0]["dense.weight"], heads[2]["dense.weight"])
    assert not heads[0]["bias"].any() and (heads[0]["layer_norm.weight"] == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {n: v for n, v in t.items() if n != "lm_head.bias"},
        lambda t: {**t, "lm_head.dense.weight": t["lm_head.dense.weight"][1:].clone()},
    ],
)
def test_half_a_pretrained_head_is_refused(mini, tmp_path, change):
    with pytest.raises(XstiltsError, match="language-model head that does not fit"):
        load_language_model_head(spoilt(mini, tmp_path, change))
