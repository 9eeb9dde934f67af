"""Starts and methods on the tiny backbone: what is attached, what trains, what the model computes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xstilts.batches import collate
from xstilts.config import load_adapter
from xstilts.engine import artifact, compose
from xstilts.errors import XstiltsError
from xstilts.formats import encode
from xstilts.key import key
from xstilts.methods import load_method, method_kinds
from xstilts.spec import AdapterConfig, Cold, Predict, Stack, TaskData, Warm

CONFIGS = sorted((Path(__file__).parents[2] / "adapter_configs").glob("*.toml"))
HEAD = {"head.dense.weight", "head.dense.bias", "head.out_proj.weight", "head.out_proj.bias"}


@pytest.fixture
def batch(toys, text):
    encoded = encode(toys.task("classification"), toys.examples("classification", 12), text())
    return collate(encoded.features)


def logits(model, batch):
    with torch.inference_mode():
        return model.eval()(batch)


def states(model, batch):
    with torch.inference_mode():
        return model.eval().encoder(batch.ids, batch.mask).last_hidden_state


def built(bench, toys, step):
    return compose.for_training(step, [toys.task("classification")], bench.runtime())


def trained(bench, method, seed=0):
    """A training on the tiny backbone that moved its module visibly."""
    step = bench.step(method, seed=seed, epochs=3, lr=5e-2)
    bench.train(step)
    return step


def with_head_of(model, other):
    """Heads are not reused, so outputs are compared under one head."""
    model.head.load_state_dict(other.head.state_dict())
    return model


# ----------------------------------------------------------------------------------------------- every adapter config


def test_every_shipped_adapter_config_is_tested():
    bottlenecks = ["houlsby_r16", "madx_r2", "pfeiffer_r16", "pfeiffer_r16_madx2"]
    others = ["dora_r8", "full", "head", "ia3", "lora_r8", "lora_r8_rs"]
    assert [path.stem for path in CONFIGS] == sorted(bottlenecks + others)
    assert {load_adapter(path).kind for path in CONFIGS} == set(method_kinds())


def expected_names(stem: str, layers: int) -> set[str]:
    """Written out from the papers, not taken from the code."""
    names = set()
    for layer in range(layers):
        base = f"encoder.encoder.layer.{layer}"
        places = ["output"] if stem in ("pfeiffer_r16", "madx_r2") else []
        places += ["output"] if stem == "pfeiffer_r16_madx2" and layer < layers - 1 else []
        places += ["attention.output", "output"] if stem == "houlsby_r16" else []
        for place in places:
            for part in ("adapter_down.0", "adapter_up"):
                names |= {f"{base}.{place}.adapters.target.{part}.{kind}" for kind in ("weight", "bias")}
        if stem in ("lora_r8", "lora_r8_rs", "dora_r8"):
            parts = ["lora_A", "lora_B", *(["lora_magnitude_vector"] if stem == "dora_r8" else [])]
            for linear in ("query", "value"):
                names |= {f"{base}.attention.self.{linear}.{part}.target.weight" for part in parts}
        if stem == "ia3":
            scaled = ("attention.self.key", "attention.self.value", "output.dense")
            names |= {f"{base}.{linear}.ia3_l.target" for linear in scaled}
    if stem == "madx_r2":
        inverse = {f"{map_}.{place}" for map_ in "FG" for place in (0, 2)}
        names |= {
            f"encoder.invertible_adapters.target.{part}.{kind}" for part in inverse for kind in ("weight", "bias")
        }
    return names


STARTS = ("cold", "warm", "stack", "stack of two", "stack on stack", "warm on stack")


def make_start(bench, name, method):
    """A start of this shape from trainings of the same method."""
    if name == "cold":
        return Cold()
    first, second = (bench.step(method, seed=seed, lr=1e-3) for seed in (1, 2))
    if name == "warm":
        return Warm(first)
    if name == "stack":
        return Stack((first,))
    if name == "stack of two":
        return Stack((first, second))
    above = replace(second, start=Stack((first,)))
    return Stack((above,)) if name == "stack on stack" else Warm(above)


def publish(bench, step):
    """Put a step's initial weights where its artefact would be, sources first."""
    sources = [step.start.source] if isinstance(step.start, Warm) else getattr(step.start, "sources", ())
    for source in sources:
        publish(bench, source)
        bench.train(source)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_exactly_the_declared_parameters_train(bench, toys, config, start):
    method = load_adapter(config)
    start_kind = start.split()[0]
    reason = load_method(method.kind).refuse(start_kind)
    expected_refusals = {"full": {"stack"}, "head": {"warm", "stack"}, "dora": {"stack"}}
    assert bool(reason) == (start_kind in expected_refusals.get(method.kind, set()))
    step = bench.step(method, make_start(bench, start, method), lr=1e-3)
    if reason or (method.kind in ("full", "dora") and "stack" in start):
        with pytest.raises(XstiltsError, match="refused with"):
            built(bench, toys, step)
        return
    if config.stem == "madx_r2" and "stack" in start:
        with pytest.raises(XstiltsError, match="only the lowest module"):
            built(bench, toys, step)
        return
    publish(bench, step)
    trainee = built(bench, toys, step)
    trains = {name for name, parameter in trainee.model.named_parameters() if parameter.requires_grad}
    if config.stem == "full":
        assert len(trains) == 37 + 4 and trains - HEAD == {
            n for n, _ in trainee.model.named_parameters() if n not in HEAD
        }
    else:
        assert trains == expected_names(config.stem, layers=2) | HEAD
    assert trains == set(trainee.trained) and not trains & set(trainee.frozen)
    below = {"cold": 0, "warm": 0, "stack": 1, "stack of two": 2, "stack on stack": 2, "warm on stack": 1}[start]
    assert len(compose.lineage(step)) == below + 1


