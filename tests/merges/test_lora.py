"""LoRA: what is merged is the delta. Held against dense algebra, peft, and the outputs of an encoder."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn

from xstilts.merges import Part, load_merge
from xstilts.spec import AdapterConfig

quick = settings(max_examples=25, deadline=None, derandomize=True)
weights = st.floats(-2, 2).map(lambda weight: round(weight, 3))


def test_ranks_and_scalings_may_differ(drawn, near):
    parts = [
        drawn.part("lora", 0, rank=2, alpha=7.0),
        drawn.part("lora", 1, rank=5, alpha=3.0, rank_stabilised=True),
        drawn.part("lora", 2, rank=1),
    ]
    chosen = (0.5, -2.0, 1.5)
    deltas = [drawn.added(part.method, part.tensors) for part in parts]
    expected = {name: sum(w * delta[name] for w, delta in zip(chosen, deltas, strict=True)) for name in deltas[0]}
    near(drawn.result("linear", parts, chosen), expected)
    near(drawn.result("svd", parts, chosen, rank=8), expected)
    near(drawn.result("dare", parts, chosen, drop=0.0), expected)


def test_targets_may_differ(drawn, near):
    parts = [drawn.part("lora", 0, targets=("query",)), drawn.part("lora", 1, targets=("output",), rank=2)]
    deltas = [drawn.added(part.method, part.tensors) for part in parts]
    expected = {name: tensor for delta in deltas for name, tensor in delta.items()}
    assert len(expected) == 4
    for kind, options in {"linear": {}, "svd": {}, "ties": {"density": 1.0, "rank": 3}}.items():
        # every map belongs to one source alone, so a disjoint mean with weights ½ gives all of it
        scale = 1.0 if kind == "ties" else 0.5
        found = drawn.result(kind, parts, (0.5, 0.5), **options)
        near(found, {name: scale * tensor for name, tensor in expected.items()})


@given(chosen=st.tuples(weights, weights), seed=st.integers(0, 1000))
@quick
def test_svd_at_full_rank_is_the_sum(drawn, near, chosen, seed):
    parts = drawn.parts("lora", 2, seed)
    if any(chosen):
        near(drawn.result("svd", parts, chosen, rank=6), drawn.result("linear", parts, chosen), 1e-5)


@pytest.mark.parametrize("rank", range(1, 7))
def test_svd_is_the_best_approximation(drawn, rank):
    """Against singular values of the dense sum; the told error is the real one."""
    parts = drawn.parts("lora", 2)
    dense = drawn.result("linear", parts, (1.0, -0.5))
    found = drawn.result("svd", parts, (1.0, -0.5), rank=rank)
    told = drawn.merge("svd", parts, (1.0, -0.5), rank=rank).facts["truncation_error"]
    lost = whole = 0.0
    for name, tensor in dense.items():
        u, s, vh = torch.linalg.svd(tensor)
        best = (u[:, :rank] * s[:rank]) @ vh[:rank]
        assert torch.allclose(found[name], best, atol=1e-5 * float(s[0]))
        lost, whole = lost + float((found[name] - tensor).square().sum()), whole + float(s.square().sum())
    assert told == pytest.approx((lost / whole) ** 0.5, abs=1e-6)
    assert (told > 1e-3) == (rank < 6)


def test_an_svd_can_be_trained_on(drawn):
    """It has the shape of its sources, and every component of it can move: A is never zero, even where B is."""
    one = drawn.part("lora", 0)
    merged = drawn.merge("svd", [one, one], (0.5, 0.5), rank=5)
    assert load_merge("svd").method([one.method] * 2, load_merge("svd").Options()) == one.method
    for name, tensor in merged.tensors.items():
        if name.endswith(".lora_A"):
            assert torch.allclose(tensor.norm(dim=1), torch.ones(5)), name
        else:
            assert tensor[:, 3:].abs().max() < 1e-5 < tensor[:, :3].abs().max(), name


def test_a_rank_above_the_sides_of_a_map_is_filled_with_zeros(drawn, near):
    parts = [drawn.part("lora", seed, rank=6) for seed in range(2)]  # maps of 8 outputs
    merged = drawn.merge("svd", parts, (1.0, 1.0), rank=11)
    assert all(tensor.shape[0 if name.endswith("A") else 1] == 11 for name, tensor in merged.tensors.items())
    near(drawn.result("svd", parts, (1.0, 1.0), rank=11), drawn.result("linear", parts, (1.0, 1.0)), 1e-5)


def test_an_effect_on_a_linear_map_is_the_weighted_sum_of_effects(on_encoder):
    """y(merged) − y(base) = Σ w (y(source) − y(base)) where modules meet the same input: the queries of layer 0."""
    configs = [
        AdapterConfig(kind="lora", options={"rank": 2, "targets": ("query",)}),
        AdapterConfig(kind="lora", options={"rank": 4, "alpha": 3.0, "rank_stabilised": True, "targets": ("query",)}),
    ]
    chosen, merge = (1.5, -0.5), load_merge("linear")
    parts = [on_encoder.part(config, seed) for seed, config in enumerate(configs)]
    merged = merge.merge(parts, chosen, merge.Options(), {}, 0)

    def queries(config, tensors):
        encoder, _ = on_encoder.encoder(config, tensors)
        seen = []
        encoder.encoder.layer[0].attention.self.query.register_forward_hook(lambda _m, _i, out: seen.append(out))
        on_encoder.hidden(encoder)
        return seen[0]

    base = queries(AdapterConfig(kind="full"), None)
    effects = [queries(part.method, part.tensors) - base for part in parts]
    found = queries(merge.method(configs, merge.Options()), merged.tensors)
    expected = base + sum(w * effect for w, effect in zip(chosen, effects, strict=True))
    assert min(float(effect.abs().max()) for effect in effects) > 1e-2
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


# ----------------------------------------------------------------------------------------------------------- peft


class Oracle:
    """Two LoRAs of rank 3 on one linear map, by peft's own hands."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        shape = LoraConfig(r=3, lora_alpha=5.0, target_modules=["map"])
        self.model = get_peft_model(nn.ModuleDict({"map": nn.Linear(12, 8)}), shape, "one")
        self.model.add_adapter("two", LoraConfig(r=3, lora_alpha=5.0, target_modules=["map"]))
        self.layer = self.model.base_model.model["map"]
        for name in ("one", "two"):
            nn.init.normal_(self.layer.lora_B[name].weight)
        config = AdapterConfig(kind="lora", options={"rank": 3, "alpha": 5.0, "targets": ("output",)})
        self.parts = [Part(config, self.tensors(name)) for name in ("one", "two")]

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        a, b = self.layer.lora_A[name].weight, self.layer.lora_B[name].weight
        return {"output.lora_A": a.detach().clone(), "output.lora_B": b.detach().clone()}

    def delta(self, chosen, how: str, **options) -> torch.Tensor:
        self.model.base_model.add_weighted_adapter(["one", "two"], list(chosen), how, combination_type=how, **options)
        return self.layer.get_delta_weight(how).detach()


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


