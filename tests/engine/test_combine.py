"""The step Combine on the tiny backbone: what is merged, by what weights, and what the result computes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from xstilts.batches import collate
from xstilts.engine import combine, compose, decide
from xstilts.engine.decide import Rows
from xstilts.errors import XstiltsError
from xstilts.formats import encode
from xstilts.key import key
from xstilts.merges import load_merge
from xstilts.spec import AdapterConfig, Combine, Predict, Recipe, Stack, TaskData, Warm

RECIPE = Recipe(epochs=1, lr=1e-3, max_length=48, doc_stride=8, dev_examples=8)


@pytest.fixture
def batch(toys, text):
    return collate(encode(toys.task("classification"), toys.examples("classification", 12), text()).features)


def states(model, batch):
    with torch.inference_mode():
        return model.eval().encoder(batch.ids, batch.mask).last_hidden_state


def trained(bench, method="lora", start=None, seed=0, **recipe):
    step = bench.step(method, start, seed, **{"epochs": 3, "lr": 5e-2, **recipe})
    bench.train(step)
    return step


def merge_of(sources, kind="linear", weights=None, options=None, **more):
    chosen = load_merge(kind).Options.model_validate(options or {})
    method = load_merge(kind).method([source.method for source in sources], chosen)
    merge = AdapterConfig(kind=kind, options=chosen.model_dump(exclude_defaults=True))
    return Combine(sources[0].backbone, tuple(sources), merge, method, 0, weights, **more)


def combined(bench, step, rows=None):
    directory = bench.directory(step)
    combine.run(step, rows or Rows(), directory, bench.runtime())
    bench.done[key(step)] = directory
    return directory


def result(directory):
    return json.loads((directory / "result.json").read_text())


def model_of(bench, toys, model, format_name="classification", **changes):
    data = TaskData(f"toy_{format_name}", 1, "m 1", "0")
    step = Predict(model, data, "test", ("en",), 48, 8, "fp32", **changes)
    return compose.for_prediction(step, toys.task(format_name), bench.runtime())


def weights_of(bench, step):
    return load_file(bench.done[key(step)] / "encoder.safetensors")


# ----------------------------------------------------------------------------------------------------- given weights


@pytest.mark.parametrize("method", ["lora", "pfeiffer", "houlsby", "full", "ia3"])
def test_a_merge_of_one_is_itself_bit_for_bit(bench, toys, batch, method):
    config = AdapterConfig(kind="ia3", options={}) if method == "ia3" else method
    source = trained(bench, config, lr=5e-3 if method == "full" else 5e-2)
    merged = merge_of([source], weights=(1.0,))
    directory = combined(bench, merged)
    assert torch.equal(states(model_of(bench, toys, merged), batch), states(model_of(bench, toys, source), batch))
    heads = [load_file(bench.done[key(each)] / "head.safetensors") for each in (source, merged)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    found = result(directory)
    assert found["kind"] == "combine" and found["status"] == "ok" and found["weights"] == [1.0]
    sizes = [(directory / name).stat().st_size for name in ("encoder.safetensors", "head.safetensors")]
    assert found["stored_bytes"] == sum(sizes)
    tensors = [*weights_of(bench, merged).values(), *heads[1].values()]
    assert found["stored_parameters"] == sum(tensor.numel() for tensor in tensors)


def test_full_models_are_merged_around_the_backbone(bench):
    one, two = (trained(bench, "full", seed=seed, lr=1e-3) for seed in (1, 2))
    merged = merge_of([one, two], weights=(1.0, -0.5))
    combined(bench, merged)
    base = dict(compose.load_encoder(bench.backbone).named_parameters())
    a, b, found = (weights_of(bench, each) for each in (one, two, merged))
    for name, tensor in found.items():
        expected = base[name] + (a[name] - base[name]) - 0.5 * (b[name] - base[name])
        assert torch.allclose(tensor, expected.detach(), atol=1e-6), name


def test_the_mean_of_models_of_one_task_has_the_mean_of_their_heads(bench):
    one, two = (trained(bench, "pfeiffer", lr=lr) for lr in (5e-2, 2e-2))
    merged = merge_of([one, two], weights=(0.25, 0.75))
    directory = combined(bench, merged)
    a, b, found = (load_file(bench.done[key(each)] / "head.safetensors") for each in (one, two, merged))
    assert all(torch.allclose(found[name], 0.25 * a[name] + 0.75 * b[name], atol=1e-7) for name in found)
    assert (directory / "result.json").is_file()


def test_weights_that_were_learned_with_one_head_are_used_with_it(bench, toys):
    one, two = (trained(bench, seed=seed) for seed in (1, 2))
    data = TaskData("toy_classification", 1, "m 1", "0")
    step = merge_of([one, two], decided="learned", task=data, recipe=RECIPE)
    directory = combined(bench, step, Rows((toys.task("classification"), toys.examples("classification", 8))))
    found, own = (load_file(each / "head.safetensors") for each in (directory, bench.done[key(one)]))
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_of_different_tasks_the_first_one_has_the_head(bench, toys, batch):
    target = trained(bench, seed=1)
    other = trained(bench, seed=2, format_name="tagging")
    merged = merge_of([target, other], weights=(1.0, 0.5))
    combined(bench, merged)
    heads = [load_file(bench.done[key(each)] / "head.safetensors") for each in (target, merged)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[1])
    model_of(bench, toys, merged)
    with pytest.raises(XstiltsError, match="needs a model that was trained on this task"):
        model_of(bench, toys, merged, "tagging")


@pytest.mark.parametrize("start", ["warm", "stack"])
def test_a_merge_is_a_start(bench, toys, batch, start):
    one, two = (trained(bench, seed=seed) for seed in (1, 2))
    kind = "svd" if start == "warm" else "linear"
    merged = merge_of([one, two], kind, weights=(0.5, 0.5))
    combined(bench, merged)
    step = bench.step("lora", Warm(merged) if start == "warm" else Stack((merged,)))
    fresh = compose.for_training(step, [toys.task("classification")], bench.runtime()).model
    assert torch.equal(states(fresh, batch), states(model_of(bench, toys, merged), batch))
    bench.train(step)
    model_of(bench, toys, step)


def test_merged_are_only_the_modules_above_a_shared_one(bench, toys, batch):
    below = trained(bench, seed=1)
    one, two = (trained(bench, "lora", Stack((below,)), seed) for seed in (2, 3))
    merged = merge_of([one, two], weights=(1.0, 0.0))
    combined(bench, merged)
    found, alone = (states(model_of(bench, toys, each), batch) for each in (merged, one))
    assert torch.allclose(found, alone, atol=1e-5)
    stranger = trained(bench, seed=4)
    with pytest.raises(XstiltsError, match="same modules below"):
        combined(bench, merge_of([one, stranger], weights=(0.5, 0.5)))


REFUSED = {
    "negative weights of bottlenecks": ("pfeiffer", "linear", (1.5, -0.5)),
    "weights of bottlenecks that do not sum to one": ("pfeiffer", "linear", (1.0, 1.0)),
    "signs of bottlenecks": ("pfeiffer", "ties", (0.5, 0.5)),
    "heads": ("head", "linear", (0.5, 0.5)),
    "directions": ("dora", "linear", (0.5, 0.5)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_means_nothing_is_refused_before_it_is_computed(bench, name):
    method, kind, weights = REFUSED[name]
    config = AdapterConfig(kind="dora", options={}) if method == "dora" else method
    sources = [bench.step(config, seed=seed) for seed in (1, 2)]
    step = replace(
        merge_of([bench.step("lora")], weights=(1.0,)),
        sources=tuple(sources),
        merge=AdapterConfig(kind=kind, options={}),
        method=sources[0].method,
        weights=weights,
    )
    with pytest.raises(XstiltsError, match=f"merge {kind}: refused"):
        compose.check(step)


def test_bottlenecks_are_averaged_if_they_began_at_the_same_weights(bench):
    one, other_rate, other_seed = (bench.step("pfeiffer", seed=s, lr=lr) for s, lr in ((1, 1e-3), (1, 2e-3), (2, 1e-3)))
    compose.check(merge_of([one, other_rate], weights=(0.5, 0.5)))
    warm = [bench.step("pfeiffer", Warm(one), seed) for seed in (3, 4)]
    compose.check(merge_of([*warm, other_rate], weights=(0.5, 0.25, 0.25)))
    for sources in ([one, other_seed], [warm[0], other_seed], [one, bench.step("pfeiffer", Warm(other_seed), 1)]):
        with pytest.raises(XstiltsError, match="began at the same weights"):
            compose.check(merge_of(sources, weights=(0.5, 0.5)))
    compose.check(merge_of([one, other_seed], "select", weights=(0.0, 1.0)))


def test_a_source_of_another_backbone_is_refused(bench, other_backbone):
    sources = [bench.step("lora"), replace(bench.step("lora", seed=1), backbone=other_backbone)]
    with pytest.raises(XstiltsError, match="another backbone"):
        compose.check(merge_of(sources, weights=(0.5, 0.5)))


# --------------------------------------------------------------------------------------------------- decided weights


def test_the_best_of_short_trainings_decides(bench):
    one, two = (trained(bench, seed=seed) for seed in (1, 2))
    proxies = tuple(trained(bench, "lora", Stack((source,)), 3) for source in (one, two))
    for proxy, score in zip(proxies, (40.0, 60.0), strict=True):
        path = bench.done[key(proxy)] / "result.json"
        path.write_text(json.dumps(result(path.parent) | {"dev_score": score, "status": "ok"}))
    step = merge_of([one, two], "select", decided="few_shot", proxies=proxies)
    found = result(combined(bench, step))
    assert found["weights"] == [0.0, 1.0] and found["dev_score"] == [40.0, 60.0] and found["decided_by"] == "few_shot"
    a, b = weights_of(bench, step), weights_of(bench, two)
    assert all(torch.equal(a[name], b[name]) for name in b)
    path = bench.done[key(proxies[1])] / "result.json"
    path.write_text(json.dumps(result(path.parent) | {"status": "diverged"}))
    assert result(combined(bench, step))["weights"] == [1.0, 0.0]
    path = bench.done[key(proxies[0])] / "result.json"
    path.write_text(json.dumps(result(path.parent) | {"dev_score": None}))
    with pytest.raises(XstiltsError, match="no source has a dev_score"):
        combined(bench, step)


def test_the_nearest_text_decides(bench, toys):
    target, near, far = (toys.task("classification"), toys.task("tagging"), toys.task("span"))
    examples = toys.examples("classification", 12)
    one, two = (trained(bench, seed=seed) for seed in (1, 2))
    data = TaskData("toy_classification", 1, "m 1", "0")
    step = merge_of([one, two], "select", decided="text", task=data, recipe=RECIPE)
    strange = [
        replace(example, fields=replace(example.fields, first="北京大学 在 北京 市 海淀区 。", second=None))
        for example in examples
    ]
    rows = Rows((target, examples), (((target, strange),), ((target, examples),)))
    found = result(combined(bench, step, rows))
    assert found["weights"] == [0.0, 1.0]
    assert found["similarity"][1] == pytest.approx(1.0) and found["similarity"][0] < 0.99
    both = Rows((target, examples), (((target, examples),), ((near, toys.examples("tagging", 8)),
                                                             (far, toys.examples("span", 8)))))  # fmt: skip
    assert result(combined(bench, step, both))["weights"] == [1.0, 0.0]


def test_the_mean_state_is_the_mean_over_tokens_without_padding(bench, toys, text):
    encoder = compose.load_encoder(bench.backbone).eval()
    features = encode(toys.task("classification"), toys.examples("classification", 7), text()).features
    found = []
    for feature in features:
        batch = collate([feature])
        with torch.inference_mode():
            found.append(encoder(batch.ids, batch.mask).last_hidden_state[0].double().numpy())
    expected = np.concatenate(found).mean(axis=0)
    assert np.allclose(decide._mean_state(encoder, features), expected, atol=1e-6)


def test_learned_weights_lower_the_loss_and_never_end_above_the_start(bench, toys):
    target, helper = trained(bench, seed=1, epochs=1), trained(bench, seed=2, epochs=4)
    data = TaskData("toy_classification", 1, "m 1", "0")
    step = merge_of([target, helper], decided="learned", task=data, recipe=RECIPE)
    rows = Rows((toys.task("classification"), toys.examples("classification", 16, first=1000)))
    found = result(combined(bench, step, rows))
    assert found["loss"] <= found["loss_of_own_alone"]
    assert found["examples"] == 8 and 3 <= found["trials"] <= 2 * decide.TRIALS_PER_WEIGHT + 1
    assert max(map(abs, found["weights"])) <= decide.BOUND and len(found["weights"]) == 2
    again = result(combined(bench, step, rows))
    assert again["weights"] == found["weights"]
    candidate = compose.for_search(step, toys.task("classification"), bench.runtime())
    candidate.take(weights_of(bench, step))
    model = model_of(bench, toys, step)
    fresh = dict(model.encoder.named_parameters())
    mine = dict(candidate.model.encoder.named_parameters())
    assert all(torch.equal(mine[name.replace("below0", "target")], value) for name, value in fresh.items())


def test_rows_without_a_loss_teach_no_weights(bench, toys):
    step = merge_of(
        [trained(bench, seed=seed) for seed in (1, 2)],
        decided="learned",
        task=TaskData("toy_classification", 1, "m 1", "0"),
        recipe=RECIPE,
    )
    without = [replace(example, gold=None) for example in toys.examples("classification", 8)]
    with pytest.raises(XstiltsError, match="no dev row has a target"):
        combined(bench, step, Rows((toys.task("classification"), without)))


@pytest.mark.parametrize("best", [(0.5, -0.25, 1.0), (1.0, 0.0, 0.0), (-1.2, 1.4, 0.3)])
def test_the_search_finds_the_lowest_point_of_a_bowl(best):
    found = decide.search(lambda w: float(np.square(np.subtract(w, best)).sum()), 3)
    assert np.allclose(found.weights, best, atol=0.05)
    assert found.loss <= found.first and found.trials <= 3 * decide.TRIALS_PER_WEIGHT + 1


def test_the_search_survives_losses_that_are_not_finite():
    found = decide.search(lambda w: float("nan") if w[1] > 0.01 else abs(w[0] - 0.9), 2)
    assert found.loss < 0.05 and np.isfinite(found.loss)
