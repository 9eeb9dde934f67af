"""Masked language modelling on lines of text: XLM-R's own pre-training task, to be mixed with others.

Of the known tokens of a line 15 % are to be predicted, at least one; of these 80 % show as ``<mask>``, 10 % as a random
token and 10 % as themselves (Devlin et al. 2019, arXiv 1810.04805, §3.1; Conneau et al. 2020, arXiv 1911.02116, §3.1).

``encode`` gives the lines as they are. The masks are drawn anew for every step by ``noise``, a function of the line and
a seed, so a resumed training draws the same ones. Only masked positions are projected to the vocabulary: all tokens of
a batch times 250,002 classes would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from xstilts.batches import NO_ANCHORS, UNK, Batch, Feature, Ids
from xstilts.errors import fail
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._text import Text, bad_example, fields
from xstilts.spec import Example, Gold, Task, TextPair

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

MASK = "<mask>"
CHOSEN = 0.15  # share of the known tokens of a line that are to be predicted
HIDDEN, REPLACED = 0.8, 0.1  # shares of those that show as <mask>, and as a random token

NOTHING = np.empty(0, np.int64)


class LanguageModelHead(nn.Module):
    """Dense, gelu, layer norm, and the encoder's word embeddings as decoder (``XLMRobertaLMHead``).

    The decoder is not a parameter of the head: it trains where the embeddings train, and stays frozen where they do.

    Attributes:
        undo: what maps states back to the space of the word embeddings, if something lies between (MAD-X).
    """

    undo: Callable[[Tensor], Tensor] | None = None

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        nn.init.normal_(self.dense.weight, std=config.initializer_range)
        nn.init.zeros_(self.dense.bias)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self._decoder: tuple[nn.Embedding, ...] = ()  # a tuple, so that the head does not own what is in it

    def tie(self, embeddings: nn.Embedding) -> None:
        """Use the encoder's word embeddings as decoder."""
        self._decoder = (embeddings,)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``(rows, tokens, hidden)`` → ``(rows, masked tokens, vocabulary)``."""
        places = batch.anchors.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        states = self.layer_norm(nn.functional.gelu(self.dense(hidden.gather(1, places))))
        if self.undo is not None:
            states = self.undo(states)
        return nn.functional.linear(states, self._decoder[0].weight, self.bias)


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per line, without masks and so without targets; a line without a known token has none."""
    mask = text.tokenizer.token_to_id(MASK)
    if mask is None:
        raise fail(f"task {task.name}", f"needs a tokenizer with {MASK}")
    inputs = fields(task, examples, TextPair)
    for example, line in zip(examples, inputs, strict=True):
        if not line.first.strip() or line.second is not None:
            raise bad_example(task, example, "needs one text that is not empty")
    rows = [text.row(ids) for ids in text.ids([line.first for line in inputs])]
    features = tuple(
        Feature(index, (row.ids,), NOTHING, NO_ANCHORS) for index, row in enumerate(rows) if len(_known(row.ids, mask))
    )
    if not features:
        raise fail(f"task {task.name}", "no line has a token that the tokenizer knows")
    return Encoded(features, sum(row.cut for row in rows))


def noise(features: Sequence[Feature], text: Text, seed: int) -> list[Feature]:
    """Mask lines. Which tokens, and what they show, depends on the line's number and the seed alone."""
    mask, size = text.tokenizer.token_to_id(MASK), text.tokenizer.get_vocab_size()
    return [_masked(feature, mask, size, np.random.default_rng([seed, feature.example])) for feature in features]


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """A fresh language-model head; ``tie`` gives it its decoder."""
    return LanguageModelHead(config)


def join(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], values: Sequence[Scores]
) -> dict[int, Gold]:
    """Not reached: tokens are scored, not examples (``engine/masked.py``), and a prediction is refused beforehand."""
    raise NotImplementedError


def _masked(feature: Feature, mask: int, size: int, random: np.random.Generator) -> Feature:
    """A line with masks; ``size`` is that of the vocabulary, from which random tokens are drawn."""
    ids = feature.rows[0].copy()
    known = _known(ids, mask)
    places = np.sort(random.permutation(known)[: max(1, round(CHOSEN * len(known)))])
    targets = ids[places].astype(np.int64)
    fate = random.random(len(places))
    drawn = random.integers(UNK + 1, size, len(places))
    hidden = fate < HIDDEN
    replaced = ~hidden & (fate < HIDDEN + REPLACED)
    ids[places[hidden]] = mask
    ids[places[replaced]] = drawn[replaced]
    anchors = np.stack([places, places, places + 1], axis=1).astype(np.int32)
    return Feature(feature.example, (ids,), targets, anchors)


def _known(ids: Ids, mask: int) -> Ids:
    """Positions of the tokens that can be predicted: those that are not special."""
    return np.flatnonzero((ids > UNK) & (ids != mask)).astype(np.int32)


FORMAT = Format("mlm", encode, head, join, noise=noise)
