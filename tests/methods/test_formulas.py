"""Every method against its paper's formula, on an XLM-R that is written out here in float64."""

import math

import adapters
import pytest
import torch

from xstilts import fusion
from xstilts.backbone import load_encoder
from xstilts.methods import load_method

IDS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 11, 4, 12, 2]])
EXACT, MOVED = 1e-9, 1e-2  # in float64
ACTIVATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "swish": lambda x: x / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1),
    "leakyrelu": lambda x: torch.where(x > 0, x, 0.01 * x),
}
SHAPES = {
    "pfeiffer": ("bottleneck", {"where": "output", "reduction": 4}),
    "houlsby": ("bottleneck", {"where": "both", "reduction": 4, "non_linearity": "swish"}),
    "attention": ("bottleneck", {"where": "attention", "reduction": 8, "non_linearity": "tanh"}),
    "gelu": ("bottleneck", {"where": "output", "non_linearity": "gelu"}),
    "gelu_new": ("bottleneck", {"where": "output", "non_linearity": "gelu_new", "reduction": 3}),
    "leakyrelu": ("bottleneck", {"where": "both", "non_linearity": "leakyrelu"}),
    "raw": ("bottleneck", {"where": "output", "reads": "raw", "reduction": 4}),
    "normalised": ("bottleneck", {"where": "both", "reads": "normalised", "reduction": 4}),
    "last left out": ("bottleneck", {"where": "output", "leave_out": (-1,), "reduction": 4}),
    "first left out": ("bottleneck", {"where": "both", "leave_out": (0,), "reduction": 4}),
    "inverse": ("bottleneck", {"where": "output", "inverse": True, "reduction": 2, "non_linearity": "gelu"}),
    "inverse, reduced": ("bottleneck", {"where": "both", "inverse": True, "inverse_reduction": 5, "leave_out": (1,)}),
    "lora": ("lora", {"rank": 2, "alpha": 6.0}),
    "lora everywhere": (
        "lora",
        {"rank": 3, "targets": ("query", "key", "value", "attention_output", "intermediate", "output")},
    ),
    "rslora": ("lora", {"rank": 4, "alpha": 3.0, "rank_stabilised": True}),
    "dora": ("dora", {"rank": 2, "alpha": 6.0}),
    "dora everywhere": (
        "dora",
        {"rank": 3, "targets": ("query", "key", "value", "attention_output", "intermediate", "output")},
    ),
    "ia3": ("ia3", {}),
    "ia3 as in peft": ("ia3", {"targets": ("key", "value", "output", "attention_output")}),
}
CHAINED = [name for name, (kind, options) in SHAPES.items() if kind != "dora" and not options.get("inverse")]


class Plain:
    """XLM-R, with the places at which methods act."""

    def __init__(self, encoder):
        self.weights = {name: tensor.double() for name, tensor in encoder.state_dict().items()}
        self.config = encoder.config

    def embedded(self, x):
        return x

    def linear(self, path, x):
        return x @ self.weights[f"{path}.weight"].T + self.weights[f"{path}.bias"]

    def after(self, place, x, residual):
        return self.norm(place, x + residual)

    def norm(self, place, x):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + self.config.layer_norm_eps).sqrt()
        return x * self.weights[f"{place}.LayerNorm.weight"] + self.weights[f"{place}.LayerNorm.bias"]

    def __call__(self, ids):
        embeddings = {
            kind: self.weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
        }
        positions = torch.arange(ids.shape[1]) + 2
        x = embeddings["word"][ids] + embeddings["position"][positions] + embeddings["token_type"][0]
        x = self.embedded(self.norm("embeddings", x))
        for layer in range(self.config.num_hidden_layers):
            path = f"encoder.layer.{layer}"
            x = self.after(f"{path}.attention.output", self.attention(path, x), x)
            inner = ACTIVATIONS["gelu"](self.linear(f"{path}.intermediate.dense", x))
            x = self.after(f"{path}.output", self.linear(f"{path}.output.dense", inner), x)
        return x

    def attention(self, path, x):
        query, key, value = (
            self.linear(f"{path}.attention.self.{name}", x).unflatten(-1, (self.config.num_attention_heads, -1))
            for name in ("query", "key", "value")
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
        mixed = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value)
        return self.linear(f"{path}.attention.output.dense", mixed.flatten(2))


