import inspect
import subprocess
import sys
from pathlib import Path

import adapters
import pytest
import torch
from pydantic import ValidationError

import xstilts
from xstilts.backbone import load_encoder
from xstilts.config import load_adapter
from xstilts.errors import XstiltsError
from xstilts.methods import Method, load_method, method_kinds

KINDS = ("bottleneck", "dora", "full", "head", "ia3", "lora")
MODULES = ("bottleneck", "dora", "ia3", "lora")  # kinds that add something to the encoder
SHAPES = {
    "bottleneck": {"where": "both", "reduction": 4},
    "dora": {"rank": 2, "targets": ("key", "output")},
    "ia3": {"targets": ("key", "output")},
    "lora": {"rank": 2, "targets": ("key", "output")},
}
TENSORS = {"bottleneck": 16, "dora": 12, "ia3": 4, "lora": 8}  # of these shapes, in two layers
CONFIGS = sorted((Path(__file__).parents[2] / "adapter_configs").glob("*.toml"))
SHIPPED = {  # tensors of the module on an encoder of two layers
    "dora_r8": 12,
    "full": 37,
    "head": 0,
    "houlsby_r16": 16,
    "ia3": 6,
    "lora_r8": 8,
    "lora_r8_rs": 8,
    "madx_r2": 16,
    "pfeiffer_r16": 8,
    "pfeiffer_r16_madx2": 4,
}
OUTPUT_SIDE = {
    "bottleneck": (".up.weight", ".up.bias"),
    "dora": (".lora_B", ".magnitude"),
    "ia3": (".scale",),
    "lora": (".lora_B",),
}


def attached(backbone, kind, *modules):
    method, encoder = load_method(kind), load_encoder(backbone)
    for module in modules:
        method.attach(encoder, module, method.Options.model_validate(SHAPES[kind]))
    return method, encoder


def output(encoder):
    with torch.inference_mode():
        return encoder.eval()(torch.tensor([[0, 5, 6, 7, 2]])).last_hidden_state


def scatter(encoder, names, seed=0):
    """Move every tensor of a module."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names.values():
            parameter = encoder.get_parameter(name)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)


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
    program += "import xstilts.fusion; print('torch' in sys.modules, 'transformers' in sys.modules)"
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
        ("bottleneck", {"where": "both", "leave_out": ("last",)}),
        ("bottleneck", {"where": "both", "inverse": True, "inverse_reduction": 0}),
        ("bottleneck", {"where": "both", "inverse_reduction": 4}),
        ("bottleneck", {"where": "both", "reads": "both"}),
        ("lora", {"rank": 0}),
        ("lora", {"alpha": 0.0}),
        ("lora", {"targets": ()}),
        ("lora", {"targets": ("querry",)}),
        ("dora", {"rank_stabilised": True}),
        ("dora", {"rank": 0}),
        ("ia3", {"targets": ()}),
        ("ia3", {"targets": ("query",)}),
        ("ia3", {"rank": 8}),
        ("full", {"rank": 8}),
        ("head", {"rank": 8}),
    ],
)
def test_impossible_options_are_refused(kind, options):
    with pytest.raises(ValidationError):
        load_method(kind).Options.model_validate(options)


def test_one_shape_is_written_in_one_way():
    """Options are part of the key."""
    options = load_method("bottleneck").Options
    assert options(where="output", reads="normalised") == options(where="output")
    assert options(where="both", reads="raw") == options(where="both")
    assert options(where="output", reads="raw") != options(where="output")
    assert options(where="output", leave_out=(3, -1, 0, 3)) == options(where="output", leave_out=(-1, 0, 3))


def test_starts_that_are_void_are_refused_with_a_reason():
    starts = ("cold", "warm", "stack", "fuse")
    refused = {(kind, start) for kind in KINDS for start in starts if load_method(kind).refuse(start)}
    fused = {(kind, "fuse") for kind in KINDS if kind != "bottleneck"}
    assert refused == {("full", "stack"), ("head", "warm"), ("head", "stack"), ("dora", "stack"), *fused}
    reasons = [load_method(kind).refuse(start) for kind, start in sorted(refused)]
    assert len(reasons) == 9 and all(len(reason.split()) > 8 and "{" not in reason for reason in reasons)


# ---------------------------------------------------------------------------------------------------- what is added


@pytest.mark.parametrize("kind", MODULES)
def test_stored_names_are_unique_and_free_of_the_modules_name(backbone, kind):
    modules = ("below1", "below10", "target")  # one name begins like another
    method, encoder = attached(backbone, kind, *modules)
    names = {module: method.names(encoder, module) for module in modules}
    assert all(list(found) == list(names["target"]) and len(found) == TENSORS[kind] for found in names.values())
    owned = [name for module in names.values() for name in module.values()]
    assert len(owned) == len(set(owned))
    assert all(module in parameter.split(".") for module, found in names.items() for parameter in found.values())
    libraries = ("target", "below", "adapter", "magnitude_vector", "ia3", "weight.weight")
    assert not any(word in stored for word in libraries for stored in names["target"])


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("bottleneck", {"where": "attention"}, {"attention.output.down.weight", "attention.output.up.bias"}),
        ("bottleneck", {"where": "output"}, {"output.down.weight", "output.down.bias", "output.up.weight"}),
        ("lora", {}, {"attention.self.query.lora_A", "attention.self.value.lora_B"}),
        ("dora", {}, {"attention.self.query.lora_A", "attention.self.value.magnitude"}),
        ("ia3", {}, {"attention.self.key.scale", "attention.self.value.scale", "output.dense.scale"}),
    ],
)
def test_stored_names_are_the_agreed_ones(backbone, kind, options, expected):
    method, encoder = load_method(kind), load_encoder(backbone)
    method.attach(encoder, "target", method.Options.model_validate(options))
    assert {f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in expected} <= set(
        method.names(encoder, "target")
    )


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_names_are_exactly_what_was_added_and_the_backbone_keeps_its_own(backbone, kind, inverse):
    """Attaching wraps layers, but the very same parameters go on living in them."""
    method, encoder = load_method(kind), load_encoder(backbone)
    options = SHAPES[kind] | ({"inverse": True} if inverse and kind == "bottleneck" else {})
    before = {id(parameter): parameter.detach().clone() for parameter in encoder.parameters()}
    method.attach(encoder, "target", method.Options.model_validate(options))
    method.initialise(encoder, "target")
    after = dict(encoder.named_parameters())
    added = {name for name, parameter in after.items() if id(parameter) not in before}
    assert added == set(method.names(encoder, "target").values())
    kept = {id(parameter): parameter for name, parameter in after.items() if name not in added}
    assert kept.keys() == before.keys() and all(torch.equal(kept[number], before[number]) for number in before)


@pytest.mark.parametrize("kind", MODULES)
def test_the_backbone_is_unchanged_however_often_modules_are_exchanged(backbone, kind):
    """The adapters library's DoRA leaves its changes in the weights."""
    method, encoder = attached(backbone, kind, "a", "b")
    bare = output(load_encoder(backbone))
    own = {id(encoder.get_parameter(name)) for module in "ab" for name in method.names(encoder, module).values()}
    before = [(p, p.detach().clone()) for p in encoder.parameters() if id(p) not in own]
    for module in "ab":
        scatter(encoder, method.names(encoder, module))
    seen = []
    for chain in ([("a",)], [("b",)], [("a",)]):
        method.activate(encoder, chain)
        seen.append(output(encoder))
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], bare)
    method.initialise(encoder, "b")
    method.activate(encoder, [("b",)])
    assert torch.equal(output(encoder), bare)
    assert len(before) == 37 and all(torch.equal(parameter, value) for parameter, value in before)


