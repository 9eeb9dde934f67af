"""Extractive question answering over overlapping windows, with "no answer" at ``<s>``.

As in BERT's SQuAD 2.0 fine-tuning (Devlin et al. 2019, arXiv 1810.04805, §4.3): a window that does not hold the whole
answer has its target at ``<s>``; the prediction is the best span of any window, unless the task has questions without
an answer and "no answer" scores higher in every window. The answer is cut out of the context by character offsets,
never rebuilt from tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from xstilts.batches import BOS, EOS, IGNORED, Feature, Ids, Indices
from xstilts.formats import Encoded, Format, Scores
from xstilts.formats._heads import SpanHead
from xstilts.formats._text import Pieces, Text, bad_example, fields
from xstilts.formats._text import join as in_a_row
from xstilts.spec import Answers, Example, Gold, Passage, Task, unique

if TYPE_CHECKING:
    from transformers import XLMRobertaConfig

# Tokens. The original code allows 30, but a limit in tokens is unfair to languages whose words fall into many pieces:
# with a vocabulary of 12,000 it puts 7 % of the Vietnamese answers of XQuAD out of reach.
MAX_ANSWER = 64
NO_ANSWER = (0, 0)  # the position of <s>
BEFORE_CONTEXT = 3  # special tokens before the context, beside the question


class _Window(NamedTuple):
    """Neighbouring tokens of a context, the number of the first of them, and the characters they cover."""

    first: int
    ids: Ids
    spans: Ids


class Found(NamedTuple):
    """Best span of one window, as characters, and how it scores against "no answer"."""

    score: float
    null: float
    start: int
    end: int


def encode(task: Task, examples: Sequence[Example], text: Text) -> Encoded:
    """One feature per window ``<s> question </s></s> part of the context </s>``.

    ``anchors`` hold the position of each context token and the characters it covers. An example counts as truncated
    where the question was cut, or where no window holds the whole answer.
    """
    inputs = fields(task, examples, Passage)
    questions = text.ids([passage.question for passage in inputs])
    distinct = unique(passage.context for passage in inputs)  # many questions share one
    contexts = dict(zip(distinct, text.pieces(distinct), strict=True))
    features: list[Feature] = []
    truncated = 0
    for index, (example, passage) in enumerate(zip(examples, inputs, strict=True)):
        context, answer = contexts[passage.context], _answer(task, example, passage)
        place = None if answer is None else _tokens(context, answer)
        longest = (text.max_length - 4) // 2
        question = questions[index][:longest]
        windows = list(_windows(context, len(question), text))
        held = [_target(window, len(question), place) for window in windows]
        lost = answer is not None and all(target == NO_ANSWER for target in held)
        truncated += lost or len(questions[index]) > longest
        for window, target in zip(windows, held, strict=True):
            known = target if example.gold is not None else (IGNORED, IGNORED)
            features.append(_feature(index, question, window, known))
    return Encoded(tuple(features), truncated)


def head(task: Task, config: XLMRobertaConfig) -> nn.Module:
    """One linear map to start and end scores at every token."""
    return SpanHead(config)


def reduce(feature: Feature, score: Scores) -> Found:
    """The best pair of start ≤ end of a window, at most ``MAX_ANSWER`` tokens apart, from scores ``(2, tokens)``."""
    return _best(feature.anchors, score)


def join(
    task: Task, examples: Sequence[Example], features: Sequence[Feature], best_of: Sequence[Found]
) -> dict[int, Gold]:
    """Text of the best span of any window; empty = no answer."""
    found: dict[int, list[Found]] = {}
    for feature, window in zip(features, best_of, strict=True):
        found.setdefault(feature.example, []).append(window)
    contexts = fields(task, examples, Passage)
    answers: dict[int, Gold] = {}
    for index, windows in found.items():
        best = max(windows, key=lambda window: window.score)
        null = min(window.null for window in windows)
        answered = best.score > null or not task.no_answer
        answers[index] = contexts[index].context[best.start : best.end] if answered else ""
    return answers


def _answer(task: Task, example: Example, passage: Passage) -> tuple[int, int] | None:
    """Characters of the first gold answer; None where there is none."""
    if not passage.question.strip() or not passage.context.strip():
        raise bad_example(task, example, "has an empty question or context")
    if example.gold is None:
        return None
    if not isinstance(example.gold, Answers):
        raise bad_example(task, example, "gold must be answers", example.gold)
    if not example.gold.texts:
        return None
    start, answer = example.gold.starts[0], example.gold.texts[0]
    if not answer.strip() or passage.context[start : start + len(answer)] != answer:
        raise bad_example(task, example, f"answer is not in the context at character {start}", answer)
    return start, start + len(answer)


def _tokens(context: Pieces, answer: tuple[int, int]) -> tuple[int, int] | None:
    """First and last token that cover a character of the answer; None where the tokenizer dropped all of it."""
    starts, ends = context.spans[:, 0], context.spans[:, 1]
    inside = np.flatnonzero((starts < ends) & (ends > answer[0]) & (starts < answer[1]))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def _windows(context: Pieces, question: int, text: Text) -> Iterator[_Window]:
    """Cut a context into windows that share ``doc_stride`` tokens, at most half a window."""
    room = text.max_length - 4 - question
    step = room - min(text.doc_stride, room // 2)
    for start in range(0, max(len(context.ids) - room + step, 1), step):
        yield _Window(start, context.ids[start : start + room], context.spans[start : start + room])


def _target(window: _Window, question: int, place: tuple[int, int] | None) -> tuple[int, int]:
    """Positions of the answer's first and last token in the row, if the window holds all of it."""
    if place is None or place[0] < window.first or place[1] >= window.first + len(window.ids):
        return NO_ANSWER
    shift = question + BEFORE_CONTEXT - window.first
    return place[0] + shift, place[1] + shift


def _feature(index: int, question: Ids, window: _Window, target: tuple[int, int]) -> Feature:
    row = in_a_row([BOS], question, [EOS, EOS], window.ids, [EOS])
    positions = np.arange(len(window.ids)) + len(question) + BEFORE_CONTEXT
    covers = window.spans[:, 0] < window.spans[:, 1]
    anchors = np.column_stack([positions, window.spans])[covers].astype(np.int32)
    return Feature(index, (row,), np.array(target, np.int64), anchors)


def _best(anchors: Ids, score: Scores) -> Found:
    """The best pair of start ≤ end, at most ``MAX_ANSWER`` tokens apart.

    Args:
        anchors: ``(tokens of the context, 3)``.
        score: start and end scores ``(2, tokens)``.
    """
    null = float(score[0, 0] + score[1, 0])
    if not len(anchors):
        return Found(-np.inf, null, 0, 0)
    starts, ends = score[0, anchors[:, 0]], score[1, anchors[:, 0]]
    pairs = starts[:, None] + ends[None, :]
    distance: Indices = np.arange(len(anchors))[None, :] - np.arange(len(anchors))[:, None]
    pairs[(distance < 0) | (distance >= MAX_ANSWER)] = -np.inf
    first, last = np.unravel_index(pairs.argmax(), pairs.shape)
    return Found(float(pairs[first, last]), null, int(anchors[first, 1]), int(anchors[last, 2]))


FORMAT = Format("span", encode, head, join, reduce, over_tokens=True)
