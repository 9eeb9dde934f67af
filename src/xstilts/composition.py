"""What may be composed: every start and every combination of a plan, held against its methods before anything trains.

The libraries accept almost anything and compute something else than what was meant: a stack whose upper module erases
the lower one, an average that is divided twice. What is void, or means nothing, is refused here, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xstilts.errors import Problem, XstiltsError
from xstilts.key import key
from xstilts.lineage import Block, chain, inputs, lineage, swapped
from xstilts.merges import load_merge
from xstilts.methods import bottleneck, load_method
from xstilts.spec import (
    Backbone,
    Cold,
    Combine,
    Fuse,
    Import,
    Predict,
    Source,
    Stack,
    StartName,
    Step,
    Train,
    Value,
    Warm,
)


def check(step: Step) -> None:
    """Hold a step, and all that it is made of, against what its methods can do.

    Raises:
        XstiltsError: a start that is void or mixes methods or backbones, a combination that is not defined.
    """
    found = dict.fromkeys(_problems(step))
    if found:
        raise XstiltsError(*found)
    models = [chain(source) for source in (inputs(step) if isinstance(step, Predict) else (step,))]
    if isinstance(step, Predict) and step.swap is not None:
        models += [swapped(models[0], step.swap, language) for language, _ in step.swap.by]
    reasons = dict.fromkeys(reason for blocks in models if (reason := _void(blocks)))
    if reasons:
        raise XstiltsError(*(Problem("start", f"refused: {reason}") for reason in reasons))


def _void(blocks: tuple[Block, ...]) -> str | None:
    """Why the modules of a model cannot work together, or None."""
    names = [key(module) for block in blocks for module in block.modules]
    if len(set(names)) < len(names):
        return "the same module takes part twice"
    first = blocks[0].modules[0]
    if first.method.kind != "bottleneck":
        return None
    shapes = [[bottleneck.Options.model_validate(each.method.options) for each in block.modules] for block in blocks]
    alone = [number for number, block in enumerate(blocks) if block.fused_by is not None and len(block.modules) == 1]
    return bottleneck.void(shapes, first.backbone.layers, alone)


def start_name(step: Train) -> StartName:
    """How a start is called in a study."""
    names: dict[type, StartName] = {Cold: "cold", Warm: "warm", Stack: "stack", Fuse: "fuse"}
    return names[type(step.start)]


def options(source: Source) -> Value:
    """The options of a module's method, completed."""
    found: Value = load_method(source.method.kind).Options.model_validate(source.method.options)
    return found


def _problems(step: Step) -> Iterator[Problem]:
    for source in inputs(step):
        yield from _problems(source)
    if isinstance(step, Train):
        yield from _start_problems(step)
    elif isinstance(step, Combine):
        yield from _merge_problems(step)
    elif isinstance(step, Predict) and step.swap is not None:
        yield from _swap_problems(step)


def _start_problems(step: Train) -> Iterator[Problem]:
    name = start_name(step)
    where = f"train {step.task.name}: start"
    reason = load_method(step.method.kind).refuse(name)
    if reason:
        yield Problem(where, f"refused with {step.method.kind}: {reason}", name)
        return
    for source in inputs(step):
        yield from _mixed(where, step, source)
    if isinstance(step.start, Warm):
        source = step.start.source
        if source.method.kind == step.method.kind and options(source) != options(step):
            yield Problem(where, "a warm start needs a source with the same options", str(source.method.options))


def _merge_problems(step: Combine) -> Iterator[Problem]:
    where = f"merge {step.merge.kind}"
    for source in step.sources:
        if source.backbone.fingerprint != step.backbone.fingerprint:
            yield Problem(where, f"{named(source)} was made for another backbone", source.backbone.name)
    merge = load_merge(step.merge.kind)
    chosen = merge.Options.model_validate(step.merge.options)
    reason = merge.refuse([source.method for source in step.sources], step.weights, chosen)
    if reason is None and step.merge.kind != "select" and step.method.kind == "bottleneck":
        reason = _unlike(step.sources)
    if reason:
        yield Problem(where, f"refused: {reason}")


def _unlike(sources: Sequence[Source]) -> str | None:
    """Why bottlenecks cannot be averaged, or None. Of those that are published it is not known what they began as."""
    beginnings = {found for source in sources if (found := _beginning(source)) is not None}
    if len(beginnings) < 2:
        return None
    return "bottlenecks can only be averaged if they began at the same weights: trainings of one seed on one start"


def _beginning(source: Source) -> object:
    """What a module's weights were before it was trained, as something that can be compared; None = not known."""
    if not isinstance(source, Train):
        return None
    if isinstance(source.start, Warm):
        before = source.start.source
        return _beginning(before) if isinstance(before, Train) else key(before)
    return len(lineage(source)), source.seed  # as the engine draws them


def _swap_problems(step: Predict) -> Iterator[Problem]:
    assert step.swap is not None
    where = f"predict {step.task.name}: language modules"
    if isinstance(step.model, Backbone) or [key(each) for each in chain(step.model)[0].modules] != [key(step.swap.out)]:
        given = "the bare backbone" if isinstance(step.model, Backbone) else named(step.model)
        what = (
            f"the model does not lie on {named(step.swap.out)}, which would take no part; start 'stack' lays it there"
        )
        yield Problem(where, what, given)
    for language, module in step.swap.by:
        yield from _mixed(f"{where}: {language}", step.swap.out, module)


def _mixed(where: str, step: Source, source: Source) -> Iterator[Problem]:
    if source.backbone.fingerprint != step.backbone.fingerprint:
        yield Problem(where, f"{named(source)} was trained on another backbone", source.backbone.name)
    if source.method.kind != step.method.kind:
        what = f"{named(source)} was trained with another method"
        yield Problem(where, what, source.method.kind, (step.method.kind,))


def named(source: Source) -> str:
    """What a module is called in a message: the tasks it was trained on, or where it was published."""
    if isinstance(source, Import):
        return source.source
    if isinstance(source, Combine):
        return f"{source.merge.kind}({', '.join(named(each) for each in source.sources)})"
    return "+".join(each.name if each.language is None else f"{each.name}@{each.language}" for each in source.tasks)
