"""Masked language modelling on dev: the loss, and how many masked tokens are told right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from xstilts.batches import IGNORED, Feature, collate, sorted_batches
from xstilts.engine.device import Precision, autocast
from xstilts.engine.inference import NotFiniteError
from xstilts.errors import Problem
from xstilts.formats import loss

TOKENS = 2048  # per forward pass, padding included: about 300 masked ones, each with a score for every word there is


class Masked(NamedTuple):
    """What a model does on masked tokens.

    Attributes:
        score: share of the masked tokens that are told right, in percent.
        loss: mean cross-entropy in nats per masked token; its exponential is the perplexity.
    """

    score: float
    loss: float


def measure(model: nn.Module, features: Sequence[Feature], precision: Precision) -> Masked:
    """Predict the masked tokens of some features; the model is left in evaluation mode.

    Raises:
        NotFiniteError: the loss is NaN or infinite.
    """
    device = next(model.parameters()).device
    right, total = torch.zeros((), device=device), torch.zeros((), device=device)
    model.eval()
    with torch.inference_mode(), autocast(device, precision):
        for indices in sorted_batches(features, TOKENS):
            batch = collate([features[index] for index in indices]).to(device)
            scores = model(batch)
            total += loss(scores, batch.targets)
            right += ((scores.argmax(-1) == batch.targets) & (batch.targets != IGNORED)).sum()
    if not total.isfinite():
        raise NotFiniteError(Problem("model", "its scores are not finite numbers"))
    masked = sum(feature.weight for feature in features)
    return Masked(100.0 * float(right) / masked, float(total) / masked)
