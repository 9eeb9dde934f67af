"""A step's model: backbone, modules below, the step's own module, head; in a mixture one head per task.

Which parameters train is decided here, by name, and not left to a library. What a model is made of: ``lineage.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xstilts import fusion
from xstilts.backbone import load_encoder, load_language_model_head
from xstilts.batches import Batch
from xstilts.composition import check, named, options
from xstilts.engine import artifact
from xstilts.errors import fail
from xstilts.formats import Pool, load_format
from xstilts.formats.mlm import LanguageModelHead
from xstilts.key import key, stable_int
from xstilts.lineage import Block, chain, head_of, lineage, swapped
from xstilts.methods import bottleneck, load_method
from xstilts.spec import Backbone, Combine, Fuse, Predict, Source, Task, TaskData, Train, Warm

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

ENCODER_FILE, HEAD_FILE = "encoder.safetensors", "head.safetensors"
OWN = "target"  # name of the topmost module


@dataclass(frozen=True)
class Runtime:
    """Where a step runs.

    Attributes:
        device: a torch device name.
        artifact: a module → the directory of its finished step.
        progress: whether to draw a progress bar.
        checkpoint_seconds: time between two checkpoints.
        features: directory of the cache of features, see ``engine.features``; None = there is none.
    """

    device: str
    artifact: Callable[[Source], Path]
    progress: bool = False
    checkpoint_seconds: float = 60.0
    features: Path | None = None


class Model(nn.Module):
    """Encoder and head.

    Attributes:
        head: of the task; in a mixture a ``ModuleDict`` of one per task, and ``member`` gives a model of one task.
        below: dropout of modules that are trained already. It stays off: what lies below a module is the same in
            training as in prediction, as the module's own training left it.
    """

    def __init__(self, encoder: XLMRobertaModel, head: nn.Module, below: tuple[nn.Module, ...] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.below = below

    def member(self, task: str) -> Model:
        """The model of one task of a mixture: the same encoder, with the head of that task."""
        return Model(self.encoder, self.head[task], self.below) if isinstance(self.head, nn.ModuleDict) else self

    def train(self, mode: bool = True) -> Model:
        """Set training or evaluation mode."""
        super().train(mode)
        for module in self.below:
            module.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """Scores ``(features, slots, classes)`` of a batch; see ``formats``."""
        hidden = self.encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
        scores: Tensor = self.head(hidden, batch)
        return scores


@dataclass(frozen=True)
class Trainee:
    """A model ready to be trained.

    Attributes:
        model: exactly the parameters of ``module`` and of the head require gradients.
        module: stored name → parameter of the encoder that trains.
        frozen: parameter name → parameter that must not change: the backbone and the modules below.
        penalty: a term that is added to the loss of every step; None = nothing is.
    """

    model: Model
    module: dict[str, nn.Parameter]
    frozen: dict[str, nn.Parameter]
    penalty: Callable[[], Tensor] | None = None

    @property
    def head(self) -> dict[str, nn.Parameter]:
        """Stored name → parameter of the head."""
        return dict(self.model.head.named_parameters())

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Parameter name → parameter that trains."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


def for_training(step: Train, tasks: Sequence[Task], runtime: Runtime) -> Trainee:
    """Build the model of a training, on the CPU.

    Initial weights depend on the seed alone: heads and module are drawn from generators of their own.

    Args:
        step: the training.
        tasks: what it trains, in the order of ``step.tasks``.
        runtime: where it runs.

    Raises:
        XstiltsError: a start that is void or mixes methods or backbones; a missing, damaged or foreign artefact.
    """
    check(step)
    encoder = load_encoder(step.backbone)
    _check_length(step.backbone, step.recipe.max_length)
    head = _heads(step, tasks, encoder)
    modules = _attach(encoder, chain(step), runtime, own=step)
    _undo_inverse(head, encoder, chain(step))
    # a module must not begin as a copy of what the one below it began as: replicates share their seed
    seed(f"module {len(lineage(step)) - 1}", step.seed)
    modules.initialise(step)
    if isinstance(step.start, Warm):
        modules.load(step, step.start.source, runtime)
    below = _parts(encoder, modules.frozen(step))
    return _freeze(Model(encoder, head, below), modules.parameters(step), modules.penalty(step))


def for_prediction(step: Predict, task: Task, runtime: Runtime, language: str | None = None) -> Model:
    """Build the model of a prediction, on the CPU, in evaluation mode.

    With ``step.layer`` the encoder ends at that layer (0 = embeddings).

    Args:
        step: the prediction.
        task: its task.
        runtime: where it runs.
        language: of the rows, where ``step.swap`` gives each language another module.

    Raises:
        XstiltsError: a missing, damaged or foreign artefact; a head of another task; no such layer; masked language
            modelling.
    """
    if task.format == "mlm":
        raise fail(f"predict {task.name}", "masked language modelling is trained, and not predicted")
    check(step)
    encoder = load_encoder(step.backbone)
    _check_length(step.backbone, step.max_length)
    head = load_format(task.format).head(task, encoder.config)
    if isinstance(head, Pool):
        head.how = step.pooling or head.how
    if not isinstance(step.model, Backbone):
        blocks = chain(step.model)
        if step.swap is not None and language is not None:
            blocks = swapped(blocks, step.swap, language)
        _attach(encoder, blocks, runtime)
    if step.layer is not None:
        if not 0 <= step.layer <= step.backbone.layers:
            allowed = f"the encoder has layers 0 to {step.backbone.layers}"
            raise fail(f"predict {task.name}: layer", allowed, str(step.layer))
        encoder.encoder.layer = encoder.encoder.layer[: step.layer]
    if any(True for _ in head.parameters()):
        _load_head(head, step.model, step.task, runtime)
    return Model(encoder, head).eval().requires_grad_(False)


@dataclass(frozen=True)
class Candidate:
    """A model whose topmost module is yet to be chosen.

    Attributes:
        model: on the CPU, in evaluation mode, with the head of the task.
        module: stored name → parameter of the topmost module.
    """

    model: Model
    module: dict[str, nn.Parameter]

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Give the topmost module these weights."""
        with torch.no_grad():
            for name, parameter in self.module.items():
                parameter.copy_(tensors[name])