class Bottlenecks(Plain):
    """A chain of blocks: ``(options, tensors)``, or ``([(options, tensors), …], tensors of the fusion)``."""

    def __init__(self, encoder, *modules):
        super().__init__(encoder)
        self.blocks = [block if isinstance(block[0], list) else ([block], None) for block in modules]

    def embedded(self, x):
        options, tensors = self.blocks[0][0][0]
        if not options.inverse:
            return x

        def subnet(letter, half):
            return bottleneck(tensors, f"inverse.{letter}.0", f"inverse.{letter}.2", options, half)

        first, second = x.chunk(2, dim=-1)
        first = first + subnet("F", second)
        return torch.cat([first, second + subnet("G", first)], dim=-1)

    def after(self, place, x, residual):
        for modules, fused in self.blocks:
            here = [module for module in modules if f"{place}.down.weight" in module[1]]
            if not here:
                continue
            options = here[0][0]
            normalised = (options.reads or ("normalised" if options.where == "output" else "raw")) == "normalised"
            read = self.norm(place, x + residual) if normalised else x
            added = [bottleneck(tensors, f"{place}.down", f"{place}.up", own, read) for own, tensors in here]
            x = x + (added[0] if fused is None else self.fuse(place, fused, read, torch.stack(added, dim=-2)))
        return self.norm(place, x + residual)

    def fuse(self, place, fused, read, added):
        query = read @ fused[f"{place}.fusion.query.weight"].T + fused[f"{place}.fusion.query.bias"]
        key = added @ fused[f"{place}.fusion.key.weight"].T + fused[f"{place}.fusion.key.bias"]
        weights = torch.einsum("bth,btnh->btn", query, key).softmax(-1)
        return torch.einsum("btn,btnh->bth", weights, added @ fused[f"{place}.fusion.value.weight"].T)


def bottleneck(tensors, down, up, options, x):
    x = x @ tensors[f"{down}.weight"].T + tensors[f"{down}.bias"]
    return ACTIVATIONS[options.non_linearity](x) @ tensors[f"{up}.weight"].T + tensors[f"{up}.bias"]


class LowRank(Plain):
    """LoRA, rsLoRA, and DoRA where there is a magnitude."""

    def __init__(self, encoder, *modules):
        super().__init__(encoder)
        self.modules = modules

    def linear(self, path, x):
        weight = self.weights[f"{path}.weight"]
        for options, tensors in self.modules:
            if f"{path}.lora_A" not in tensors:
                continue
            root = math.sqrt(options.rank) if getattr(options, "rank_stabilised", False) else options.rank
            weight = weight + options.alpha / root * (tensors[f"{path}.lora_B"] @ tensors[f"{path}.lora_A"])
            if f"{path}.magnitude" in tensors:
                length = weight.square().sum(1, keepdim=True).sqrt()
                weight = tensors[f"{path}.magnitude"][:, None] * weight / length
        return x @ weight.T + self.weights[f"{path}.bias"]


class Scales(Plain):
    """(IA)³."""

    def __init__(self, encoder, *modules):
        super().__init__(encoder)
        self.modules = modules

    def linear(self, path, x):
        scale = torch.ones((), dtype=torch.float64)
        for _, tensors in self.modules:
            scale = scale * tensors.get(f"{path}.scale", scale).flatten()
        if path.endswith("output.dense"):
            return super().linear(path, x * scale)
        return super().linear(path, x) * scale


ORACLES = {"bottleneck": Bottlenecks, "lora": LowRank, "dora": LowRank, "ia3": Scales}


def carrying(backbone, shape, *modules):
    """An encoder with modules of a shape and random weights; their method; the options and tensors of each."""
    encoder = load_encoder(backbone)
    kind, options = SHAPES[shape]
    method = load_method(kind)
    chosen = method.Options.model_validate(options)
    for module in modules:
        method.attach(encoder, module, chosen)
    tensors = [fill(encoder, method.names(encoder, module), seed) for seed, module in enumerate(modules, start=1)]
    return encoder, method, [(chosen, each) for each in tensors]


