"""A step's model: backbone, modules below, the step's own module, head; in a mixture one head per task.

Which parameters train is decided here, by name, and not left to a library. What a model is made of: ``lineage.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xstilts.backbone import load_encoder, load_language_model_head
from xstilts.batches import Batch
from xstilts.engine import artifact
from xstilts.errors import fail
from xstilts.formats import Pool, load_format
from xstilts.formats.mlm import LanguageModelHead
from xstilts.key import key, stable_int
from xstilts.lineage import lineage
from xstilts.methods import load_method
from xstilts.spec import Backbone, Predict, Stack, StartName, Task, Train, Warm

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

ENCODER_FILE, HEAD_FILE = "encoder.safetensors", "head.safetensors"
OWN = "target"  # name of the topmost module


@dataclass(frozen=True)
class Runtime:
    """Where a step runs.

    Attributes:
        device: a torch device name.
        artifact: a training → the directory of its finished step.
        progress: whether to draw a progress bar.
        checkpoint_seconds: time between two checkpoints.
        features: directory of the cache of features, see ``engine.features``; None = there is none.
    """

    device: str
    artifact: Callable[[Train], Path]
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
    """

    model: Model
    module: dict[str, nn.Parameter]
    frozen: dict[str, nn.Parameter]

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
    _check_start(step)
    method = load_method(step.method.kind)
    encoder = load_encoder(step.backbone)
    _check_length(step.backbone, step.recipe.max_length)
    head = _heads(step, tasks, encoder)
    below = lineage(step)[:-1]
    names = _attach(encoder, below, runtime)
    method.attach(encoder, OWN, _options(step))
    method.activate(encoder, (*names, OWN))
    # a module must not begin as a copy of what the one below it began as: replicates share their seed
    seed(f"module {len(below)}", step.seed)
    method.initialise(encoder, OWN)
    if isinstance(step.start, Warm):
        _load_module(encoder, OWN, step.start.source, runtime)
    return _freeze(Model(encoder, head, _parts(encoder, names)), method.names(encoder, OWN))


def for_prediction(step: Predict, task: Task, runtime: Runtime) -> Model:
    """Build the model of a prediction, on the CPU, in evaluation mode.

    With ``step.layer`` the encoder ends at that layer (0 = embeddings).

    Raises:
        XstiltsError: a missing, damaged or foreign artefact; a head of another task; no such layer; masked language
            modelling.
    """
    if task.format == "mlm":
        raise fail(f"predict {task.name}", "masked language modelling is trained, and not predicted")
    backbone = step.model if isinstance(step.model, Backbone) else step.model.backbone
    encoder = load_encoder(backbone)
    _check_length(backbone, step.max_length)
    head = load_format(task.format).head(task, encoder.config)
    if isinstance(head, Pool):
        head.how = step.pooling or head.how
    if isinstance(step.model, Train):
        modules = lineage(step.model)
        load_method(step.model.method.kind).activate(encoder, _attach(encoder, modules, runtime))
    if step.layer is not None:
        if not 0 <= step.layer <= backbone.layers:
            raise fail(f"predict {task.name}: layer", f"the encoder has layers 0 to {backbone.layers}", str(step.layer))
        encoder.encoder.layer = encoder.encoder.layer[: step.layer]
    if any(True for _ in head.parameters()):
        _load_head(head, step, runtime)
    return Model(encoder, head).eval().requires_grad_(False)


def seed(part: str, number: int) -> None:
    """Seed torch for one part of a training. All randomness but the order of the data (``batches``) begins here."""
    torch.manual_seed(stable_int(part, number))


def save(trainee: Trainee, step: Train, directory: Path) -> None:
    """Write ``encoder.safetensors`` (the step's own module) and ``head.safetensors``."""
    artifact.save(directory / ENCODER_FILE, trainee.module, _about(step, "encoder"))
    artifact.save(directory / HEAD_FILE, trainee.head, _about(step, "head"))


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


def _by_name(tasks: Sequence[Task], heads: Sequence[nn.Module]) -> dict[str, nn.Module]:
    return {task.name: head for task, head in zip(tasks, heads, strict=True)}


