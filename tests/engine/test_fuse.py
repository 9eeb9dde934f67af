"""Fusions, language adapters and invertible blocks, trained and predicted on the tiny backbone."""

import copy
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from xstilts.batches import collate
from xstilts.composition import check
from xstilts.engine import compose
from xstilts.engine import predict as predicting
from xstilts.errors import XstiltsError
from xstilts.formats import encode
from xstilts.key import key
from xstilts.lineage import lineage
from xstilts.spec import AdapterConfig, Fuse, Predict, Stack, Swap, TaskData, Warm

MADX = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4, "inverse": True})


@pytest.fixture
def batch(toys, text):
    return collate(encode(toys.task("classification"), toys.examples("classification", 12), text()).features)


def logits(model, batch):
    with torch.inference_mode():
        return model.eval()(batch)


def trained(bench, method="pfeiffer", start=None, seed=0, **recipe):
    step = bench.step(method, start, seed, **{"epochs": 3, "lr": 5e-2, **recipe})
    bench.train(step)
    return step


def built(bench, toys, step):
    return compose.for_training(step, [toys.task("classification")], bench.runtime())


def prediction(model, **changes):
    data = TaskData("toy_classification", 1, "m 1", "0")
    return replace(Predict(model, data, "test", ("en",), 48, 8, "fp32"), **changes)


def predicted(bench, toys, model):
    return compose.for_prediction(prediction(model), toys.task("classification"), bench.runtime())


@pytest.fixture
def sources(bench):
    return trained(bench, seed=1), trained(bench, seed=2)


# ------------------------------------------------------------------------------------------------------------ fusion


@pytest.mark.parametrize("on_top", [True, False])
def test_exactly_the_fusion_and_what_lies_on_top_train(bench, toys, sources, on_top):
    trainee = built(bench, toys, bench.step("pfeiffer", Fuse(sources, on_top, 0.01)))
    fused = {f"encoder.layer.{layer}.output.fusion.{part}" for layer in range(2)
             for part in ("query.weight", "query.bias", "key.weight", "key.bias", "value.weight")}  # fmt: skip
    top = {f"encoder.layer.{layer}.output.{part}.{kind}" for layer in range(2) for part in ("down", "up")
           for kind in ("weight", "bias")}  # fmt: skip
    assert set(trainee.module) == fused | (top if on_top else set())
    assert {name for name, p in trainee.model.named_parameters() if p.requires_grad} == set(trainee.trained)
    assert sum(".adapters.below" in name for name in trainee.frozen) == 2 * 2 * 4  # modules, layers, tensors


@pytest.mark.parametrize("on_top", [True, False])
def test_a_trained_fusion_is_rebuilt_for_prediction_and_leaves_its_sources_alone(bench, toys, batch, sources, on_top):
    before = [bench.weights(bench.train(source)) for source in sources]
    step = bench.step("pfeiffer", Fuse(sources, on_top, 0.01), lr=1e-2)
    seen = {}
    keep = compose.save
    try:
        compose.save = lambda trainee, *rest: (seen.update(model=trainee.model), keep(trainee, *rest))
        bench.train(step)
    finally:
        compose.save = keep
    assert torch.equal(logits(seen["model"], batch), logits(predicted(bench, toys, step), batch))
    for source, weights in zip(sources, before, strict=True):
        after = bench.weights(bench.train(source))
        assert all(torch.equal(weights[file][name], after[file][name]) for file in weights for name in weights[file])


def test_a_fusion_of_one_module_begins_as_that_module_exactly(bench, toys, batch, sources):
    fresh = built(bench, toys, bench.step("pfeiffer", Fuse(sources[:1], True, 0.01))).model
    alone = predicted(bench, toys, sources[0])
    fresh.head.load_state_dict(alone.head.state_dict())
    assert torch.equal(logits(fresh, batch), logits(alone, batch))


