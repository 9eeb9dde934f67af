"""What was trained is what predicts: every shape of composition, built for training and built again from the store."""

from dataclasses import replace

import pytest
import torch

from xstilts.batches import collate
from xstilts.engine import combine, compose
from xstilts.engine.decide import Rows
from xstilts.formats import encode
from xstilts.key import key
from xstilts.lineage import chain
from xstilts.merges import load_merge
from xstilts.spec import AdapterConfig, Combine, Fuse, Predict, Stack, Swap, TaskData, Warm

MADX = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4, "inverse": True})
IA3 = AdapterConfig(kind="ia3", options={})
DORA = AdapterConfig(kind="dora", options={"rank": 2})
RS_LORA = AdapterConfig(kind="lora", options={"rank": 2, "rank_stabilised": True})


def merged(bench, *sources, kind="linear"):
    method = load_merge(kind).method([source.method for source in sources], load_merge(kind).Options())
    weights = (1 / len(sources),) * len(sources)
    step = Combine(bench.backbone, sources, AdapterConfig(kind=kind), method, 0, weights)
    combine.run(step, Rows(), bench.directory(step), bench.runtime())
    bench.done[key(step)] = bench.directory(step)
    return step


def trained(bench, method="pfeiffer", start=None, seed=0, lr=2e-2):
    step = bench.step(method, start, seed, epochs=2, lr=lr)
    bench.train(step)
    return step


def two_on(bench, start, method="pfeiffer"):
    return tuple(trained(bench, method, start, 1, lr) for lr in (2e-2, 1e-2))


def language(bench):
    return trained(bench, MADX)


def fused(bench):
    return trained(bench, start=Fuse(two_on(bench, None), True, 0.01))


SHAPES = {
    "fusion on a language adapter": lambda b: Fuse(two_on(b, Stack((language(b),))), True, 0.01),
    "fusion alone on a language adapter": lambda b: Fuse(two_on(b, Stack((language(b),))), False, 0.01),
    "fusion of one": lambda b: Fuse((trained(b),), True, 0.01),
    "stack on a fusion": lambda b: Stack((trained(b, start=Fuse(two_on(b, None), False, 0.01)),)),
    "stack on a fusion and its top": lambda b: Stack((fused(b),)),
    "warm on warm on a fusion": lambda b: Warm(trained(b, start=Warm(fused(b)))),
    "stack on a mean": lambda b: Stack((merged(b, *two_on(b, None)),)),
    "warm on a mean": lambda b: Warm(merged(b, *two_on(b, None))),
    "fusion of means": lambda b: Fuse((merged(b, *two_on(b, None)), trained(b)), True, 0.01),
    "stack on a mean on a language adapter": lambda b: Stack((merged(b, *two_on(b, Stack((language(b),)))),)),
    "two that were trained apart": lambda b: Stack((language(b), trained(b), trained(b, "houlsby"))),
    "one that two sources need": lambda b: Stack(two_on(b, Stack((language(b),)))),
    "sum of LoRAs": lambda b: Stack((merged(b, *two_on(b, None, "lora")),)),
    "LoRA cut to a rank, continued": lambda b: Warm(merged(b, *two_on(b, None, "lora"), kind="svd")),
    "LoRA on rsLoRA": lambda b: Stack((trained(b, RS_LORA),)),
    "IA3 on IA3": lambda b: Stack((trained(b, IA3),)),
    "DoRA continued": lambda b: Warm(trained(b, DORA)),
    "full soup": lambda b: Warm(merged(b, *two_on(b, None, "full"))),
}  # fmt: skip
METHODS = {"LoRA on rsLoRA": "lora", "IA3 on IA3": IA3, "DoRA continued": DORA, "full soup": "full",
           "sum of LoRAs": "lora", "LoRA cut to a rank, continued": "lora"}  # fmt: skip


@pytest.fixture
def batch(toys, text):
    return collate(encode(toys.task("classification"), toys.examples("classification", 12), text()).features)


def predicted(bench, toys, model, format_name="classification", language=None, **changes):
    data = TaskData(f"toy_{format_name}", 1, "m 1", "0")
    step = replace(Predict(model, data, "test", ("en",), 48, 8, "fp32"), **changes)
    return compose.for_prediction(step, toys.task(format_name), bench.runtime(), language)


def states(model, batch, hidden=False):
    with torch.inference_mode():
        found = model.eval().encoder(batch.ids, batch.mask, output_hidden_states=hidden)
    return found.hidden_states if hidden else found.last_hidden_state


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_trained_is_what_predicts(bench, toys, batch, monkeypatch, name):
    step = bench.step(METHODS.get(name, "pfeiffer"), SHAPES[name](bench), 2, epochs=2, lr=1e-2)
    kept, save = {}, compose.save
    monkeypatch.setattr(
        compose, "save", lambda trainee, *rest: (kept.update(model=trainee.model), save(trainee, *rest))
    )
    bench.train(step)
    model = kept["model"].eval().requires_grad_(False)  # torch multiplies by a matrix that trains in another order
    with torch.inference_mode():
        assert torch.equal(model(batch), predicted(bench, toys, step)(batch))


@pytest.mark.parametrize("name", ["fusion on a language adapter", "stack on a mean on a language adapter"])
def test_an_encoder_that_ends_early_computes_the_same_layers(bench, toys, batch, name):
    step = bench.step("pfeiffer", SHAPES[name](bench), 2, epochs=2, lr=1e-2)
    bench.train(step)
    whole = states(predicted(bench, toys, step), batch, hidden=True)
    for layer in range(3):
        short = predicted(bench, toys, step, "retrieval", layer=layer)
        assert torch.equal(states(short, batch), whole[layer])


@pytest.mark.parametrize("name", ["fusion on a language adapter", "stack on a mean on a language adapter"])
def test_the_language_adapter_below_a_fusion_or_a_merge_is_swapped(bench, toys, batch, name):
    step = bench.step("pfeiffer", SHAPES[name](bench), 2, epochs=2, lr=1e-2)
    bench.train(step)
    english, german = language(bench), trained(bench, MADX, seed=5)
    swap = Swap(english, (("en", english), ("de", german)))
    found = {code: states(predicted(bench, toys, step, language=code, swap=swap), batch) for code in ("en", "de", "fr")}
    assert torch.equal(found["en"], states(predicted(bench, toys, step), batch)) and torch.equal(
        found["en"], found["fr"]
    )
    assert not torch.allclose(found["en"], found["de"], atol=1e-4)
    assert chain(step)[0].modules == (english,)