@pytest.mark.parametrize("kind", MODULES)
def test_initial_weights_depend_on_the_generator_alone(backbone, kind):
    drawn = []
    for others in ((), ("x", "y")):
        method, encoder = attached(backbone, kind, *others, "target")
        torch.manual_seed(3)
        method.initialise(encoder, "target")
        drawn.append([encoder.get_parameter(name).clone() for name in method.names(encoder, "target").values()])
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


@pytest.mark.parametrize("kind", MODULES)
def test_tensors_carry_a_module_into_another_encoder(backbone, kind):
    """By their stored names, whatever the module is called and whatever else is attached."""
    method, encoder = attached(backbone, kind, "a")
    scatter(encoder, method.names(encoder, "a"))
    method.activate(encoder, [("a",)])
    stored = {name: encoder.get_parameter(owned) for name, owned in method.names(encoder, "a").items()}
    _, other = attached(backbone, kind, "x", "twin")
    assert method.names(other, "twin").keys() == stored.keys()
    with torch.no_grad():
        for name, owned in method.names(other, "twin").items():
            other.get_parameter(owned).copy_(stored[name])
    method.activate(other, [("twin",)])
    assert torch.equal(output(other), output(encoder))


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_a_fresh_module_learns_from_its_output_side_first(backbone, kind, inverse):
    """Zero there, so nothing else gets a gradient in the first step, and everything does in the second."""
    method, encoder = load_method(kind), load_encoder(backbone)
    options = SHAPES[kind] | ({"inverse": True} if inverse and kind == "bottleneck" else {})
    method.attach(encoder, "target", method.Options.model_validate(options))
    method.activate(encoder, [("target",)])
    method.initialise(encoder, "target")
    parameters = {stored: encoder.get_parameter(name) for stored, name in method.names(encoder, "target").items()}
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    target = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    written = (*OUTPUT_SIDE[kind], ".2.weight", ".2.bias")
    for step in range(2):
        hidden = encoder(torch.tensor([[0, 5, 6, 7, 2]])).last_hidden_state
        (hidden * target).sum().backward()
        moved = {stored for stored, parameter in parameters.items() if parameter.grad.any()}
        assert moved == {stored for stored in parameters if step == 1 or stored.endswith(written)}
        with torch.no_grad():
            for parameter in parameters.values():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None