def fill(encoder, names, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    with torch.no_grad():
        for stored, name in names.items():
            parameter = encoder.get_parameter(name)
            drawn = 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter * (1 + drawn) if stored.endswith((".scale", ".magnitude")) else drawn)
            tensors[stored] = parameter.detach().double()
    return tensors


def output(encoder):
    with torch.inference_mode():
        return encoder.eval()(IDS).last_hidden_state


def distance(encoder, oracle):
    """Largest difference between an encoder, which is made float64, and its formula."""
    return float((output(encoder.double()) - oracle(IDS)).abs().max())


def test_shapes_cover_every_kind_and_non_linearity():
    assert len(SHAPES) == 19 and len(CHAINED) == 15
    bottlenecks = [load_method(kind).Options(**options) for kind, options in SHAPES.values() if kind == "bottleneck"]
    assert {each.non_linearity for each in bottlenecks} == set(ACTIVATIONS)
    assert {each.where for each in bottlenecks} == {"output", "attention", "both"}
    field = load_method("bottleneck").Options.model_fields["non_linearity"]
    assert set(field.annotation.__args__) == set(ACTIVATIONS)


def test_the_plain_encoder_is_the_encoder(backbone):
    encoder = load_encoder(backbone)
    assert distance(encoder, Plain(encoder)) < EXACT


@pytest.mark.parametrize("shape", SHAPES)
def test_a_module_computes_its_formula(backbone, shape):
    plain = load_encoder(backbone)
    encoder, method, (module,) = carrying(backbone, shape, "a")
    method.activate(encoder, [("a",)])
    assert distance(encoder, ORACLES[SHAPES[shape][0]](plain, module)) < EXACT
    assert distance(encoder, Plain(plain)) > MOVED


@pytest.mark.parametrize("shape", CHAINED)
def test_a_chain_computes_its_formula_in_its_order(backbone, shape):
    """Order matters for chains of bottlenecks, and not for the sums of LoRA and the products of (IA)³."""
    kind, plain = SHAPES[shape][0], load_encoder(backbone)
    encoder, method, modules = carrying(backbone, shape, "a", "b", "c")
    method.activate(encoder, [("a",), ("b",), ("c",)])
    assert distance(encoder, ORACLES[kind](plain, *modules)) < EXACT
    turned = ORACLES[kind](plain, *modules[::-1])
    method.activate(encoder, [("c",), ("b",), ("a",)])
    assert distance(encoder, turned) < EXACT
    method.activate(encoder, [("a",), ("b",), ("c",)])
    assert distance(encoder, turned) > MOVED if kind == "bottleneck" else distance(encoder, turned) < EXACT


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fresh_module_is_the_identity_bit_for_bit(backbone, shape):
    bare = output(load_encoder(backbone))
    encoder, method, _ = carrying(backbone, shape, "a")
    method.activate(encoder, [("a",)])
    assert not torch.equal(output(encoder), bare)
    method.initialise(encoder, "a")
    assert torch.equal(output(encoder), bare)


@pytest.mark.parametrize("shape", CHAINED)
def test_a_fresh_module_on_a_trained_one_is_the_trained_one_bit_for_bit(backbone, shape):
    """Two of LoRA in the library's own stack are the bare backbone: what was trained is gone."""
    encoder, method, _ = carrying(backbone, shape, "a", "b")
    method.initialise(encoder, "b")
    method.activate(encoder, [("a",)])
    alone = output(encoder)
    method.activate(encoder, [("a",), ("b",)])
    assert torch.equal(output(encoder), alone)
    assert not torch.equal(alone, output(load_encoder(backbone)))


def test_language_and_task(backbone):
    """The lowest module's inverse block is on the embeddings, once, and the task's module above."""
    plain = load_encoder(backbone)
    encoder, method, (language,) = carrying(backbone, "inverse", "language")
    options = method.Options(where="output", reduction=4)
    method.attach(encoder, "task", options)
    task = (options, fill(encoder, method.names(encoder, "task"), seed=9))
    method.activate(encoder, [("language",), ("task",)])
    assert distance(encoder, Bottlenecks(plain, language, task)) < EXACT
    method.activate(encoder, [("task",)])
    assert distance(encoder, Bottlenecks(plain, task)) < EXACT