def test_the_regulariser_is_the_squared_distance_of_the_values_from_the_identity(bench, toys, sources):
    trainee = built(bench, toys, bench.step("pfeiffer", Fuse(sources, True, 0.5)))
    assert float(trainee.penalty().detach()) == 0.0
    values = [p for name, p in trainee.module.items() if name.endswith("value.weight")]
    with torch.no_grad():
        values[0][0, 1] += 2.0
        values[1][3, 3] -= 1.0
    assert float(trainee.penalty().detach()) == pytest.approx(0.5 * (4.0 + 1.0))


def test_the_regulariser_holds_the_values_back(bench, sources):
    distances = []
    for weight in (0.0, 100.0):
        step = bench.step("pfeiffer", Fuse(sources, True, weight), lr=1e-2, epochs=3)
        tensors = load_file(bench.train(step) / "encoder.safetensors")
        values = [tensor for name, tensor in tensors.items() if name.endswith("value.weight")]
        distances.append(sum(float((value - torch.eye(len(value))).square().sum()) for value in values))
    assert distances[1] < 0.2 * distances[0]


def test_a_killed_fusion_is_resumed_bit_for_bit(bench, tmp_path, sources, killed):
    step = bench.step("pfeiffer", Fuse(sources, True, 0.01), epochs=2)
    whole = bench.train(step)
    done = dict(bench.done)
    bench.forget(tmp_path / "again")
    bench.done = {name: path for name, path in done.items() if name != key(step)}
    killed(lambda: bench.train(step, checkpoint_seconds=0.0), 7)
    assert bench.same(whole, bench.train(step, checkpoint_seconds=0.0))


def test_a_continued_fusion_begins_where_the_first_training_ended(bench, toys, batch, sources):
    first = trained(bench, start=Fuse(sources, True, 0.01), lr=1e-2)
    second = built(bench, toys, bench.step("pfeiffer", Warm(first), seed=5))
    alone = predicted(bench, toys, first)
    second.model.head.load_state_dict(alone.head.state_dict())
    assert torch.equal(logits(second.model, batch), logits(alone, batch))
    assert second.penalty is not None and float(second.penalty().detach()) > 0
    assert any("fusion" in name for name in second.module)


def test_what_lies_below_a_module_has_no_dropout_in_training_fusions_too(bench, toys, sources):
    fused = trained(bench, start=Fuse(sources, True, 0.01))
    model = built(bench, toys, bench.step("pfeiffer", Stack((fused,)))).model.train()
    parts = [part for name, part in model.named_modules() if ".adapter_fusion_layer.below0,below1" in name]
    assert parts and not any(part.training for part in parts)
    own = built(bench, toys, bench.step("pfeiffer", Fuse(sources, True, 0.01))).model.train()
    assert all(part.training for name, part in own.named_modules() if name.endswith("fusion_layer.below0,below1"))


@pytest.mark.parametrize("method", ["lora", "full", "head"])
def test_other_methods_cannot_be_fused(bench, toys, method):
    one, two = (bench.step(method, seed=seed) for seed in (1, 2))
    with pytest.raises(XstiltsError, match="refused with"):
        built(bench, toys, bench.step(method, Fuse((one, two), True, 0.01)))


# -------------------------------------------------------------------------------------------------- language adapters