@pytest.mark.parametrize("method", ["pfeiffer", "houlsby", "lora", "head", "full"])
def test_a_fresh_module_leaves_logits_bit_identical(bench, toys, batch, method):
    fresh = built(bench, toys, bench.step(method)).model
    bare = built(bench, toys, bench.step("head")).model
    assert torch.equal(logits(fresh, batch), logits(bare, batch))


@pytest.mark.parametrize("method", ["pfeiffer", "houlsby", "lora"])
def test_a_fresh_module_on_a_trained_one_is_the_trained_one_exactly(bench, toys, batch, method):
    below = trained(bench, method)
    alone = compose.for_prediction(prediction(below), toys.task("classification"), bench.runtime())
    stacked = with_head_of(built(bench, toys, bench.step(method, Stack((below,)))).model, alone)
    bare = with_head_of(built(bench, toys, bench.step("head")).model, alone)
    assert torch.equal(logits(stacked, batch), logits(alone, batch))
    assert not torch.equal(logits(stacked, batch), logits(bare, batch))


@pytest.mark.parametrize(("method", "matters"), [("pfeiffer", True), ("houlsby", True), ("lora", False)])
def test_order_matters_for_chains_and_not_for_sums(bench, toys, batch, method, matters):
    one, two = trained(bench, method), trained(bench, method, seed=1)
    model = built(bench, toys, bench.step(method, Stack((one, two)))).model
    swapped = built(bench, toys, bench.step(method, Stack((two, one)))).model
    difference = float((states(model, batch) - states(swapped, batch)).abs().max())
    assert difference > 1e-3 if matters else difference < 1e-5


def test_stacked_lora_is_the_sum_of_the_deltas(bench, toys, batch):
    one, two = trained(bench, "lora"), trained(bench, "lora", seed=1)
    model = built(bench, toys, bench.step("lora", Stack((one, two)))).model
    bare = built(bench, toys, bench.step("head")).model
    with torch.no_grad():
        for source in (one, two):
            delta = load_file(bench.train(source) / "encoder.safetensors")
            for name in {name.removesuffix(".lora_A").removesuffix(".lora_B") for name in delta}:
                product = delta[f"{name}.lora_B"] @ delta[f"{name}.lora_A"]
                bare.encoder.get_parameter(f"{name}.weight").add_(product * 8.0 / 4)
    assert torch.allclose(logits(model, batch), logits(bare, batch), atol=1e-4)


