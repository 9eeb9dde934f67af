"""An encoder that carries the modules of several models, of which one works at a time, or some side by side.

It is a shell around the tensors of one loaded backbone: there is one copy of it, however many encoders there are.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xstilts import fusion
from xstilts.batches import Batch
from xstilts.engine.compose import Model
from xstilts.engine.device import Precision
from xstilts.errors import fail
from xstilts.formats import Pool, load_format
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig, Pooling, Task

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A module.

    Attributes:
        tensors: by stored name; see ``methods``.
        digest: of its tensors; pieces of one method and digest are the same.
    """

    method: AdapterConfig
    tensors: Mapping[str, Tensor]
    digest: str

    @property
    def identity(self) -> Hashable:
        """Equal for the same module, wherever it was read."""
        return self.digest, self.method.model_dump_json()


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Modules at one place of a chain: a single one, or several that are fused; ``lineage.Block`` with its tensors.

    Attributes:
        fused_by: of the attention over the modules, by stored name; None for a single one.
    """

    modules: tuple[Piece, ...]
    fused_by: Mapping[str, Tensor] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A model: a module with all that it lies on, and a head.

    Attributes:
        name: for messages.
        levels: the lowest first; empty = the bare backbone.
        head: by the names of the parameters of the task's head, classes in the order of the task's labels; empty where
            the head has none.
    """

    name: str
    levels: tuple[Level, ...]
    head: Mapping[str, Tensor]

    @property
    def kind(self) -> str:
        """Of its modules, which are all of one; ``head`` where there is none."""
        return self.levels[-1].modules[0].method.kind if self.levels else "head"


@dataclass(frozen=True, slots=True)
class Setting:
    """How all models are asked.

    Attributes:
        layer: hidden layer that is pooled, for retrieval; None = the last one.
        pooling: see ``spec.Predict``.
        directory: where vectors lie while they are needed; None = the system's temporary directory.
    """

    task: Task
    precision: Precision = "fp32"
    layer: int | None = None
    pooling: Pooling | None = None
    directory: Path | None = None


@dataclass(frozen=True)
class Carrier:
    """An encoder that carries the modules of several models.

    Attributes:
        chains: number of a model → names of its modules in the encoder, as ``Method.activate`` takes them.
        heads: number of a model → its head.
    """

    encoder: XLMRobertaModel
    kind: str
    chains: Mapping[int, tuple[tuple[str, ...], ...]]
    heads: Mapping[int, nn.Module]

    def model(self, numbers: Sequence[int]) -> nn.Module:
        """The model with this number, or several as one; it computes until the next one is asked for."""
        chains = [self.chains[number] for number in numbers]
        if len(numbers) == 1:
            load_method(self.kind).activate(self.encoder, chains[0])
            return Model(self.encoder, self.heads[numbers[0]])
        import adapters

        below = [block[0] for block in chains[0][:-1]]
        tops = adapters.Parallel(*(chain[-1][0] for chain in chains))
        self.encoder.adapters_config.active_setup = adapters.Stack(*below, tops)
        return _Together(self.encoder, [self.heads[number] for number in numbers])


