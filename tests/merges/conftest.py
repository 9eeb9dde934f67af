"""Random modules of every method, by themselves and on an encoder."""

import pytest
import torch

from xstilts.backbone import load_encoder
from xstilts.merges import Part, load_merge
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig

MAPS = {"query": (8, 8), "output": (8, 12)}  # name → (outputs, inputs), in each of two layers
PATHS = {"query": "attention.self.query", "output": "output.dense"}
SHAPES = {
    "bottleneck": {"where": "output", "reduction": 4, "inverse": True},
    "lora": {"rank": 3, "alpha": 5.0, "targets": ("query", "output")},
    "ia3": {"targets": ("key", "output")},
    "dora": {"rank": 3, "targets": ("query",)},
}


def _tensors(kind: str, options: dict) -> dict[str, tuple[int, ...]]:
    """Stored name → shape, of an encoder of two layers and hidden size 8."""
    layers = [f"encoder.layer.{layer}." for layer in range(2)]
    if kind == "full":
        return {"embeddings.word_embeddings.weight": (20, 8), "encoder.layer.0.output.dense.bias": (8,)}
    if kind == "lora":
        shapes = {}
        for name in (layer + target for layer in layers for target in options["targets"]):
            prefix, _, target = name.rpartition(".")
            outputs, inputs = MAPS[target]
            shapes[f"{prefix}.{PATHS[target]}.lora_A"] = (options["rank"], inputs)
            shapes[f"{prefix}.{PATHS[target]}.lora_B"] = (outputs, options["rank"])
        return shapes
    if kind == "ia3":
        return {f"{layer}{target}.scale": (8,) for layer in layers for target in options["targets"]}
    shapes = {"inverse.F.0.weight": (2, 4), "inverse.F.2.weight": (4, 2)}
    return shapes | {f"{layer}output.{end}": size for layer in layers for end, size in _BOTTLENECK.items()}


_BOTTLENECK = {"down.weight": (2, 8), "down.bias": (2,), "up.weight": (8, 2), "up.bias": (8,)}


def _random(kind: str, options: dict, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(size, generator=generator) for name, size in _tensors(kind, options).items()}


class Drawn:
    """Random sources, and what they add."""

    def __init__(self) -> None:
        self.base = _random("full", {}, 99)

    @staticmethod
    def config(kind: str, **changes) -> AdapterConfig:
        return AdapterConfig(kind=kind, options={**SHAPES.get(kind, {}), **changes})

    def part(self, kind: str, seed: int, **changes) -> Part:
        config = self.config(kind, **changes)
        options = load_method(kind).Options.model_validate(config.options).model_dump()
        return Part(config, _random(kind, options, seed))

    def parts(self, kind: str, count: int, first: int = 0) -> list[Part]:
        return [self.part(kind, first + number) for number in range(count)]

    def merge(self, kind: str, parts, weights, seed: int = 0, **options):
        merge = load_merge(kind)
        return merge.merge(parts, weights, merge.Options(**options), self.base, seed)

    def added(self, config: AdapterConfig, tensors) -> dict[str, torch.Tensor]:
        """What a module adds, in double precision: a LoRA's deltas written out, otherwise differences from nothing."""
        if config.kind == "lora":
            options = load_method("lora").Options.model_validate(config.options)
            scale = options.alpha / (options.rank**0.5 if options.rank_stabilised else options.rank)
            ends = [name.removesuffix(".lora_A") for name in tensors if name.endswith(".lora_A")]
            return {
                name: scale * tensors[f"{name}.lora_B"].double() @ tensors[f"{name}.lora_A"].double() for name in ends
            }
        nothing = {"full": lambda name: self.base[name], "ia3": lambda name: 1.0, "bottleneck": lambda name: 0.0}
        return {name: tensor.double() - nothing[config.kind](name) for name, tensor in tensors.items()}

    def result(self, kind: str, parts, weights, **options) -> dict[str, torch.Tensor]:
        """What the result of a merge adds."""
        merge = load_merge(kind)
        method = merge.method([part.method for part in parts], merge.Options(**options))
        return self.added(method, self.merge(kind, parts, weights, **options).tensors)


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture(scope="session")
def near():
    """Hold that two dicts of tensors are equal, to a share of the largest entry."""

    def check(found, expected, tolerance=1e-6):
        assert found.keys() == expected.keys()
        size = max(float(tensor.abs().max()) for tensor in expected.values())
        for name, tensor in expected.items():
            assert float((found[name].double() - tensor.double()).abs().max()) <= tolerance * size, name

    return check


class Bench:
    """Modules on the tiny encoder, in double precision."""

    def __init__(self, backbone) -> None:
        self.backbone = backbone
        self.ids = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 8, 4, 2]])

    def encoder(self, config: AdapterConfig, tensors=None):
        """An encoder with one active module, and its parameters by stored name."""
        method, encoder = load_method(config.kind), load_encoder(self.backbone)
        method.attach(encoder, "target", method.Options.model_validate(config.options))
        method.activate(encoder, (("target",),))
        found = {stored: encoder.get_parameter(name) for stored, name in method.names(encoder, "target").items()}
        if tensors is not None:
            assert {name: tensor.shape for name, tensor in tensors.items()} == {n: p.shape for n, p in found.items()}
            with torch.no_grad():
                for name, tensor in tensors.items():
                    found[name].copy_(tensor)
        return encoder.double().eval(), found

    def part(self, config: AdapterConfig, seed: int) -> Part:
        """A module near where it adds nothing, as a training would leave it."""
        generator = torch.Generator().manual_seed(seed)
        _, found = self.encoder(config)
        draw = {name: 0.1 * torch.randn(p.shape, generator=generator) for name, p in found.items()}
        if config.kind == "full":
            draw = {name: found[name].detach().float() + tensor for name, tensor in draw.items()}
        draw = {n: t + 1.0 if n.endswith((".scale", ".magnitude")) else t for n, t in draw.items()}
        return Part(config, draw)

    def base(self) -> dict[str, torch.Tensor]:
        return dict(load_encoder(self.backbone).named_parameters())

    def hidden(self, encoder) -> torch.Tensor:
        with torch.no_grad():
            return encoder(self.ids).last_hidden_state


@pytest.fixture(scope="session")
def on_encoder(backbone) -> Bench:
    return Bench(backbone)
