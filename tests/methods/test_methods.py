import inspect
import subprocess
import sys

import adapters
import pytest
import torch
from pydantic import ValidationError

from xstilts.backbone import load_encoder
from xstilts.errors import XstiltsError
from xstilts.methods import Method, load_method, method_kinds

KINDS = ("bottleneck", "full", "head", "lora")
SHAPES = {"bottleneck": {"where": "both", "reduction": 4}, "lora": {"rank": 2, "targets": ("key", "output")}}


def test_the_kinds_are_the_files():
    assert method_kinds() == KINDS
    with pytest.raises(XstiltsError, match="unknown adapter kind; given 'bottelneck', did you mean 'bottleneck'"):
        load_method("bottelneck")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_provides_the_protocol(kind):
    method = load_method(kind)
    functions = {name: member for name, member in inspect.getmembers(Method, inspect.isfunction) if name[0] != "_"}
    assert set(functions) == {"refuse", "attach", "initialise", "activate", "names"}
    for name, declared in functions.items():
        here = inspect.signature(getattr(method, name))
        assert list(here.parameters) == list(inspect.signature(declared).parameters)[1:], f"{kind}.{name}"
    assert method.Options.model_config["extra"] == "forbid" and method.Options.model_config["frozen"]


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_validated_without_torch(kind):
    program = f"import sys; from xstilts.methods import load_method; load_method({kind!r}).refuse('cold'); "
    program += "print('torch' in sys.modules, 'transformers' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bottleneck", {}),
        ("bottleneck", {"where": "input"}),
        ("bottleneck", {"where": "both", "reduction": 0}),
        ("bottleneck", {"where": "both", "reduction": 2.5}),
        ("bottleneck", {"where": "both", "non_linearity": "evil.function"}),
        ("bottleneck", {"where": "both", "dropout": 1.0}),
        ("lora", {"rank": 0}),
        ("lora", {"alpha": 0.0}),
        ("lora", {"targets": ()}),
        ("lora", {"targets": ("querry",)}),
        ("full", {"rank": 8}),
        ("head", {"rank": 8}),
    ],
)
def test_impossible_options_are_refused(kind, options):
    with pytest.raises(ValidationError):
        load_method(kind).Options.model_validate(options)


def test_starts_that_are_void_are_refused_with_a_reason():
    refused = {
        (kind, start) for kind in KINDS for start in ("cold", "warm", "stack") if load_method(kind).refuse(start)
    }
    assert refused == {("full", "stack"), ("head", "warm"), ("head", "stack")}


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
def test_stored_names_are_unique_and_free_of_the_modules_name(backbone, kind):
    method, encoder = load_method(kind), load_encoder(backbone)
    options = method.Options.model_validate(SHAPES[kind])
    for module in ("below0", "below1", "target"):
        method.attach(encoder, module, options)
    names = {module: method.names(encoder, module) for module in ("below0", "below1", "target")}
    assert (
        names["below0"].keys() == names["target"].keys() and len(names["target"]) == {"bottleneck": 16, "lora": 8}[kind]
    )
    owned = [name for module in names.values() for name in module.values()]
    assert len(owned) == len(set(owned))
    assert all(module in parameter for module, found in names.items() for parameter in found.values())
    assert not any("target" in stored or "below" in stored for stored in names["target"])


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
def test_the_backbone_keeps_its_own_parameters(backbone, kind):
    """Attaching wraps layers, but the very same parameters go on living in them."""
    method, encoder = load_method(kind), load_encoder(backbone)
    before = {id(parameter) for parameter in encoder.parameters()}
    values = {id(parameter): parameter.detach().clone() for parameter in encoder.parameters()}
    method.attach(encoder, "target", method.Options.model_validate(SHAPES[kind]))
    method.initialise(encoder, "target")
    after = {id(parameter): parameter for parameter in encoder.parameters()}
    assert before < set(after) and len(after) - len(before) == len(method.names(encoder, "target"))
    assert all(torch.equal(after[number], values[number]) for number in before)


@pytest.mark.parametrize(
    ("where", "non_linearity", "published"), [("output", "relu", "seq_bn"), ("both", "swish", "double_seq_bn")]
)
def test_bottlenecks_are_the_published_ones(backbone, where, non_linearity, published):
    """But for the initial weights, which are ours."""
    method, encoder = load_method("bottleneck"), load_encoder(backbone)
    options = method.Options(where=where, reduction=16, non_linearity=non_linearity)
    method.attach(encoder, "target", options)
    ours = encoder.adapters_config.get("target").to_dict()
    theirs = adapters.AdapterConfig.load(published).to_dict()
    differing = {name for name in theirs if ours[name] != theirs[name]}
    assert differing <= {"architecture"}, {name: (ours[name], theirs[name]) for name in differing}


@pytest.mark.parametrize(("kind", "output"), [("bottleneck", (".up.weight", ".up.bias")), ("lora", (".lora_B",))])
def test_a_fresh_module_learns_from_its_output_side_first(backbone, kind, output):
    """Zero there, so nothing else gets a gradient in the first step, and everything does in the second."""
    method, encoder = load_method(kind), load_encoder(backbone)
    method.attach(encoder, "target", method.Options.model_validate(SHAPES[kind]))
    method.activate(encoder, ("target",))
    method.initialise(encoder, "target")
    parameters = {stored: encoder.get_parameter(name) for stored, name in method.names(encoder, "target").items()}
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    target = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    for step in range(2):
        hidden = encoder(torch.tensor([[0, 5, 6, 7, 2]])).last_hidden_state
        (hidden * target).sum().backward()
        moved = {stored for stored, parameter in parameters.items() if parameter.grad.any()}
        assert moved == {stored for stored in parameters if step == 1 or stored.endswith(output)}
        with torch.no_grad():
            for parameter in parameters.values():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