def _parts(encoder: XLMRobertaModel, modules: Sequence[str]) -> tuple[nn.Module, ...]:
    """The parts of attached modules, by whose name both libraries name the submodule that they add."""
    return tuple(part for name, part in encoder.named_modules() if name.rpartition(".")[2] in modules)


def _attach(encoder: XLMRobertaModel, trains: Sequence[Train], runtime: Runtime) -> tuple[str, ...]:
    """Attach trained modules, lowest first; return their names."""
    names = []
    for number, train in enumerate(trains):
        name = f"below{number}"
        load_method(train.method.kind).attach(encoder, name, _options(train))
        _load_module(encoder, name, train, runtime)
        names.append(name)
    return tuple(names)


def _load_module(encoder: XLMRobertaModel, name: str, train: Train, runtime: Runtime) -> None:
    names = load_method(train.method.kind).names(encoder, name)
    parameters = {stored: encoder.get_parameter(parameter) for stored, parameter in names.items()}
    _fill(parameters, runtime.artifact(train) / ENCODER_FILE, _about(train, "encoder"))


def _load_head(head: nn.Module, step: Predict, runtime: Runtime) -> None:
    """Load the head of the predicted task, which the model was trained on, alone or in a mixture."""
    trained = step.model.tasks if isinstance(step.model, Train) else ()
    if not isinstance(step.model, Train) or (step.task.name, step.task.version) not in {
        (task.name, task.version) for task in trained
    }:
        given = "+".join(task.name for task in trained) or "the bare backbone"
        raise fail(f"predict {step.task.name}", "needs a model that was trained on this task", given)
    prefix = f"{step.task.name}." if step.model.mixture else ""
    parameters = {f"{prefix}{name}": parameter for name, parameter in head.named_parameters()}
    _fill(parameters, runtime.artifact(step.model) / HEAD_FILE, _about(step.model, "head"), prefix)


def _fill(parameters: dict[str, nn.Parameter], path: Path, about: dict[str, str], prefix: str = "") -> None:
    with torch.no_grad():
        for name, tensor in artifact.stream(path, parameters, about, prefix):
            parameters[name].copy_(tensor)


def _freeze(model: Model, module: dict[str, str]) -> Trainee:
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
    return Trainee(model, own, {name: p for name, p in model.named_parameters() if name not in wanted})


def _about(step: Train, part: str) -> dict[str, str]:
    method = json.dumps(step.method.model_dump(mode="json"), sort_keys=True)
    return {"part": part, "backbone": step.backbone.fingerprint, "method": method, "step": key(step)}


def _options(step: Train) -> object:
    return load_method(step.method.kind).Options.model_validate(step.method.options)


def _check_start(step: Train) -> None:
    """Refuse what would silently train something else than it says, here or below."""
    name, sources = _sources(step)
    for source in sources:
        _check_start(source)
    where = f"train {step.task.name}: start"
    reason = load_method(step.method.kind).refuse(name)
    if reason:
        raise fail(where, f"refused with {step.method.kind}: {reason}", name)
    for source in sources:
        if source.backbone.fingerprint != step.backbone.fingerprint:
            raise fail(where, f"{source.task.name} was trained on another backbone", source.backbone.name)
        if source.method.kind != step.method.kind:
            raise fail(where, f"{source.task.name} was trained with another method", source.method.kind)
        if name == "warm" and _options(source) != _options(step):
            raise fail(where, "a warm start needs a source with the same options", str(source.method.options))


def _sources(step: Train) -> tuple[StartName, tuple[Train, ...]]:
    if isinstance(step.start, Warm):
        return "warm", (step.start.source,)
    return ("stack", step.start.sources) if isinstance(step.start, Stack) else ("cold", ())


def _check_length(backbone: Backbone, max_length: int) -> None:
    if max_length > backbone.positions:
        what = f"the encoder has positions for {backbone.positions} tokens"
        raise fail("recipe: max_length", what, str(max_length))
