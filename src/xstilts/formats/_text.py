"""Text → token ids: what all formats share.

Special tokens are put in here, as XLM-R was pre-trained: ``<s> a </s>`` and ``<s> a </s></s> b </s>``. Whatever does
not fit is cut here, and the caller is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer

from xstilts.batches import BOS, EOS, UNK, Ids
from xstilts.errors import XstiltsError, fail
from xstilts.spec import Example, Task

F = TypeVar("F")
A = TypeVar("A")
B = TypeVar("B")

CHUNK = 1024  # texts tokenised at a time; the library's results are large
BEGIN, BETWEEN, END = (np.array(special, np.int32) for special in ([BOS], [EOS, EOS], [EOS]))
SPACE = "▁"  # the piece that stands for white space alone


class Row(NamedTuple):
    """One sequence with its special tokens, and whether it had to be cut."""

    ids: Ids
    cut: bool


class Pieces(NamedTuple):
    """Tokens of a text and the characters they cover.

    Attributes:
        ids: ``(tokens,)``.
        spans: first and one past the last character ``(tokens, 2)``, without white space around; empty ranges are
            tokens that cover no character of their own.
    """

    ids: Ids
    spans: Ids


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A tokenizer and the length that a sequence may have.

    Attributes:
        tokenizer: see ``backbone.load_tokenizer``.
        max_length: tokens, special ones included.
        doc_stride: tokens shared by neighbouring windows of a long context.
    """

    tokenizer: Tokenizer
    max_length: int
    doc_stride: int

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, without special tokens."""
        found: list[Ids] = []
        for encodings in _ahead(self._without_offsets, _chunks(texts)):
            pieces = [encoding.ids for encoding in encodings]
            flat, ends = _known(list(chain.from_iterable(pieces))), accumulate(map(len, pieces), initial=0)
            found += [flat[start:end] for start, end in pairwise(ends)]
        return found

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Tokens of each text with the characters they cover."""
        space = self.tokenizer.token_to_id(SPACE)
        encodings = self._encodings(texts)
        return [_pieces(text, encoding, space) for text, encoding in zip(texts, encodings, strict=True)]

    def words(self, sentences: Sequence[Sequence[str]]) -> list[list[Ids]]:
        """Token ids of each word of each sentence; ``<unk>`` for a word that the tokenizer deletes (say, U+200B)."""
        flat = self.ids([word for sentence in sentences for word in sentence])
        words = iter([word if len(word) else np.array([UNK], np.int32) for word in flat])
        return [[next(words) for _ in sentence] for sentence in sentences]

    def row(self, first: Ids, second: Ids | None = None) -> Row:
        """Join one or two texts; where they are too long together, the longer one is cut first."""
        if second is None:
            room = self.max_length - 2
            return Row(np.concatenate([BEGIN, first[:room], END]), len(first) > room)
        room = self.max_length - 4
        size = min(len(first), max(room - len(second), room - room // 2))
        kept = np.concatenate([BEGIN, first[:size], BETWEEN, second[: room - size], END])
        return Row(kept, len(first) + len(second) > room)

    def _without_offsets(self, texts: list[str]) -> list[Encoding]:
        """Offsets would take a third of the time."""
        found: list[Encoding] = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return found

    def _encodings(self, texts: Sequence[str]) -> Iterator[Encoding]:
        for chunk in _chunks(texts):
            yield from self.tokenizer.encode_batch(chunk, add_special_tokens=False)


def join(*parts: Sequence[int] | Ids) -> Ids:
    """Put pieces of a row together."""
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def fields(task: Task, examples: Sequence[Example], kind: type[F]) -> list[F]:
    """The inputs of the examples, which must be of the format's kind.

    Raises:
        XstiltsError: they are not.
    """
    found: list[F] = []
    for example in examples:
        if not isinstance(example.fields, kind):
            raise bad_example(task, example, f"is not an input of format {task.format}", type(example.fields).__name__)
        found.append(example.fields)
    return found


def bad_example(task: Task, example: Example, what: str, given: object = None) -> XstiltsError:
    """The error for an example that cannot be used; points at it by language and id."""
    where = f"task {task.name}, example {example.item_id} ({example.language})"
    return fail(where, what, None if given is None else str(given)[:80], task.labels)


def _ahead(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map, with the next result being made in another thread while this one is used; the tokenizer lets it run."""
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[B]] = deque()
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), CHUNK):
        yield list(texts[start : start + CHUNK])


def _known(numbers: Sequence[int]) -> Ids:
    """Token ids; a special token that is spelt out in a text is text, and unknown if the vocabulary knows no better."""
    ids = np.array(numbers, np.int32)
    ids[ids <= EOS] = UNK
    return ids


def _pieces(text: str, encoding: Encoding, space: int | None) -> Pieces:
    """Mend the tokenizer's offsets, which take in leading white space and drop combining marks after composing them."""
    spans = [list(span) for span in encoding.offsets]
    for span, token in zip(spans, encoding.ids, strict=True):
        if token == space:
            span[0] = span[1]
    for here, following in pairwise([*spans, [len(text), len(text)]]):
        while here[0] < here[1] and text[here[0]].isspace():
            here[0] += 1
        if here[0] < here[1]:
            while here[1] < following[0] and not text[here[1]].isspace():
                here[1] += 1
    return Pieces(_known(encoding.ids), np.array(spans, np.int32).reshape(-1, 2))
