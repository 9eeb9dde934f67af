"""What a step of a plan does, in a line."""

from __future__ import annotations

from xstilts.composition import named, start_name
from xstilts.lineage import inputs
from xstilts.plan.graph import Plan
from xstilts.spec import Backbone, Combine, Import, Source, Step, Train


def label(plan: Plan, step: Step) -> str:
    """One line that tells a reader what a step does."""
    if isinstance(step, Import):
        return f"import {step.source}"
    if isinstance(step, Combine):
        how = f"decided by {step.decided}" if step.decided else " ".join(f"{weight:g}" for weight in step.weights or ())
        sources = ", ".join(map(named, step.sources))
        return f"merge {step.merge.kind} of {step.method.kind} · {sources} · {how} · seed {step.seed}"
    if isinstance(step, Train):
        return f"train {named(step)} · {_ancestry(plan, step)} · seed {step.seed}"
    return f"predict {step.task.name} · {_model(plan, step.model)}{' · language adapters' if step.swap else ''}"


def _model(plan: Plan, model: Source | Backbone) -> str:
    if isinstance(model, Backbone):
        return "bare backbone"
    if isinstance(model, Train):
        return f"{named(model)}, {_ancestry(plan, model)} · seed {model.seed}"
    return named(model) if isinstance(model, Import) else f"{named(model)} of {model.method.kind} · seed {model.seed}"


def _ancestry(plan: Plan, step: Train) -> str:
    names = [name for name, config in plan.loaded.adapters.items() if config == step.method]
    sources = ", ".join(map(named, inputs(step)))
    shape = names[0] if names else step.method.kind
    return f"{shape} {start_name(step)}" + (f" on {sources}" if sources else "")
