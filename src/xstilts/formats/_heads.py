"""The plain heads: the same modules as in XLM-R's own fine-tuning code, initialised the same way.

``Slots`` below are the places where a class is chosen; see ``formats/__init__.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xstilts.batches import PAD, Batch

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig


class SentenceHead(nn.Module):
    """Dropout, dense, tanh, dropout, linear on the state of ``<s>`` (``XLMRobertaClassificationHead``)."""

    def __init__(self, config: XLMRobertaConfig, outputs: int) -> None:
        super().__init__()
        self.dropout = _dropout(config)
        self.dense = _linear(config, config.hidden_size)
        self.out_proj = _linear(config, outputs)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(features, 1, classes)``: labels, or one score from each option's row."""
        state = torch.tanh(self.dense(self.dropout(hidden[:, 0])))
        scores: Tensor = self.out_proj(self.dropout(state))
        return scores.view(len(batch.targets), 1, -1)


class TokenHead(nn.Module):
    """Dropout and linear on every state (``XLMRobertaForTokenClassification``)."""

    def __init__(self, config: XLMRobertaConfig, outputs: int) -> None:
        super().__init__()
        self.dropout = _dropout(config)
        self.out_proj = _linear(config, outputs)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(rows, tokens, labels)``."""
        scores: Tensor = self.out_proj(self.dropout(hidden))
        return scores


class SpanHead(nn.Module):
    """Linear on every state, read as start and end (``XLMRobertaForQuestionAnswering``); padding cannot be chosen."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        self.out_proj = _linear(config, 2)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(rows, 2, tokens)``."""
        scores: Tensor = self.out_proj(hidden).float().transpose(1, 2)
        return scores.masked_fill((batch.ids == PAD)[:, None, :], -torch.inf)


def _dropout(config: XLMRobertaConfig) -> nn.Dropout:
    own = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if own is None else own)


def _linear(config: XLMRobertaConfig, outputs: int) -> nn.Linear:
    layer = nn.Linear(config.hidden_size, outputs)
    nn.init.normal_(layer.weight, std=config.initializer_range)
    nn.init.zeros_(layer.bias)
    return layer
