"""Vectors of sentences at every layer and under every pooling, in one pass: to choose or to diagnose a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from xstilts.backbone import load_encoder, load_tokenizer
from xstilts.batches import Feature, collate, sorted_batches
from xstilts.engine.device import Precision, autocast
from xstilts.engine.inference import CPU_TOKENS, GPU_TOKENS
from xstilts.errors import fail
from xstilts.formats import POOLINGS, Text, encode, pool
from xstilts.search import Floats, Rows, nearest, nearest_by_margin
from xstilts.spec import Backbone, Example, Pooling, Task, is_candidate, unique

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class Cell(NamedTuple):
    """What one layer and pooling do in one language.

    Attributes:
        layer: 0 = embeddings.
        cosine: share of queries, in percent, whose nearest candidate by cosine is theirs.
        margin: the same by ratio margin.
    """

    language: str
    layer: int
    pooling: Pooling
    cosine: float
    margin: float


def survey(backbone: Backbone, task: Task, examples: Sequence[Example], max_length: int, device: str) -> Iterator[Cell]:
    """Retrieval accuracy at every layer and under every pooling of a bare backbone, language by language.

    Args:
        backbone: the encoder.
        task: of format retrieval.
        examples: queries and candidates.
        max_length: tokens of a sentence, special ones included.
        device: a torch device name; the pass is in single precision.

    Raises:
        XstiltsError: a task of another format; examples that cannot be read.
    """
    if task.format != "retrieval":
        raise fail(f"task {task.name}", "layers are compared on tasks of format retrieval", task.format)
    encoder = load_encoder(backbone).to(device).eval()
    text = Text(load_tokenizer(backbone), max_length, 0)
    for language in unique(example.language for example in examples):
        queries = [each for each in examples if each.language == language and not is_candidate(each)]
        candidates = [each for each in examples if each.language == language and is_candidate(each)]
        place = {candidate.item_id: row for row, candidate in enumerate(candidates)}
        own = np.array([place[str(query.gold)] for query in queries])
        sides = [represent(encoder, encode(task, side, text).features, "fp32") for side in (queries, candidates)]
        for layer, how, rights in _compare(sides[0], sides[1], own):
            yield Cell(language, layer, how, *rights)


def represent(encoder: XLMRobertaModel, features: Sequence[Feature], precision: Precision) -> Floats:
    """Vectors of sentences, in single precision.

    Needs ``4 · (layers + 1) · 3 · sentences · hidden`` bytes: 0.3 GB for 1,000 sentences in XLM-R Large.

    Args:
        encoder: in evaluation mode.
        features: one per sentence, of one row.
        precision: of the forward pass.

    Returns:
        ``(layers + 1, poolings, sentences, hidden)``; layer 0 = embeddings, poolings in the order of ``POOLINGS``.
    """
    device = next(encoder.parameters()).device
    config = encoder.config
    shape = (config.num_hidden_layers + 1, len(POOLINGS), len(features), config.hidden_size)
    found = np.empty(shape, np.float32)
    with torch.inference_mode(), autocast(device, precision):
        for indices in sorted_batches(features, CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
            batch = collate([features[index] for index in indices]).to(device)
            states = encoder(input_ids=batch.ids, attention_mask=batch.mask, output_hidden_states=True).hidden_states
            for layer, hidden in enumerate(states):
                for place, how in enumerate(POOLINGS):
                    found[layer, place, indices] = pool(hidden, batch.ids, how).float().cpu().numpy()
    return found


def _compare(queries: Floats, candidates: Floats, own: Rows) -> Iterator[tuple[int, Pooling, list[float]]]:
    """Layer, pooling, and the share of queries that find their own candidate by cosine and by margin, in percent."""
    for layer in range(len(queries)):
        for place, how in enumerate(POOLINGS):
            pair = queries[layer, place], candidates[layer, place]
            yield layer, how, [100 * float((find(*pair) == own).mean()) for find in (nearest, nearest_by_margin)]