@pytest.mark.parametrize("method", ["full", "pfeiffer", "houlsby", "lora"])
def test_warm_is_a_copy_and_the_source_stays_untouched(bench, toys, batch, method):
    source = trained(bench, method)
    files = {path.name: path.read_bytes() for path in bench.train(source).iterdir()}
    step = bench.step(method, Warm(source), seed=5, lr=2e-2)
    alone = compose.for_prediction(prediction(source), toys.task("classification"), bench.runtime())
    trainee = built(bench, toys, step)
    assert torch.equal(logits(with_head_of(trainee.model, alone), batch), logits(alone, batch))
    before = {name: parameter.detach().clone() for name, parameter in trainee.module.items()}
    after = load_file(bench.train(step) / "encoder.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert files == {path.name: path.read_bytes() for path in bench.train(source).iterdir()}


def test_a_chain_of_starts_is_rebuilt_for_prediction(bench, toys, batch):
    """Stack on (a warm copy of (a stack)): what was trained is what predicts."""
    first = trained(bench, "pfeiffer")
    second = bench.step("pfeiffer", Stack((first,)), seed=1, lr=2e-2)
    third = bench.step("pfeiffer", Warm(second), seed=2, lr=2e-2)
    last = bench.step("pfeiffer", Stack((third, first)), seed=3, lr=2e-2)
    for step in (second, third):
        bench.train(step)
    assert compose.lineage(last) == (first, third, last)  # ``first`` once, though two sources need it
    seen = {}
    keep = compose.save
    try:
        compose.save = lambda trainee, *rest: (seen.update(model=trainee.model), keep(trainee, *rest))
        bench.train(last)
    finally:
        compose.save = keep
    again = compose.for_prediction(prediction(last), toys.task("classification"), bench.runtime())
    assert torch.equal(logits(seen["model"], batch), logits(again, batch))


# ---------------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("method", ["pfeiffer", "lora"])
def test_initial_weights_depend_on_the_seed_alone(bench, toys, method):
    below = trained(bench, method)
    cold = built(bench, toys, bench.step(method))
    torch.manual_seed(99)
    again = built(bench, toys, bench.step(method, lr=1.0))
    stacked = built(bench, toys, bench.step(method, Stack((below,))))
    other = built(bench, toys, bench.step(method, seed=1))
    assert cold.module.keys() == stacked.module.keys()
    assert all(torch.equal(cold.module[name], again.module[name]) for name in cold.module)
    assert all(torch.equal(cold.head[name], stacked.head[name]) for name in cold.head)
    drawn = [name for name, parameter in cold.module.items() if parameter.any()]
    assert drawn and not any(torch.equal(cold.module[name], other.module[name]) for name in drawn)
    # a stacked module must not begin as the module below it began: it would look at the same directions again
    for name in drawn:
        cosine = torch.cosine_similarity(cold.module[name].flatten(), stacked.module[name].flatten(), dim=0)
        assert abs(cosine) < 0.5


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_dropout_of_the_modules_below_stays_off(bench, toys, method):
    """What a module is trained on is what it will lie on."""
    shape = {"where": "both", "reduction": 4} if method == "bottleneck" else {"rank": 4}
    config = AdapterConfig(kind=method, options={**shape, "dropout": 0.5})
    below = bench.step(config)
    bench.train(below)
    model = built(bench, toys, bench.step(config, Stack((below,)))).model
    for _ in range(2):  # evaluation switches everything off, the next step on again
        model.eval()
        model.train()
        on = {
            name: [part.training for place, part in model.named_modules() if f".{name}" in place]
            for name in ("below0", "target", "attention.output.dropout")
        }
        assert len(on["below0"]) == len(on["target"]) > 4
        assert not any(on["below0"]) and all(on["target"]) and all(on["attention.output.dropout"])


# ------------------------------------------------------------------------------------------------- what is refused


def prediction(train, **changes):
    data = TaskData("toy_classification", 1, "m 1", "0")
    return Predict(**{"model": train, "task": data, "split": "test", "languages": ("en",), "max_length": 48,
                      "doc_stride": 8, "precision": "fp32", **changes})  # fmt: skip


def test_sources_of_another_kind_shape_or_backbone_are_refused(bench, toys, other_backbone):
    pfeiffer = bench.step("pfeiffer")
    wider = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 2})
    for step, message in [
        (bench.step("lora", Stack((pfeiffer,))), "another method; given 'bottleneck'"),
        (bench.step("full", Warm(pfeiffer)), "another method"),
        (bench.step(wider, Warm(pfeiffer)), "same options"),
        (bench.step("pfeiffer", Stack((replace(pfeiffer, backbone=other_backbone),))), "another backbone"),
        (bench.step("pfeiffer", max_length=65), "positions for 64 tokens; given '65'"),
    ]:
        with pytest.raises(XstiltsError, match=message):
            built(bench, toys, step)