def ours(drawn, oracle, kind, chosen, **options):
    return drawn.result(kind, oracle.parts, chosen, **options)["output"].float()


@pytest.mark.parametrize("chosen", [(0.5, 0.5), (1.0, -0.5)])
def test_peft_concatenates_to_the_same(drawn, oracle, chosen):
    assert torch.allclose(ours(drawn, oracle, "linear", chosen), oracle.delta(chosen, "cat"), atol=1e-5)


@pytest.mark.parametrize("chosen", [(0.5, 0.5), (1.0, -0.5)])
def test_what_peft_calls_linear_is_no_sum(drawn, oracle, chosen):
    """It averages A and B one by one. Off by about as much as there is."""
    found, theirs = ours(drawn, oracle, "linear", chosen), oracle.delta(chosen, "linear")
    assert (found - theirs).norm() > 0.3 * found.norm()


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_peft_cuts_to_the_same(drawn, oracle, rank):
    theirs = oracle.delta((1.0, -0.5), "svd", svd_rank=rank)
    assert torch.allclose(ours(drawn, oracle, "svd", (1.0, -0.5), rank=rank), theirs, atol=1e-5)


@pytest.mark.parametrize("density", [0.25, 0.5, 0.75])
def test_peft_elects_the_same(drawn, oracle, density):
    """On one map, where its trimming is ours; its weights 1, 1 with a plain mean are our ½, ½."""
    theirs = oracle.delta((1.0, 1.0), "ties_svd", density=density, svd_rank=8)
    found = ours(drawn, oracle, "ties", (0.5, 0.5), density=density, rank=8)
    assert torch.allclose(found, theirs, atol=1e-5) and np.isfinite(found.numpy()).all()