def for_search(step: Combine, task: Task, runtime: Runtime) -> Candidate:
    """Build the model of a combination whose weights are searched for; its head is that of the first source.

    Raises:
        XstiltsError: a combination that is not defined; a missing, damaged or foreign artefact; no head of the task.
    """
    check(step)
    encoder = load_encoder(step.backbone)
    head = load_format(task.format).head(task, encoder.config)
    modules = _attach(encoder, chain(step), runtime, own=step)
    assert step.task is not None
    _load_head(head, step.sources[0], step.task, runtime)
    module = {stored: encoder.get_parameter(name) for stored, name in modules.parameters(step).items()}
    return Candidate(Model(encoder, head).eval().requires_grad_(False), module)


def seed(part: str, number: int) -> None:
    """Seed torch for one part of a training. All randomness but the order of the data (``batches``) begins here."""
    torch.manual_seed(stable_int(part, number))


def save(trainee: Trainee, step: Train, directory: Path) -> None:
    """Write ``encoder.safetensors`` (the step's own module) and ``head.safetensors``."""
    artifact.save(directory / ENCODER_FILE, trainee.module, about(step, "encoder"))
    artifact.save(directory / HEAD_FILE, trainee.head, about(step, "head"))


# --------------------------------------------------------------------------------------------------------- pieces


def _heads(step: Train, tasks: Sequence[Task], encoder: XLMRobertaModel) -> nn.Module:
    """The head of a training's task, or by name those of a mixture's tasks."""
    heads = []
    for number, task in enumerate(tasks):
        seed("head" if number == 0 else f"head {task.name}", step.seed)  # the first one is the one it has alone
        head = load_format(task.format).head(task, encoder.config)
        if isinstance(head, LanguageModelHead):
            head.tie(encoder.embeddings.word_embeddings)
            head.load_state_dict(load_language_model_head(step.backbone) or head.state_dict())
        heads.append(head)
    return heads[0] if step.mixture is None else nn.ModuleDict(_by_name(tasks, heads))


def _undo_inverse(head: nn.Module, encoder: XLMRobertaModel, blocks: tuple[Block, ...]) -> None:
    """Let language-model heads undo an invertible block before they compare with the embeddings it lies on."""
    lowest = options(blocks[0].modules[0])
    if isinstance(lowest, bottleneck.Options) and lowest.inverse:
        for part in head.modules():
            if isinstance(part, LanguageModelHead):
                part.undo = partial(bottleneck.undo_inverse, encoder)


def _by_name(tasks: Sequence[Task], heads: Sequence[nn.Module]) -> dict[str, nn.Module]:
    return {task.name: head for task, head in zip(tasks, heads, strict=True)}


def _parts(encoder: XLMRobertaModel, modules: Sequence[str]) -> tuple[nn.Module, ...]:
    """The parts of attached modules, by whose name both libraries name the submodule that they add."""
    return tuple(part for name, part in encoder.named_modules() if name.rpartition(".")[2] in modules)