def test_options_that_leave_no_bottleneck_are_refused(bench, toys):
    narrow = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 64})
    with pytest.raises(XstiltsError, match="must be at most 32; given '64'"):
        built(bench, toys, bench.step(narrow))


def test_stacked_modules_may_differ_in_shape(bench, toys, batch):
    below = trained(bench, "pfeiffer")
    fresh = built(bench, toys, bench.step("houlsby", Stack((below,)))).model
    alone = compose.for_prediction(prediction(below), toys.task("classification"), bench.runtime())
    assert torch.equal(logits(with_head_of(fresh, alone), batch), logits(alone, batch))


HARMS = {
    "truncated": "not a readable safetensors file",
    "garbage": "not a readable safetensors file",
    "missing": "is missing",
    "another step": "belongs to another step",
    "another part": "belongs to another part",
    "no facts": "belongs to another",
    "one tensor less": "lacks 1 of 8 tensors",
    "one tensor more": "holds unexpected 1 of 8 tensors: embeddings.word_embeddings.weight",
    "another shape": "another shape or type; given 'float32",
    "another type": "another shape or type; given 'float16",
    "not a number": "holds NaN or infinity",
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_or_foreign_artefact_is_refused(bench, toys, harm):
    """Every failure that the libraries pass over in silence."""
    source = trained(bench, "pfeiffer")
    path = bench.train(source) / "encoder.safetensors"
    tensors, facts = load_file(path), artifact.facts(path)
    name = sorted(tensors)[0]
    changed = {
        "one tensor less": {k: v for k, v in tensors.items() if k != name},
        "one tensor more": {**tensors, "embeddings.word_embeddings.weight": torch.zeros(300, 32)},
        "another shape": {**tensors, name: tensors[name][:-1].contiguous()},
        "another type": {**tensors, name: tensors[name].half()},
        "not a number": {**tensors, name: torch.full_like(tensors[name], float("nan"))},
    }.get(harm, tensors)
    facts |= {"another step": {"step": "0" * 32}, "another part": {"part": "head"}}.get(harm, {})
    save_file(changed, path, None if harm == "no facts" else {artifact.HEADER: json.dumps(facts)})
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    if harm == "garbage":
        path.write_bytes(b"\x80\x04not a tensor")
    if harm == "missing":
        path.unlink()
    with pytest.raises(XstiltsError, match=HARMS[harm]):
        built(bench, toys, bench.step("pfeiffer", Stack((source,))))
    with pytest.raises(XstiltsError, match=HARMS[harm]):
        compose.for_prediction(prediction(source), toys.task("classification"), bench.runtime())


def test_a_head_of_another_task_is_refused(bench, toys):
    source = trained(bench, "pfeiffer")
    step = prediction(source, task=TaskData("toy_tagging", 1, "m 1", "0"))
    with pytest.raises(XstiltsError, match="trained on this task; given 'toy_classification'"):
        compose.for_prediction(step, toys.task("tagging"), bench.runtime())
    with pytest.raises(XstiltsError, match="given 'the bare backbone'"):
        compose.for_prediction(prediction(bench.backbone), toys.task("classification"), bench.runtime())


def test_artefacts_say_what_they_are_and_name_no_library(bench):
    for method in ("pfeiffer", "houlsby", "lora"):
        step = trained(bench, method)
        path = bench.train(step) / "encoder.safetensors"
        found = artifact.facts(path)
        assert found["step"] == key(step) and found["backbone"] == bench.backbone.fingerprint
        assert json.loads(found["method"])["kind"] == step.method.kind
        assert not any(word in name for name in load_file(path) for word in ("target", "adapter", "base_layer"))