def test_a_language_adapter_is_trained_lies_below_and_is_swapped(bench, toys):
    english, german = (trained(bench, MADX, seed=seed, lr=1e-2) for seed in (1, 2))
    target = trained(bench, "pfeiffer", Stack((english,)), seed=3)
    assert lineage(target) == (english, target)
    task = toys.task("classification")
    examples = [*toys.examples("classification", 6), *toys.examples("classification", 6, language="de")]
    swap = Swap(english, (("en", english), ("de", german)))
    rows = {}
    for name, swapped in (("plain", None), ("swapped", swap)):
        step = prediction(target, languages=("en", "de"), swap=swapped)
        predicting.run(step, task, examples, bench.directory(step), bench.runtime())
        rows[name] = pq.read_table(bench.directory(step) / "predictions.parquet").to_pylist()
    assert [row["language"] for row in rows["swapped"]] == ["en"] * 6 + ["de"] * 6
    assert rows["plain"][:6] == rows["swapped"][:6]
    model = compose.for_prediction(
        prediction(target, languages=("en", "de"), swap=swap), task, bench.runtime(), language="de"
    )
    own = compose.for_prediction(prediction(target), task, bench.runtime())
    below = load_file(bench.train(german) / "encoder.safetensors")
    found = dict(model.encoder.named_parameters())
    assert torch.equal(found["encoder.layer.0.output.adapters.below0.adapter_up.weight"],
                       below["encoder.layer.0.output.up.weight"])  # fmt: skip
    assert torch.equal(found["invertible_adapters.below0.F.0.weight"], below["inverse.F.0.weight"])
    top = "encoder.layer.0.output.adapters.below1.adapter_up.weight"
    assert torch.equal(found[top], dict(own.encoder.named_parameters())[top])


def test_a_swap_changes_what_the_languages_other_model_says(bench, toys):
    english, german = (trained(bench, MADX, seed=seed, lr=1e-2) for seed in (1, 2))
    target = trained(bench, "pfeiffer", Stack((english,)), seed=3)
    task = toys.task("retrieval")
    examples = [replace(example, language="de") for example in toys.examples("retrieval", 8)]
    data = TaskData("toy_retrieval", 1, "m 1", "0")
    step = Predict(target, data, "test", ("de",), 48, 8, "fp32", 2, swap=Swap(english, (("de", german),)))
    seen = []
    real = compose.for_prediction
    try:
        compose.for_prediction = lambda *args: (seen.append(args[3]), real(*args))[1]
        predicting.run(step, task, examples, bench.directory(step), bench.runtime())
    finally:
        compose.for_prediction = real
    assert sorted(seen) == ["de", "en"]  # English queries keep the English adapter
    assert json.loads((bench.directory(step) / "result.json").read_text())["examples"] == 4


def test_an_inverse_block_that_is_not_lowest_is_refused_at_planning(bench):
    below = bench.step("pfeiffer")
    with pytest.raises(XstiltsError, match="only the lowest module"):
        check(bench.step(MADX, Stack((below,))))
    english = bench.step(MADX)
    target = bench.step("pfeiffer", Stack((english,)))
    with pytest.raises(XstiltsError, match="another method"):
        check(prediction(target, swap=Swap(english, (("de", bench.step("lora")),))))


def test_masked_language_modelling_undoes_the_block_before_the_embeddings(bench, toys, batch):
    """With every matrix at random the head must see the states mapped back: a formula written out here."""
    from xstilts.formats.mlm import LanguageModelHead
    from xstilts.methods import bottleneck, load_method

    encoder = compose.load_encoder(bench.backbone)
    options = bottleneck.Options.model_validate(MADX.options)
    load_method("bottleneck").attach(encoder, "target", options)
    load_method("bottleneck").activate(encoder, [("target",)])
    torch.manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if "invertible" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    states = torch.randn(3, 5, 32)
    there = encoder.invertible_adapters_forward(states)
    assert not torch.allclose(there, states, atol=1e-2)
    assert torch.allclose(bottleneck.undo_inverse(encoder, there), states, atol=1e-5)
    head = LanguageModelHead(encoder.config)
    head.tie(encoder.embeddings.word_embeddings)
    plain = copy.deepcopy(head)
    plain.tie(encoder.embeddings.word_embeddings)
    compose._undo_inverse(head, encoder, compose.chain(bench.step(MADX)))
    anchors = batch._replace(anchors=torch.zeros(3, 1, dtype=torch.long))
    with torch.no_grad():
        inner = plain.layer_norm(torch.nn.functional.gelu(plain.dense(states[:, :1])))
        expected = bottleneck.undo_inverse(encoder, inner) @ encoder.embeddings.word_embeddings.weight.T + plain.bias
        assert torch.allclose(head(states, anchors), expected, atol=1e-5)
        assert not torch.allclose(plain(states, anchors), expected, atol=1e-2)
