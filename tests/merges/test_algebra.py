"""Laws that every merge keeps, for every method that it is defined for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.merges import load_merge, merge_kinds
from xstilts.methods import method_kinds
from xstilts.spec import AdapterConfig

WHOLE = {"ties": {"density": 1.0}, "dare": {"drop": 0.0}}  # options with which nothing is lost


def defined(kind, method):
    options = {"where": "output"} if method == "bottleneck" else {}
    merge = load_merge(kind)
    return merge.refuse([AdapterConfig(kind=method, options=options)], (1.0,), merge.Options()) is None


DEFINED = [(kind, method) for kind in merge_kinds() for method in method_kinds() if defined(kind, method)]
SUMS = [(kind, method) for kind, method in DEFINED if kind != "select"]
SHAPES = {
    "full": {},
    "bottleneck": {"where": "both", "reduction": 8, "inverse": True, "leave_out": (1,)},
    "lora": {"rank": 3, "alpha": 5.0, "targets": ("query", "output"), "rank_stabilised": True},
    "dora": {"rank": 2},
    "ia3": {},
}

weights = st.floats(-2, 2).map(lambda weight: round(weight, 3))
seeds = st.integers(0, 1000)
quick = settings(max_examples=25, deadline=None, derandomize=True)


def test_all_that_is_defined_is_tested():
    assert len(DEFINED) == 16 and len(SUMS) == 11


@pytest.mark.parametrize(("kind", "method"), DEFINED)
def test_merge_of_one_is_itself_bit_for_bit(on_encoder, kind, method):
    config = AdapterConfig(kind=method, options=SHAPES[method])
    part, merge = on_encoder.part(config, 1), load_merge(kind)
    options = merge.Options(**WHOLE.get(kind, {}))
    assert merge.method([config], options) == config
    merged = merge.merge([part], (1.0,), options, on_encoder.base(), 0)
    assert merged.tensors.keys() == part.tensors.keys()
    for name, tensor in part.tensors.items():
        assert merged.tensors[name].dtype == torch.float32 and merged.tensors[name].equal(tensor), name
    assert all(fact == 0 for fact in merged.facts.values())


@pytest.mark.parametrize(("kind", "method"), DEFINED)
def test_merge_of_a_module_with_itself_gives_its_outputs(on_encoder, kind, method):
    """The result is loaded into the shape that was planned, so this holds names and sizes of all merges, too."""
    config = AdapterConfig(kind=method, options=SHAPES[method])
    part, merge = on_encoder.part(config, 1), load_merge(kind)
    options = merge.Options(**WHOLE.get(kind, {}))
    halves = (0.0, 1.0) if kind == "select" else (0.5, 0.5)
    merged = merge.merge([part, part], halves, options, on_encoder.base(), 0)
    alone, _ = on_encoder.encoder(config, part.tensors)
    both, _ = on_encoder.encoder(merge.method([config, config], options), merged.tensors)
    bare, _ = on_encoder.encoder(AdapterConfig(kind="full"))
    expected, found = on_encoder.hidden(alone), on_encoder.hidden(both)
    assert (expected - on_encoder.hidden(bare)).abs().max() > 1e-2
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert not any(tensor.requires_grad for tensor in merged.tensors.values())
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in merged.tensors.values())


@pytest.mark.parametrize(("kind", "method"), SUMS)
@given(data=st.data())
@quick
def test_the_order_of_sources_does_not_matter(drawn, near, kind, method, data):
    order = data.draw(st.permutations(range(3)))
    chosen = (0.2, 0.3, 0.5) if method == "bottleneck" else data.draw(st.tuples(weights, weights, weights))
    parts = drawn.parts(method, 3, data.draw(seeds))
    options = {"dare": {"drop": 0.0}, "ties": {"density": 0.5}}.get(kind, {})
    if not any(chosen):
        return
    one = drawn.result(kind, parts, chosen, **options)
    other = drawn.result(kind, [parts[number] for number in order], [chosen[number] for number in order], **options)
    near(other, one, 1e-5)


@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
@given(one=st.tuples(weights, weights), other=st.tuples(weights, weights), seed=seeds)
@quick
def test_the_sum_is_linear_in_the_weights(drawn, near, method, one, other, seed):
    parts = drawn.parts(method, 2, seed)
    both = [a + b for a, b in zip(one, other, strict=True)]
    first, second, found = (drawn.result("linear", parts, chosen) for chosen in (one, other, both))
    size = 8 * max(
        float(tensor.abs().max()) for part in parts for tensor in drawn.added(part.method, part.tensors).values()
    )
    for name in found:
        assert (found[name] - first[name] - second[name]).abs().max() <= 1e-6 * size


@pytest.mark.parametrize("method", ["full", "bottleneck", "lora", "ia3"])
@given(share=st.floats(0, 1), seed=seeds)
@quick
def test_the_sum_is_the_sum_of_what_is_added(drawn, near, method, share, seed):
    parts = drawn.parts(method, 2, seed)
    one, other = (drawn.added(part.method, part.tensors) for part in parts)
    chosen = (share, 1 - share) if method == "bottleneck" else (2 * share, -1.5)
    near(
        drawn.result("linear", parts, chosen),
        {name: chosen[0] * one[name] + chosen[1] * other[name] for name in one},
    )


@pytest.mark.parametrize(("kind", "method"), SUMS)
@given(scale=st.sampled_from([-2.0, 0.5, 3.0]), seed=seeds)
@quick
def test_scaled_weights_scale_the_result(drawn, near, kind, method, scale, seed):
    if method == "bottleneck":
        return
    parts = drawn.parts(method, 2, seed)
    once = drawn.result(kind, parts, (0.5, 1.0))
    scaled = drawn.result(kind, parts, (0.5 * scale, 1.0 * scale))
    near(scaled, {name: scale * tensor for name, tensor in once.items()}, 2e-6)


@pytest.mark.parametrize(("kind", "method"), SUMS)
def test_all_weights_zero_add_nothing_and_may_be_tried(drawn, kind, method):
    if method == "bottleneck":
        return
    for tensor in drawn.result(kind, drawn.parts(method, 2), (0.0, 0.0)).values():
        assert not tensor.any()


def test_an_ia3_that_scales_elsewhere_adds_nothing_here(drawn, near):
    parts = [drawn.part("ia3", 0, targets=("key",)), drawn.part("ia3", 1, targets=("output",))]
    one, other = (drawn.added(part.method, part.tensors) for part in parts)
    expected = {name: 2.0 * tensor for name, tensor in one.items()} | {name: -tensor for name, tensor in other.items()}
    near(drawn.result("linear", parts, (2.0, -1.0)), expected)


def test_a_selection_takes_the_tensors_as_they_are(drawn):
    parts = drawn.parts("bottleneck", 3)
    merged = drawn.merge("select", parts, (0.0, 1.0, 0.0))
    assert all(merged.tensors[name] is tensor for name, tensor in parts[1].tensors.items()) and merged.facts == {}
