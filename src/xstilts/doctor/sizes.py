"""How much each part of a module changes, relative to what it changes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from xstilts.methods import load_method

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import XLMRobertaModel

    from xstilts.published import Published

# Stored names of the map that reads and of the map that writes: of adapters, and of the halves of an invertible block.
ENDS = ((".down.weight", ".up.weight"), (".0.weight", ".2.weight"))


def of_weights(published: Published, base: Mapping[str, Tensor]) -> dict[str, float] | None:
    """Relative sizes ‖ΔW‖ / ‖W‖ (Frobenius) of what a module does to the maps of the encoder.

    Args:
        published: the module.
        base: the encoder's own parameters by name.

    Returns:
        Path of a map → size; of IA3 the root mean square of scale − 1. None where the method changes no weights.
    """
    if published.method.kind == "bottleneck":
        return None
    if published.method.kind == "ia3":
        scales = published.tensors.items()
        return {name.removesuffix(".scale"): float((scale - 1).square().mean().sqrt()) for name, scale in scales}
    if published.method.kind == "full":
        matrices = {name.removesuffix(".weight"): name for name, tensor in published.tensors.items() if tensor.ndim > 1}
        # XLM-R's own token types are all zero: what training makes of them is relative to nothing
        matrices = {path: name for path, name in matrices.items() if base[name].any()}
        return {path: _ratio(published.tensors[name] - base[name], base[name]) for path, name in matrices.items()}
    options = load_method(published.method.kind).Options.model_validate(published.method.options)
    paths = [name.removesuffix(".lora_A") for name in published.tensors if name.endswith(".lora_A")]
    return {path: _ratio(_delta(published, path, base, options), base[f"{path}.weight"]) for path in paths}


def _delta(published: Published, path: str, base: Mapping[str, Tensor], options: Any) -> Tensor:
    """ΔW of LoRA; of DoRA (arXiv 2402.09353, equation 5) with the norms over the inputs of each output."""
    down, up = published.tensors[f"{path}.lora_A"], published.tensors[f"{path}.lora_B"]
    root = math.sqrt(options.rank) if getattr(options, "rank_stabilised", False) else options.rank
    delta: Tensor = (options.alpha / root) * (up @ down)
    magnitude = published.tensors.get(f"{path}.magnitude")
    if magnitude is None:
        return delta
    weight = base[f"{path}.weight"].detach()
    changed = weight + delta
    turned: Tensor = magnitude.reshape(-1, 1) * changed / changed.norm(dim=1, keepdim=True)
    return turned - weight


@contextlib.contextmanager
def of_states(encoder: XLMRobertaModel, names: Mapping[str, str]) -> Iterator[dict[str, float]]:
    """Measure what bottlenecks write, relative to what they read, in every forward pass inside the ``with``.

    Args:
        encoder: carries the module, active.
        names: stored name → parameter name.

    Yields:
        Path of an adapter → largest ‖up(f(down(x)))‖ / ‖x‖ of a pass; filled while passes are made.
    """
    found: dict[str, float] = {}
    handles = []
    for stored, name in names.items():
        for reads, writes in ENDS:
            if stored.endswith(reads):
                path = stored.removesuffix(reads)
                read = encoder.get_submodule(name.removesuffix(".weight"))
                written = encoder.get_submodule(names[path + writes].removesuffix(".weight"))
                handles += _watch(path, read, written, found)
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _watch(path: str, read: nn.Module, written: nn.Module, found: dict[str, float]) -> list[Any]:
    inputs: list[float] = []

    def before(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(float(arguments[0].norm()))

    def after(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        found[path] = max(found.get(path, 0.0), _quotient(float(output.norm()), inputs.pop()))

    return [read.register_forward_pre_hook(before), written.register_forward_hook(after)]


def _ratio(delta: Tensor, weight: Tensor) -> float:
    return _quotient(float(delta.detach().norm()), float(weight.detach().norm()))


def _quotient(change: float, size: float) -> float:
    """Relative size; infinite where it is not defined and there is a change."""
    if change == 0:
        return 0.0
    return change / size if size > 0 and math.isfinite(change) else math.inf