@pytest.mark.parametrize("kind", ["bottleneck", "ia3", "lora"])
def test_only_the_module_above_learns(backbone, kind):
    method, encoder = attached(backbone, kind, "below", "target")
    for seed, module in enumerate(("below", "target")):
        scatter(encoder, method.names(encoder, module), seed)
    method.activate(encoder, [("below",), ("target",)])
    own = set(method.names(encoder, "target").values())
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name in own)
    encoder(torch.tensor([[0, 5, 6, 7, 2]])).last_hidden_state.square().mul(torch.arange(32)).sum().backward()
    assert {name for name, parameter in encoder.named_parameters() if parameter.grad is not None} == own
    assert all(encoder.get_parameter(name).grad.any() for name in own)


# ------------------------------------------------------------------------------------------- one library per encoder


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for kind in MODULES[1:] for pair in (("bottleneck", kind), (kind, "bottleneck"))],
)
def test_one_encoder_carries_modules_of_one_library(backbone, first, second):
    """``adapters`` on top of ``peft`` takes the other's modules away without a word."""
    method, encoder = attached(backbone, first, "a")
    scatter(encoder, method.names(encoder, "a"))
    method.activate(encoder, [("a",)])
    before = output(encoder)
    other = load_method(second)
    with pytest.raises(XstiltsError, match=r"carries modules of the library (peft|adapters)"):
        other.attach(encoder, "b", other.Options.model_validate(SHAPES[second]))
    assert torch.equal(output(encoder), before) and len(method.names(encoder, "a")) == TENSORS[first]


def test_what_the_refusal_prevents(backbone):
    """If this fails, the library has mended it."""
    method, encoder = attached(backbone, "lora", "a")
    scatter(encoder, method.names(encoder, "a"))
    adapters.init(encoder)
    assert len(method.names(encoder, "a")) < TENSORS["lora"]


def test_nothing_averages_outputs():
    """``adapters.Average`` divides by the number of modules twice; merging is done on weights."""
    files = list(Path(xstilts.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    assert not [path for path in files if "adapters.Average" in path.read_text(encoding="utf-8")]


# ----------------------------------------------------------------------------------------------- what is shipped


def test_every_kind_is_shipped():
    assert [path.stem for path in CONFIGS] == list(SHIPPED)
    assert {load_adapter(path).kind for path in CONFIGS} == set(KINDS)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_keeps_what_is_not_the_default_and_begins_as_the_identity(backbone, path):
    config = load_adapter(path)
    method, encoder = load_method(config.kind), load_encoder(backbone)
    options = method.Options.model_validate(config.options)
    assert options.model_dump(exclude_defaults=True) == config.options
    bare = output(encoder)
    method.attach(encoder, "target", options)
    method.activate(encoder, [("target",)])
    method.initialise(encoder, "target")
    assert torch.equal(output(encoder), bare)
    assert len(method.names(encoder, "target")) == SHIPPED[path.stem]
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_only_what_differs_from_the_defaults_is_part_of_the_key():
    found = {path.stem: load_adapter(path).options for path in CONFIGS}
    assert found["lora_r8"] == found["dora_r8"] == found["ia3"] == {}
    assert found["lora_r8_rs"] == {"rank_stabilised": True}
    assert found["pfeiffer_r16"] == {"where": "output"}
    assert found["pfeiffer_r16_madx2"] == {"where": "output", "leave_out": (-1,)}
    assert found["madx_r2"] == {"where": "output", "reduction": 2, "inverse": True}


# ----------------------------------------------------------------------------------------------- full size, no weights


@pytest.mark.parametrize(
    ("kind", "shape", "base", "large"),
    [
        ("bottleneck", {"where": "output", "reduction": 16}, 894_528, 3_171_840),
        ("bottleneck", {"where": "output", "reduction": 2, "inverse": True}, 7_387_776, 25_728_512),
        ("lora", {"rank": 8}, 294_912, 786_432),
        ("dora", {"rank": 8}, 294_912 + 12 * 2 * 768, 786_432 + 24 * 2 * 1024),
        ("ia3", {}, 12 * (2 * 768 + 3072), 24 * (2 * 1024 + 4096)),
    ],
)
def test_sizes_are_those_of_published_modules(kind, shape, base, large):
    from transformers import XLMRobertaConfig, XLMRobertaModel

    method = load_method(kind)
    for layers, hidden, expected in ((12, 768, base), (24, 1024, large)):
        with torch.device("meta"):
            config = XLMRobertaConfig(
                num_hidden_layers=layers, hidden_size=hidden, intermediate_size=4 * hidden, num_attention_heads=16
            )
            encoder = XLMRobertaModel(config, add_pooling_layer=False)
            method.attach(encoder, "target", method.Options.model_validate(shape))
        owned = method.names(encoder, "target").values()
        assert sum(encoder.get_parameter(name).numel() for name in owned) == expected
