"""Hidden states of a sentence → one vector."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from xstilts.batches import BOS, EOS, PAD, Batch
from xstilts.spec import Pooling

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
DEFAULT: Pooling = "mean_no_special"
# Of the softmax over a batch: what XTREME's dual encoder starts with (a scale of 100) and hardly leaves.
TEMPERATURE = 0.01


def pool(hidden: Tensor, ids: Tensor, how: Pooling) -> Tensor:
    """One vector per row.

    ``mean_no_special`` leaves ``<s>`` and ``</s>`` out, ``mean`` keeps them as the code of arXiv 2005.13013 does,
    ``cls`` is the state of ``<s>``. Padding never counts; a row without a token that counts is zero.

    Args:
        hidden: ``(rows, tokens, hidden)``.
        ids: token ids ``(rows, tokens)``.
        how: see ``spec.Predict``.

    Returns:
        ``(rows, hidden)``, in single precision.
    """
    if how == "cls":
        return hidden[:, 0].float()
    left_out = ids == PAD
    if how == "mean_no_special":
        left_out = left_out | (ids == BOS) | (ids == EOS)
    kept = (~left_out).unsqueeze(-1).float()
    return (hidden.float() * kept).sum(1) / kept.sum(1).clamp(min=1)


class Pool(nn.Module):
    """Pooling in the place of a head; has no parameters.

    A batch of sentences becomes vectors. A batch of pairs, which is what a dual encoder is trained on, becomes
    similarities within the batch: every query against its own positive and against those of all others.
    """

    def __init__(self, how: Pooling | None = None) -> None:
        super().__init__()
        self.how: Pooling = how or DEFAULT

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(rows, 1, hidden)``, or of pairs ``(features, 1, features)``.

        Class 0 of a pair is its own positive, class n that of the n-th feature after it: the cosine, over
        ``TEMPERATURE``. Where another feature has the very same positive it is no negative, and cannot be chosen.
        """
        vectors = pool(hidden, batch.ids, self.how)
        count = len(batch.targets)
        if len(vectors) == count:
            return vectors.unsqueeze(1)
        places = torch.arange(count, device=vectors.device)
        rolled = (places[:, None] + places[None, :]) % count
        with torch.autocast(vectors.device.type, enabled=False):  # bf16 has steps of 0.5 where the best scores lie
            queries, positives = nn.functional.normalize(vectors, dim=1).view(count, 2, -1).unbind(1)
            scores = (queries @ positives.T / TEMPERATURE).gather(1, rolled)
        texts = batch.ids.view(count, 2, -1)[:, 1]
        same = (texts[:, None] == texts[None, :]).all(-1).gather(1, rolled)
        same[:, 0] = False
        return scores.masked_fill(same, -torch.inf).unsqueeze(1)