@dataclass(frozen=True)
class _Modules:
    """Modules attached to an encoder.

    Attributes:
        blocks: of the model.
        attached: key of a step → the name its module has in the encoder.
    """

    encoder: XLMRobertaModel
    blocks: tuple[Block, ...]
    attached: dict[str, str]

    def frozen(self, owner: Train) -> tuple[str, ...]:
        """Names of the modules and fusions that a training does not own; a fusion's are those of its modules."""
        modules = [name for owned, name in self.attached.items() if owned != key(owner)]
        own = self._fused_by(owner)
        fusions = [block for block in self.blocks if block.fused_by is not None and block not in own]
        return (*modules, *(",".join(self._of(block)) for block in fusions))

    def parameters(self, owner: Source) -> dict[str, str]:
        """Stored name → parameter name of everything that a step owns: its module, a fusion, or both."""
        method = load_method(owner.method.kind)
        found = method.names(self.encoder, self.attached[key(owner)]) if key(owner) in self.attached else {}
        for block in self._fused_by(owner):
            found |= fusion.names(self.encoder, self._of(block))
        return found

    def initialise(self, owner: Train) -> None:
        """Draw what a training starts from."""
        if key(owner) in self.attached:
            load_method(owner.method.kind).initialise(self.encoder, self.attached[key(owner)])
        for block in self._fused_by(owner):
            fusion.initialise(self.encoder, self._of(block))

    def load(self, owner: Source, source: Source, runtime: Runtime) -> None:
        """Set what a step owns to the weights that a step stored."""
        parameters = {stored: self.encoder.get_parameter(name) for stored, name in self.parameters(owner).items()}
        _fill(parameters, runtime.artifact(source) / ENCODER_FILE, about(source, "encoder"))

    def penalty(self, owner: Train) -> Callable[[], Tensor] | None:
        """The regulariser of the fusion that a training learns, or goes on with, as a term of the loss."""
        start = owner.start
        while isinstance(start, Warm) and isinstance(start.source, Train):
            start = start.source.start
        if not isinstance(start, Fuse):
            return None
        weight = start.regularisation
        (fused,) = [self._of(block) for block in self._fused_by(owner)]
        return lambda: weight * fusion.penalty(self.encoder, fused)

    def activate(self, kind: str) -> None:
        """Let all blocks take part in the forward pass."""
        load_method(kind).activate(self.encoder, [self._of(block) for block in self.blocks])

    def _of(self, block: Block) -> tuple[str, ...]:
        return tuple(self.attached[key(module)] for module in block.modules)

    def _fused_by(self, owner: Source) -> list[Block]:
        return [block for block in self.blocks if block.fused_by is not None and key(block.fused_by) == key(owner)]


def _attach(
    encoder: XLMRobertaModel, blocks: tuple[Block, ...], runtime: Runtime, own: Source | None = None
) -> _Modules:
    """Attach the modules of a model, lowest first, let them work, and load all but a step's own."""
    sources = [module for block in blocks for module in block.modules]
    attached = {key(each): OWN if own and key(each) == key(own) else f"below{n}" for n, each in enumerate(sources)}
    modules = _Modules(encoder, blocks, attached)
    for source, name in zip(sources, attached.values(), strict=True):
        load_method(source.method.kind).attach(encoder, name, options(source))
    for block in blocks:
        if block.fused_by is not None:
            fusion.attach(encoder, modules._of(block))
    modules.activate(sources[0].method.kind)
    for owner in {key(owner): owner for block in blocks for owner in block.owners}.values():
        if own is None or key(owner) != key(own):
            modules.load(owner, owner, runtime)
    return modules


def _load_head(head: nn.Module, model: Source | Backbone, task: TaskData, runtime: Runtime) -> None:
    """Load the head of a task, which the model was trained on, alone or in a mixture."""
    trained = None if isinstance(model, Backbone) else head_of(model)
    tasks = trained.tasks if trained else ()
    if (
        isinstance(model, Backbone)
        or trained is None
        or (task.name, task.version) not in {(each.name, each.version) for each in tasks}
    ):
        given = "the bare backbone" if isinstance(model, Backbone) else named(model)
        raise fail(f"predict {task.name}", "needs a model that was trained on this task", given)
    prefix = f"{task.name}." if trained.mixture else ""
    parameters = {f"{prefix}{name}": parameter for name, parameter in head.named_parameters()}
    _fill(parameters, runtime.artifact(model) / HEAD_FILE, about(model, "head"), prefix)


def _fill(parameters: dict[str, nn.Parameter], path: Path, about: dict[str, str], prefix: str = "") -> None:
    with torch.no_grad():
        for name, tensor in artifact.stream(path, parameters, about, prefix):
            parameters[name].copy_(tensor)


def _freeze(model: Model, module: dict[str, str], penalty: Callable[[], Tensor] | None) -> Trainee:
    """Let exactly the module and the head train, and hold that it is so."""
    wanted = {f"encoder.{name}" for name in module.values()}
    wanted |= {f"head.{name}" for name, _ in model.head.named_parameters()}
    if not wanted:
        raise fail("train", "nothing would train: this method trains the head alone, and the format's has no weights")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)
    training = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if training != wanted:
        raise RuntimeError(f"declared to train but not there: {sorted(wanted - training)}")
    own = {stored: model.encoder.get_parameter(name) for stored, name in module.items()}
    return Trainee(model, own, {name: p for name, p in model.named_parameters() if name not in wanted}, penalty)


def about(step: Source, part: str) -> dict[str, str]:
    """What a file of a step says of itself in its header."""
    method = json.dumps(step.method.model_dump(mode="json"), sort_keys=True)
    return {"part": part, "backbone": step.backbone.fingerprint, "method": method, "step": key(step)}


def _check_length(backbone: Backbone, max_length: int) -> None:
    if max_length > backbone.positions:
        what = f"the encoder has positions for {backbone.positions} tokens"
        raise fail("recipe: max_length", what, str(max_length))
