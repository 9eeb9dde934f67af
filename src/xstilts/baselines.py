"""Two trivial predictors, shown beside every result so that nobody mistakes a low bar for a high jump.

``majority`` ignores the input: the most frequent label, tag or option of the English training data; in retrieval the
first candidate, which is chance. ``overlap`` looks at shared character trigrams only: in a pair, the label that English
training pairs with as much overlap mostly have; among options or candidates, the one that shares most with the prompt
or query. In tagging it is the tag a word mostly has in the English training data. Span tasks have neither, and
neither have ranking and mining: a million candidates are not compared character by character for a baseline.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from xstilts.metrics import load_metric
from xstilts.spec import Choices, Example, FormatName, Gold, Sentence, Task, TextPair, Words, unique

OVERLAP_BINS = 10
WITHOUT: tuple[FormatName, ...] = ("span", "ranking", "mining", "mlm")

Predictor = Callable[[Example], Gold]


def baselines(task: Task, train: Sequence[Example], test: Sequence[Example]) -> dict[str, dict[str, float]]:
    """Score both baselines on a test set.

    Args:
        task: decides the metric.
        train: English training examples; empty for a retrieval task.
        test: examples of any number of languages.

    Returns:
        baseline → language → score in percent; empty for a format that has none.
    """
    if task.format in WITHOUT:
        return {}
    candidates: dict[str, list[Example]] = defaultdict(list)
    for example in test:
        if isinstance(example.fields, Sentence) and example.fields.role == "candidate":
            candidates[example.language].append(example)
    asked = [example for example in test if example.gold is not None]
    predictors = {"majority": _majority(train, candidates), "overlap": _overlap(train, candidates)}
    return {name: _scores(task, predict, asked) for name, predict in predictors.items()}


def trigrams(text: str) -> frozenset[str]:
    """The character trigrams of a text, edges included: a unit of overlap for scripts with and without spaces."""
    padded = f" {' '.join(text.lower().split())} "
    return frozenset(padded[start : start + 3] for start in range(max(1, len(padded) - 2)))


def shared(first: frozenset[str], second: frozenset[str]) -> float:
    """Jaccard overlap of two sets."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


class Pool:
    """Texts, of which the one that overlaps most with another text is wanted."""

    def __init__(self, texts: Sequence[str]) -> None:
        units = [trigrams(text) for text in texts]
        self.sizes = [len(each) for each in units]
        self.holders: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(units):
            for unit in each:
                self.holders[unit].append(number)

    def closest(self, text: str) -> int:
        """Number of the closest text; of equally close ones the first."""
        units = trigrams(text)
        common = Counter(number for unit in units for number in self.holders.get(unit, ()))
        overlaps = {number: count / (len(units) + self.sizes[number] - count) for number, count in common.items()}
        return min(overlaps, key=lambda number: (-overlaps[number], number), default=0)


def _scores(task: Task, predict: Predictor, asked: Sequence[Example]) -> dict[str, float]:
    metric = load_metric(task.metric)
    scores = {}
    for language in unique(example.language for example in asked):
        rows = [metric.stats(e.gold, predict(e), language) for e in asked if e.language == language]
        scores[language] = metric.score([sum(column) for column in zip(*rows, strict=True)])
    return scores


def _majority(train: Sequence[Example], candidates: dict[str, list[Example]]) -> Predictor:
    golds = [example.gold for example in train]
    most = _most(tag for gold in golds for tag in (gold if isinstance(gold, tuple) else (gold,)))

    def predict(example: Example) -> Gold:
        if isinstance(example.fields, Sentence):
            return candidates[example.language][0].item_id
        return (str(most),) * len(example.fields.words) if isinstance(example.fields, Words) else most

    return predict


def _overlap(train: Sequence[Example], candidates: dict[str, list[Example]]) -> Predictor:
    by_bin: dict[int, list[Gold]] = defaultdict(list)
    by_word: dict[str, list[Gold]] = defaultdict(list)
    for example in train:
        if isinstance(example.fields, TextPair):
            by_bin[_bin(example.fields)].append(example.gold)
        elif isinstance(example.fields, Words) and isinstance(example.gold, tuple):
            for word, tag in zip(example.fields.words, example.gold, strict=True):
                by_word[word].append(tag)
    label_of = {overlap: _most(golds) for overlap, golds in by_bin.items()}
    tag_of = {word: str(_most(tags)) for word, tags in by_word.items()}
    pools = {language: Pool([_text(each) for each in pool]) for language, pool in candidates.items()}
    other = _majority(train, candidates)

    def predict(example: Example) -> Gold:
        fields = example.fields
        if isinstance(fields, TextPair):
            return label_of.get(_bin(fields), other(example))
        if isinstance(fields, Choices):
            return Pool(fields.options).closest(fields.prompt)
        if isinstance(fields, Sentence):
            return candidates[example.language][pools[example.language].closest(fields.text)].item_id
        assert isinstance(fields, Words)
        return tuple(tag_of.get(word, tag) for word, tag in zip(fields.words, _tags(other(example)), strict=True))

    return predict


def _tags(gold: Gold) -> tuple[str, ...]:
    assert isinstance(gold, tuple)
    return gold


def _text(candidate: Example) -> str:
    assert isinstance(candidate.fields, Sentence)
    return candidate.fields.text


def _bin(pair: TextPair) -> int:
    return round(OVERLAP_BINS * shared(trigrams(pair.first), trigrams(pair.second or "")))


def _most(golds: Iterable[Gold]) -> Gold:
    """The most frequent one; of equally frequent ones the first by name, so that row order does not matter."""
    counts = Counter(golds)
    return min(counts, key=lambda gold: (-counts[gold], str(gold))) if counts else None