def test_dora_does_not_add_up_and_so_is_not_stacked(backbone):
    """Why the start is refused: order matters, and the result is not one DoRA on top of the other's weights."""
    plain = load_encoder(backbone)
    encoder, method, modules = carrying(backbone, "dora", "a", "b")
    method.activate(encoder, [("a",), ("b",)])
    assert distance(encoder, LowRank(plain, *modules)) > MOVED
    one = output(encoder)
    method.activate(encoder, [("b",), ("a",)])
    assert float((output(encoder) - one).abs().max()) > MOVED
    assert "do not add up" in method.refuse("stack")


# --------------------------------------------------------------------------------------------------------- fusion


@pytest.mark.parametrize("shape", ["pfeiffer", "houlsby", "attention", "raw", "normalised", "last left out"])
@pytest.mark.parametrize("setting", ["alone", "on a language module", "below a module", "in between"])
def test_a_fusion_computes_its_formula(backbone, shape, setting):
    plain = load_encoder(backbone)
    encoder, method, modules = carrying(backbone, shape, "a", "b", "c", "below", "above")
    fusion.attach(encoder, ("a", "b", "c"))
    fused = ([*modules[:3]], fill(encoder, fusion.names(encoder, ("a", "b", "c")), seed=7))
    below, above = setting in ("on a language module", "in between"), setting in ("below a module", "in between")
    chain = [("below",)] * below + [("a", "b", "c")] + [("above",)] * above
    method.activate(encoder, chain)
    assert distance(encoder, Bottlenecks(plain, *[modules[3]] * below, fused, *[modules[4]] * above)) < EXACT
    turned = Bottlenecks(plain, *[modules[4]] * above, fused, *[modules[3]] * below)
    assert setting == "alone" or distance(encoder, turned) > MOVED


def test_a_fusion_of_different_sizes_and_activations(backbone):
    plain, encoder, method = load_encoder(backbone), load_encoder(backbone), load_method("bottleneck")
    modules = []
    for seed, (name, options) in enumerate(
        {"a": {"reduction": 4}, "b": {"reduction": 16, "non_linearity": "tanh"}}.items()
    ):
        chosen = method.Options(where="output", **options)
        method.attach(encoder, name, chosen)
        modules.append((chosen, fill(encoder, method.names(encoder, name), seed)))
    fusion.attach(encoder, ("a", "b"))
    fused = (modules, fill(encoder, fusion.names(encoder, ("a", "b")), seed=7))
    method.activate(encoder, [("a", "b")])
    assert distance(encoder, Bottlenecks(plain, fused)) < EXACT


@pytest.mark.parametrize("shape", ["pfeiffer", "houlsby", "raw", "last left out"])
def test_a_fresh_fusion_over_one_module_is_that_module_bit_for_bit(backbone, shape):
    encoder, method, _ = carrying(backbone, shape, "a")
    method.activate(encoder, [("a",)])
    alone = output(encoder)
    fusion.attach(encoder, ("a",))
    fusion.initialise(encoder, ("a",))
    method.activate(encoder, [("a",)])
    assert isinstance(encoder.adapters_config.active_setup[0], adapters.Fuse)
    assert torch.equal(output(encoder), alone)
    fill(encoder, fusion.names(encoder, ("a",)), seed=3)
    assert not torch.equal(output(encoder), alone)


def test_a_fresh_fusion_over_copies_is_that_module(backbone):
    encoder, method, _ = carrying(backbone, "pfeiffer", "a", "b")
    with torch.no_grad():
        for one, other in zip(*(method.names(encoder, name).values() for name in "ab"), strict=True):
            encoder.get_parameter(other).copy_(encoder.get_parameter(one))
    method.activate(encoder, [("a",)])
    alone = output(encoder)
    fusion.attach(encoder, ("a", "b"))
    fusion.initialise(encoder, ("a", "b"))
    method.activate(encoder, [("a", "b")])
    assert torch.allclose(output(encoder), alone, atol=1e-6)
