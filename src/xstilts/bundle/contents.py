"""What the bundle of a finished step says, beyond its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xstilts.backbone import SHAPES
from xstilts.bundle.card import stated_licence
from xstilts.bundle.manifest import CARD, Below, HeadEntry, Licence, Measure, TaskEntry
from xstilts.key import key
from xstilts.spec import (
    SOURCE_LANGUAGE,
    AdapterConfig,
    Backbone,
    Cold,
    Combine,
    Fuse,
    Import,
    Recipe,
    Source,
    TaskData,
    Train,
    Warm,
)
from xstilts.tasks import load_task

Made = Literal["trained", "imported", "combined"]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle says beyond its tensors; fields as in ``Manifest``."""

    key: str
    name: str
    made: Made
    start: str
    backbone: Backbone
    method: AdapterConfig
    below: tuple[Below, ...] = ()
    tasks: tuple[TaskEntry, ...] = ()
    heads: tuple[HeadEntry, ...] = ()
    language: str | None = None
    recipe: Recipe | None = None
    seed: int | None = None
    metrics: tuple[Measure, ...] = ()
    licences: tuple[Licence, ...] = ()


def contents(
    step: Source,
    below: Sequence[Source],
    metrics: Sequence[Measure] = (),
    heads: Sequence[HeadEntry] | None = None,
    licence: str = "",
) -> Contents:
    """What the bundle of a finished step says.

    Args:
        step: the training, import or combination.
        below: the modules under its own, lowest first.
        metrics: measured with it.
        heads: of ``head.safetensors``; None = those of its tasks, of a combination those of its first source.
        licence: of an import, as its publisher states it.
    """
    published = (Licence(of=f"module {_called(step)}", text=licence),) if isinstance(step, Import) else ()
    tasks = tuple(_entry(data) for data in _trained_on(step))
    return Contents(
        key=key(step),
        name=_name(step),
        made=_made(step),
        start=_start(step),
        backbone=step.backbone,
        method=step.method,
        below=tuple(Below(key=key(source), what=_title(source)) for source in below),
        tasks=tasks,
        heads=_heads(step) if heads is None else tuple(heads),
        language=step.language if isinstance(step, Import) else None,
        recipe=step.recipe if isinstance(step, Train) else None,
        seed=None if isinstance(step, Import) else step.seed,
        metrics=tuple(metrics),
        licences=(
            Licence(of=f"backbone {step.backbone.name}", text=backbone_licence(step.backbone)),
            *published,
            *(Licence(of=f"task {data.name}", text=load_task(data.name).licence) for data in _went_in(step)),
        ),
    )


def backbone_licence(backbone: Backbone) -> str:
    """Terms of a backbone: of the well-known ones, or as the model card beside it states them; empty = not stated."""
    known = backbone.name.partition("@")[0] in SHAPES
    return "MIT" if known else stated_licence(Path(backbone.path) / CARD) or ""


def _made(step: Source) -> Made:
    if isinstance(step, Import):
        return "imported"
    return "trained" if isinstance(step, Train) else "combined"


def _trained_on(step: Source) -> tuple[TaskData, ...]:
    """Tasks that a module's last training, or those of the modules it is a combination of, had."""
    if isinstance(step, Train):
        return step.tasks
    sources = step.sources if isinstance(step, Combine) else ()
    return tuple(dict.fromkeys(task for source in sources for task in _trained_on(source)))


def _went_in(step: Source) -> tuple[TaskData, ...]:
    """Tasks whose rows shaped a module's own weights, those of the training that it continues included."""
    if isinstance(step, Train) and isinstance(step.start, Warm):
        return tuple(dict.fromkeys((*_went_in(step.start.source), *step.tasks)))
    if isinstance(step, Combine):
        return tuple(dict.fromkeys(task for source in step.sources for task in _went_in(source)))
    return _trained_on(step)


def _heads(step: Source) -> tuple[HeadEntry, ...]:
    if isinstance(step, Combine):
        return _heads(step.sources[0])
    tasks = [load_task(data.name) for data in _trained_on(step)]
    prefixes = [f"{task.name}." if len(tasks) > 1 else "" for task in tasks]
    return tuple(
        HeadEntry(prefix=prefix, format=task.format, labels=task.labels)
        for task, prefix in zip(tasks, prefixes, strict=True)
    )


def _entry(data: TaskData) -> TaskEntry:
    task = load_task(data.name)
    return TaskEntry(
        name=task.name,
        version=data.version,
        format=task.format,
        metric=data.metric,
        labels=task.labels,
        language=data.language or SOURCE_LANGUAGE,
        rows=data.fingerprint,
        licence=task.licence,
    )


def _name(step: Source) -> str:
    """A short name that TOML takes as a bare key."""
    kind = step.method.kind
    if isinstance(step, Train):
        readable = "_".join((*(task.name for task in step.tasks), kind, f"s{step.seed}"))
    elif isinstance(step, Import):
        readable = _called(step).partition("@")[0].rpartition("/")[2]
    else:
        readable = f"merged_{step.merge.kind}_{kind}"
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in readable)


def _called(step: Import) -> str:
    """The id of a hub, or the last part of a path: where a directory lies is nobody's business."""
    source = step.source.rstrip("/")
    on_hub = source.count("/") == 1 and not source.startswith((".", "/", "~")) and not Path(source).is_dir()
    return source if on_hub else Path(source).name or f"module-{step.fingerprint[:12]}"


def _title(step: Source) -> str:
    kind = step.method.kind
    if isinstance(step, Train):
        return f"{kind} trained on {' and '.join(task.name for task in step.tasks)}, seed {step.seed}"
    if isinstance(step, Import):
        return f"published {kind} {_called(step)}"
    return f"{step.merge.kind} merge of {len(step.sources)} {kind} modules"


def _start(step: Source) -> str:
    if isinstance(step, Import):
        return f"imported from {_called(step)}"
    if isinstance(step, Combine):
        weights = step.weights or (None,) * len(step.sources)
        parts = (_cited(source, weight) for source, weight in zip(step.sources, weights, strict=True))
        return f"{step.merge.kind} merge of {'; '.join(parts)}" + (f"; weights: {step.decided}" if step.decided else "")
    if isinstance(step.start, Cold):
        return "new, on the backbone alone"
    if isinstance(step.start, Warm):
        return f"continues {_cited(step.start.source)}"
    how = "attention over" if isinstance(step.start, Fuse) else "new, on top of"
    return f"{how} {'; '.join(_cited(source) for source in step.start.sources)} (frozen)"


def _cited(source: Source, weight: float | None = None) -> str:
    return f"{'' if weight is None else f'{weight:g} × '}{_title(source)} [{key(source)}]"
