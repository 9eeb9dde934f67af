"""The step ``Combine``: one module out of several, without gradients."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xstilts.backbone import load_encoder
from xstilts.composition import check
from xstilts.engine import artifact, decide
from xstilts.engine.compose import ENCODER_FILE, HEAD_FILE, Runtime, about
from xstilts.engine.decide import Rows
from xstilts.engine.device import environment
from xstilts.lineage import head_of
from xstilts.merges import Part, load_merge
from xstilts.spec import Combine


def run(step: Combine, rows: Rows, directory: Path, runtime: Runtime) -> None:
    """Find the weights where they are not given, combine, and write ``encoder.safetensors`` and ``result.json``.

    Where the first source has a head, ``head.safetensors`` is written, too.

    Args:
        step: the combination.
        rows: what decides; empty where nothing is to be decided.
        directory: the step's partial directory.
        runtime: where it runs.

    Raises:
        XstiltsError: a combination that is not defined; a missing, damaged or foreign artefact.
    """
    began = time.perf_counter()
    torch.set_num_threads(1 if step.recipe is None else step.recipe.threads)
    check(step)
    merge = load_merge(step.merge.kind)
    options = merge.Options.model_validate(step.merge.options)
    parts = [
        Part(source.method, artifact.everything(runtime.artifact(source) / ENCODER_FILE, about(source, "encoder")))
        for source in step.sources
    ]
    is_full = step.method.kind == "full"
    base: dict[str, Tensor] = dict(load_encoder(step.backbone).named_parameters()) if is_full else {}
    if step.weights is not None:
        found = decide.Found(step.weights)
    else:
        found = decide.weights(step, rows, runtime, lambda w: merge.merge(parts, w, options, base, step.seed).tensors)
    merged = merge.merge(parts, found.weights, options, base, step.seed)
    artifact.save(directory / ENCODER_FILE, merged.tensors, about(step, "encoder"))
    heads = _heads(step, found.weights, runtime)
    if heads:
        artifact.save(directory / HEAD_FILE, heads, about(step, "head"))
    files = [directory / ENCODER_FILE, *([directory / HEAD_FILE] if heads else [])]
    result: dict[str, Any] = {
        "kind": "combine",
        "status": "ok",
        "weights": list(found.weights),
        "decided_by": step.decided,
        **found.facts,
        "merge": dict(merged.facts),
        "stored_parameters": sum(tensor.numel() for tensor in (*merged.tensors.values(), *heads.values())),
        "stored_bytes": sum(file.stat().st_size for file in files),
        "head_parameters": sum(tensor.numel() for tensor in heads.values()),
        "seconds": time.perf_counter() - began,
        "environment": environment(torch.device(runtime.device)),
    }
    (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def _heads(step: Combine, weights: Sequence[float], runtime: Runtime) -> dict[str, Tensor]:
    """The head of the result: the first source's, or the mean of all where all were trained on the same tasks.

    Weights that do not sum to something positive have no mean, and weights were learned with the first source's head.
    """
    trained = [head_of(source) for source in step.sources]
    first = trained[0]
    if first is None:
        return {}
    stored = [
        artifact.everything(runtime.artifact(source) / HEAD_FILE, about(source, "head"))
        for source, train in zip(step.sources, trained, strict=True)
        if train is not None and train.tasks == first.tasks
    ]
    total = sum(weights)
    if step.decided == "learned" or len(stored) < len(step.sources) or min(weights) < 0 or total <= 0:
        return stored[0]
    shares = [weight / total for weight in weights]
    if 1.0 in shares:  # bit for bit
        return stored[shares.index(1.0)]
    return {
        name: sum((share * head[name] for share, head in zip(shares, stored, strict=True)), torch.zeros(()))
        for name in stored[0]
    }
