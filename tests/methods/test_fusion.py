"""AdapterFusion as a thing that is attached, trained and stored; what it computes: ``test_formulas.py``."""

import pytest
import torch

from xstilts import fusion
from xstilts.backbone import load_encoder
from xstilts.errors import XstiltsError
from xstilts.methods import load_method

IDS = torch.tensor([[0, 5, 6, 7, 2]])


def fused(backbone, *modules, **options):
    """An encoder with a fresh fusion over modules, and a fresh module above."""
    method, encoder = load_method("bottleneck"), load_encoder(backbone)
    for module in (*modules, "target"):
        method.attach(encoder, module, method.Options(**{"where": "output", "reduction": 4, **options}))
        method.initialise(encoder, module)
    fusion.attach(encoder, modules)
    fusion.initialise(encoder, modules)
    method.activate(encoder, [modules, ("target",)])
    return method, encoder


def parts(where="output", layers=(0, 1)):
    kinds = ("query.weight", "query.bias", "key.weight", "key.bias", "value.weight")
    return {f"encoder.layer.{layer}.{where}.fusion.{kind}" for layer in layers for kind in kinds}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, parts()),
        ({"where": "both"}, parts() | parts("attention.output")),
        ({"leave_out": (-1,)}, parts(layers=(0,))),
    ],
)
def test_names_are_exactly_what_was_added(backbone, options, expected):
    """Also where the library would add attention that is never used."""
    method, encoder = load_method("bottleneck"), load_encoder(backbone)
    for module in ("a", "b"):
        method.attach(encoder, module, method.Options(**{"where": "output", **options}))
    before = {name for name, _ in encoder.named_parameters()}
    fusion.attach(encoder, ("a", "b"))
    names = fusion.names(encoder, ("a", "b"))
    assert set(names) == expected
    assert set(names.values()) == {name for name, _ in encoder.named_parameters()} - before
    assert not set(names.values()) & {name for module in "ab" for name in method.names(encoder, module).values()}


def test_it_begins_with_value_as_the_identity_and_depends_on_the_generator_alone(backbone):
    drawn = []
    for others in (("a", "b"), ("x", "y", "z")):
        _, encoder = fused(backbone, *others)
        torch.manual_seed(3)
        fusion.initialise(encoder, others)
        names = fusion.names(encoder, others)
        drawn.append({stored: encoder.get_parameter(name).detach() for stored, name in names.items()})
    assert all(torch.equal(drawn[0][stored], drawn[1][stored]) for stored in drawn[0])
    for stored, parameter in drawn[0].items():
        if stored.endswith("value.weight"):
            assert torch.equal(parameter, torch.eye(32))
        elif stored.endswith("bias"):
            assert not parameter.any()
        else:
            assert 0.015 < float(parameter.std()) < 0.025


def test_the_penalty_is_the_distance_of_the_values_from_the_identity(backbone):
    _, encoder = fused(backbone, "a", "b")
    assert fusion.penalty(encoder, ("a", "b")).item() == 0
    names = fusion.names(encoder, ("a", "b"))
    expected = 0.0
    with torch.no_grad():
        for stored, name in names.items():
            encoder.get_parameter(name).normal_()
            if stored.endswith("value.weight"):
                distance = encoder.get_parameter(name).double().numpy() - torch.eye(32).double().numpy()
                expected += float((distance**2).sum())
    found = fusion.penalty(encoder, ("a", "b"))
    assert found.shape == () and found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    moved = {stored for stored, name in names.items() if encoder.get_parameter(name).grad is not None}
    assert moved == {stored for stored in names if stored.endswith("value.weight")}


def test_only_the_fusion_and_the_module_above_learn(backbone):
    method, encoder = fused(backbone, "a", "b")
    own = {*fusion.names(encoder, ("a", "b")).values(), *method.names(encoder, "target").values()}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if ".adapters." in name:
                parameter.normal_(0, 0.3, generator=generator)
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name in own)
    encoder(IDS).last_hidden_state.square().mul(torch.arange(32)).sum().backward()
    assert {name for name, parameter in encoder.named_parameters() if parameter.grad is not None} == own
    still = {name for name in own if not encoder.get_parameter(name).grad.abs().gt(1e-9).any()}
    assert all(name.endswith("key.bias") for name in still)  # it moves all scores alike, and so no weight


def test_tensors_carry_a_fusion_into_another_encoder(backbone):
    _, encoder = fused(backbone, "a", "b")
    _, other = fused(backbone, "x", "y")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for (name, parameter), twin in zip(encoder.named_parameters(), other.parameters(), strict=True):
            if ".adapters." in name:
                parameter.normal_(0, 0.3, generator=generator)
                twin.copy_(parameter)
        before = encoder.eval()(IDS).last_hidden_state
        assert not torch.equal(other.eval()(IDS).last_hidden_state, before)
        names = fusion.names(encoder, ("a", "b"))
        for stored, name in fusion.names(other, ("x", "y")).items():
            other.get_parameter(name).copy_(encoder.get_parameter(names[stored]))
        assert torch.equal(other(IDS).last_hidden_state, before)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"where": "both"}, {"where": "output"}, "same places"),
        ({"where": "attention"}, {"where": "output"}, "same places"),
        ({"where": "output", "leave_out": (0,)}, {"where": "output"}, "same places"),
        ({"where": "output", "leave_out": (0,)}, {"where": "output", "leave_out": (-1,)}, "same places"),
        ({"where": "output", "reads": "raw"}, {"where": "output"}, "read the same"),
        ({"where": "output", "inverse": True}, {"where": "output"}, "inverse"),
        ({"where": "output"}, {"where": "output", "inverse": True}, "inverse"),
    ],
)
def test_modules_that_cannot_be_fused_are_refused(backbone, first, second, message):
    method, encoder = load_method("bottleneck"), load_encoder(backbone)
    for name, options in (("a", first), ("b", second)):
        method.attach(encoder, name, method.Options(**options))
    before = {name for name, _ in encoder.named_parameters()}
    with pytest.raises(XstiltsError, match=message):
        fusion.attach(encoder, ("a", "b"))
    assert {name for name, _ in encoder.named_parameters()} == before