class _Together(nn.Module):
    """Models that work side by side in one encoder; what they say lies one after the other in the slots."""

    def __init__(self, encoder: XLMRobertaModel, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(heads)

    def forward(self, batch: Batch) -> Tensor:
        """Scores ``(features, models · slots, classes)``.

        The batch is cut so that no more rows are computed at once than it has, but one feature for each model.
        """
        features, count = len(batch.targets), len(self.heads)
        size, rows = max(1, features // count), len(batch.ids) // features
        cuts = [(slice(n * rows, (n + size) * rows), slice(n, n + size)) for n in range(0, features, size)]
        parts = (Batch(batch.ids[r], batch.mask[r], batch.targets[f], batch.anchors[f]) for r, f in cuts)
        return torch.cat([self._part(part) for part in parts])

    def _part(self, batch: Batch) -> Tensor:
        hidden = self.encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        if len(hidden) != len(self.heads) * len(batch.ids):
            raise RuntimeError("the library did not repeat the batch")
        own = hidden.chunk(len(self.heads))
        return torch.cat([head(each, batch) for head, each in zip(self.heads, own, strict=True)], dim=1)


def carry(models: Mapping[int, Whole], base: XLMRobertaModel, setting: Setting) -> Carrier:
    """Attach and load the modules of models of one kind; a module that several lie on is attached once.

    Args:
        models: by number; fully fine-tuned ones each by itself.
        base: the backbone, on the device that computes; left as it is.
        setting: how they are asked.

    Raises:
        XstiltsError: a module or head that does not fit, or no such layer.
    """
    first = next(iter(models.values()))
    full = first.levels[0].modules[0] if first.kind == "full" else None
    encoder = _shell(base, {} if full is None else full.tensors, first.name)
    attached: dict[Hashable, str] = {}
    chains: dict[int, tuple[tuple[str, ...], ...]] = {}
    for number, model in models.items():
        levels = model.levels if full is None else ()
        chains[number] = tuple(_attach(encoder, level, attached, model.name) for level in levels)
    if setting.layer is not None:
        if not 0 <= setting.layer <= len(encoder.encoder.layer):
            raise fail("layer", f"the encoder has layers 0 to {len(encoder.encoder.layer)}", str(setting.layer))
        encoder.encoder.layer = encoder.encoder.layer[: setting.layer]
    device = next(base.parameters()).device
    heads = {number: _head(model, base, setting).to(device) for number, model in models.items()}
    return Carrier(encoder.to(device).eval(), first.kind, chains, heads)


def _shell(base: XLMRobertaModel, weights: Mapping[str, Tensor], name: str) -> XLMRobertaModel:
    """An encoder of its own modules around the tensors of another one, or around ``weights`` in their place."""
    parameters = dict(base.named_parameters())
    if weights and weights.keys() != parameters.keys():
        raise fail(f"module {name}", "holds other tensors than the encoder has")
    own = {
        id(parameter): nn.Parameter(weights[stored], requires_grad=False) if weights else parameter
        for stored, parameter in parameters.items()
    }
    shared = {id(buffer): buffer for buffer in base.buffers()}
    return copy.deepcopy(base, {**own, **shared})


def _attach(encoder: XLMRobertaModel, level: Level, attached: dict[Hashable, str], owner: str) -> tuple[str, ...]:
    """Attach what is not there yet; the names of the level's modules."""
    names = []
    for piece in level.modules:
        # a fusion is told by the names of what it fuses, and two may differ over the same modules
        known = piece.identity if level.fused_by is None else object()
        if known not in attached:
            attached[known] = f"module{len(attached)}"
            method = load_method(piece.method.kind)
            method.attach(encoder, attached[known], method.Options.model_validate(piece.method.options))
            _fill(encoder, method.names(encoder, attached[known]), piece.tensors, owner)
        names.append(attached[known])
    if level.fused_by is not None:
        fusion.attach(encoder, names)
        _fill(encoder, fusion.names(encoder, names), level.fused_by, owner)
    return tuple(names)


def _fill(part: nn.Module, names: Mapping[str, str], tensors: Mapping[str, Tensor], owner: str) -> None:
    """Set parameters, by stored name → parameter name; nothing may be missing, nothing over."""
    parameters = {stored: part.get_parameter(name) for stored, name in names.items()}
    wanted = {stored: parameter.shape for stored, parameter in parameters.items()}
    given = {stored: tensor.shape for stored, tensor in tensors.items()}
    unlike = sorted(stored for stored in wanted.keys() | given.keys() if wanted.get(stored) != given.get(stored))
    if unlike:
        raise fail(f"module {owner}", f"{len(unlike)} tensors are missing, unknown or of another shape", unlike[0])
    with torch.no_grad():
        for stored, parameter in parameters.items():
            parameter.copy_(tensors[stored])


def _head(model: Whole, base: XLMRobertaModel, setting: Setting) -> nn.Module:
    head = load_format(setting.task.format).head(setting.task, base.config)
    if isinstance(head, Pool):
        head.how = setting.pooling or head.how
    _fill(head, {name: name for name, _ in head.named_parameters()}, model.head, model.name)
    return head
