"""How the weights of a combination are found before the target is trained, or from few of its examples.

``text``: the source whose training text is nearest to the target's, by the cosine of mean token states of the bare
backbone (TextEmb of Poth et al. 2021, arXiv 2104.08247, §5.1, there with a sentence encoder).
``few_shot``: the source from which a short training on few target examples reaches the best dev score (the same paper,
§5.2; the trainings are steps of their own).
``learned``: LoraHub (Huang et al. 2023, arXiv 2307.13269, §3): weights of all modules that give a few labelled examples
of the target the lowest loss, by gradient-free search. The first module is the target's own, whose head is used. The
examples are dev rows, by which the best weights of that module were chosen, too; test rows decide nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from xstilts.backbone import load_encoder, load_tokenizer
from xstilts.batches import Feature, collate, sorted_batches
from xstilts.data import subset
from xstilts.engine import compose
from xstilts.engine.compose import Runtime
from xstilts.engine.features import encode_cached
from xstilts.engine.inference import CPU_TOKENS
from xstilts.errors import fail
from xstilts.formats import Text, loss
from xstilts.spec import Combine, Example, Recipe, Task

TEXT_ROWS = 500  # of each task; the mean of a text hardly moves beyond
FEW = 64  # labelled target examples
BOUND = 1.5  # of a weight, as in LoraHub
L1 = 0.05  # LoraHub's penalty on the mean size of the weights
TRIALS_PER_WEIGHT = 15


@dataclass(frozen=True)
class Rows:
    """What decides.

    Attributes:
        target: the target's labelled English examples: of ``text`` its training rows, of ``learned`` its dev rows.
        sources: training rows of each source, by task; for ``text`` only.
    """

    target: tuple[Task, Sequence[Example]] | None = None
    sources: tuple[tuple[tuple[Task, Sequence[Example]], ...], ...] = ()


@dataclass(frozen=True)
class Found:
    """Weights, one for each source, and how they were come by."""

    weights: Sequence[float]
    facts: Mapping[str, Any] = field(default_factory=dict)


def weights(
    step: Combine, rows: Rows, runtime: Runtime, merged: Callable[[Sequence[float]], Mapping[str, Tensor]]
) -> Found:
    """Find the weights of a combination.

    Args:
        step: with ``decided``.
        rows: what decides.
        runtime: where it runs.
        merged: weights → tensors of the combination.

    Raises:
        XstiltsError: nothing to decide by.
    """
    if step.decided == "text":
        return _best(similarities(step, rows, runtime), "similarity")
    if step.decided == "few_shot":
        return _best([_dev_score(runtime.artifact(proxy)) for proxy in step.proxies or ()], "dev_score")
    return _learned(step, rows, runtime, merged)


def _best(scores: Sequence[float], name: str) -> Found:
    """All weight to the source with the highest score; of equal ones the first."""
    if not any(math.isfinite(score) for score in scores):
        raise fail("merge", f"no source has a {name}, so none can be chosen")
    best = max(range(len(scores)), key=lambda number: (scores[number], -number))
    shown = [score if math.isfinite(score) else None for score in scores]
    return Found([float(number == best) for number in range(len(scores))], {name: shown})


def _dev_score(directory: Path) -> float:
    """Best dev score of a training; minus infinity where it diverged."""
    found = json.loads((directory / "result.json").read_text())
    usable = found["status"] != "diverged" and found["dev_score"] is not None
    return float(found["dev_score"]) if usable else -math.inf


# ----------------------------------------------------------------------------------------------------------- text


def similarities(step: Combine, rows: Rows, runtime: Runtime) -> list[float]:
    """Cosine of the mean token state of each source's training text with that of the target's."""
    assert step.recipe is not None and rows.target is not None
    encoder = load_encoder(step.backbone).eval().to(runtime.device)
    text = Text(load_tokenizer(step.backbone), step.recipe.max_length, step.recipe.doc_stride)

    def mean(parts: Sequence[tuple[Task, Sequence[Example]]]) -> NDArray[np.float64]:
        states = [_mean_state(encoder, _features(task, examples, text, runtime)) for task, examples in parts]
        return np.asarray(np.mean(states, axis=0), np.float64)

    wanted = mean([rows.target])
    return [_cosine(mean(parts), wanted) for parts in rows.sources]


def _features(task: Task, examples: Sequence[Example], text: Text, runtime: Runtime) -> Sequence[Feature]:
    return encode_cached(task, subset(examples, TEXT_ROWS), text, runtime.features).features


def _mean_state(encoder: Any, features: Sequence[Feature]) -> NDArray[np.float64]:
    """Mean over all tokens of all features of the last hidden state ``(hidden,)``."""
    total, count = np.zeros(encoder.config.hidden_size), 0
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        for indices in sorted_batches(features, CPU_TOKENS):
            batch = collate([features[index] for index in indices]).to(device)
            states = encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
            total += (states * batch.mask[..., None]).sum((0, 1)).double().cpu().numpy()
            count += int(batch.mask.sum())
    return total / count


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# -------------------------------------------------------------------------------------------------------- learned


def _learned(
    step: Combine, rows: Rows, runtime: Runtime, merged: Callable[[Sequence[float]], Mapping[str, Tensor]]
) -> Found:
    assert step.recipe is not None and rows.target is not None
    task, examples = rows.target
    candidate = compose.for_search(step, task, runtime)
    candidate.model.to(runtime.device)
    text = Text(load_tokenizer(step.backbone), step.recipe.max_length, step.recipe.doc_stride)
    few = subset(examples, min(_limit(step.recipe), len(examples)))
    features = encode_cached(task, few, text, runtime.features).features
    if not any(feature.weight for feature in features):
        raise fail(f"merge for {task.name}", "no dev row has a target, so there is no loss to learn weights by")

    def objective(found: Sequence[float]) -> float:
        candidate.take(merged(found))
        return _mean_loss(candidate.model, features) + L1 * float(np.mean(np.abs(found)))

    best = search(objective, len(step.sources))
    facts = {"loss": best.loss, "loss_of_own_alone": best.first, "trials": best.trials, "examples": len(few)}
    return Found(best.weights, facts)


def _limit(recipe: Recipe) -> int:
    return FEW if recipe.dev_examples is None else min(FEW, recipe.dev_examples)


def _mean_loss(model: compose.Model, features: Sequence[Feature]) -> float:
    """Mean cross-entropy over all targets."""
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    with torch.inference_mode():
        for indices in sorted_batches(features, CPU_TOKENS):
            batch = collate([features[index] for index in indices]).to(device)
            total += loss(model(batch), batch.targets)
    return float(total) / max(1, sum(feature.weight for feature in features))


@dataclass(frozen=True)
class Best:
    """What a search found; ``first`` is the loss where it began."""

    weights: tuple[float, ...]
    loss: float
    first: float
    trials: int


def search(objective: Callable[[Sequence[float]], float], count: int) -> Best:
    """Minimise without gradients, within ±``BOUND``, from the first module alone; never ends above where it began.

    Args:
        objective: weights → loss; one that is not finite counts as very large.
        count: number of weights.
    """
    tried: list[tuple[float, tuple[float, ...]]] = []

    def value(found: Sequence[float]) -> float:
        chosen = tuple(float(each) for each in found)
        got = objective(chosen)
        tried.append((got if math.isfinite(got) else math.inf, chosen))
        return got if math.isfinite(got) else 1e6

    start = [1.0] + [0.0] * (count - 1)
    value(start)
    budget = TRIALS_PER_WEIGHT * count
    minimize(value, start, method="COBYQA", bounds=[(-BOUND, BOUND)] * count, options={"maxfev": budget})
    best = min(tried, key=lambda each: each[0])
    return Best(best[1], best[0], tried[0][0], len(tried))
