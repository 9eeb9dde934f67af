"""What a model sees of a task: some examples token by token, and what tokenising does to all of them.

For a person to look at, before anything is trained: is the gold where it should be, do the offsets hold, how much is
cut off, how much of the language does the tokenizer not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text as Line

from xstilts.backbone import load_tokenizer, resolve
from xstilts.batches import BOS, EOS, PAD, UNK, Feature, Ids, Indices
from xstilts.data import Sources, load_examples
from xstilts.errors import fail
from xstilts.formats import Encoded, Text, encode
from xstilts.formats.span import MAX_ANSWER
from xstilts.spec import Answers, Backbone, Choices, Example, Fields, Passage, Sentence, Split, Task, TextPair, Words
from xstilts.tasks import load_task

WHOLE = 10_000_000  # a length that cuts nothing off
DOC_STRIDE = 64  # tokens; as ``Recipe`` has it
LEAST_LENGTH = 8
MOST_LABELS = 20  # lines of the label distribution
AROUND = 3  # tokens shown on either side of an answer
CONTEXT = 60  # characters shown on either side of an answer
NAME_WIDTH = 20
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        language: None = the first that the task declares for the split.
        max_length: tokens, special ones included.
        rows: number of examples to show.
    """

    task: str
    split: Split
    sources: Sources
    backbone: str
    max_length: int
    rows: int
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Offsets:
    """How many answers come back from the context as they were.

    Attributes:
        answers: first gold answers of all questions that have one.
        exact: found again, character by character.
        wider: found again with characters around them, because a token reaches across an end of the answer.
        lost: held whole by no window.
        long: of more than ``formats.span.MAX_ANSWER`` tokens, so never predicted.
    """

    answers: int
    exact: int
    wider: int
    lost: int
    long: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All examples in numbers.

    Attributes:
        examples: their number.
        without_gold: examples that are not scored.
        clusters: number of clusters.
        largest_cluster: examples of the largest.
        labels: (label, count), most frequent first; see ``_labels``.
        lengths: tokens of an example whole, special ones included: smallest, median, 95 %, largest.
        truncated: examples that do not fit ``max_length`` whole; see ``formats.Encoded``.
        features: rows of the model's input: windows, pieces of sentences, or one per example.
        tokens: of all examples whole, without special ones.
        unknown: tokens that stand for what the vocabulary does not know.
        words: pieces between white space; in tagging the words as given.
        characters: all but white space.
        offsets: span tasks only.
    """

    examples: int
    without_gold: int
    clusters: int
    largest_cluster: int
    labels: tuple[tuple[str, int], ...]
    lengths: tuple[int, int, int, int]
    truncated: int
    features: int
    tokens: int
    unknown: int
    words: int
    characters: int
    offsets: Offsets | None


@dataclass(frozen=True)
class Inspection:
    """A split of a task in one language, tokenised.

    Attributes:
        encoded: as the model gets it.
        shown: number of examples to show.
    """

    task: Task
    split: Split
    language: str
    backbone: Backbone
    text: Text
    examples: Sequence[Example]
    encoded: Encoded
    facts: Facts
    shown: int


def look(request: Request) -> Inspection:
    """Load and tokenise.

    Raises:
        XstiltsError: no such task, split or language; bad data; a length that the backbone cannot take.
    """
    task = load_task(request.task)
    language = request.language or _first_language(task, request.split)
    backbone = resolve(request.backbone)
    if not LEAST_LENGTH <= request.max_length <= backbone.positions:
        what = f"must be {LEAST_LENGTH} to {backbone.positions} tokens with this backbone"
        raise fail("--max-length", what, str(request.max_length))
    if request.rows < 0:
        raise fail("--rows", "must not be negative", str(request.rows))
    examples = load_examples(task, request.split, (language,), request.sources)
    text = Text(load_tokenizer(backbone), request.max_length, DOC_STRIDE)
    encoded = encode(task, examples, text)
    whole = encode(task, examples, Text(text.tokenizer, WHOLE, DOC_STRIDE))
    facts = _facts(task, examples, encoded, whole)
    return Inspection(task, request.split, language, backbone, text, examples, encoded, facts, request.rows)


def _first_language(task: Task, split: Split) -> str:
    languages = task.languages(split)
    if not languages:
        there = [each for each in SPLITS if task.languages(each)]
        raise fail(f"task {task.name}", "has no such split", split, there)
    return languages[0]


# ------------------------------------------------------------------------------------------------------- counting


def _facts(task: Task, examples: Sequence[Example], encoded: Encoded, whole: Encoded) -> Facts:
    lengths = np.sort([feature.length for feature in whole.features])
    ids = [row for feature in whole.features for row in feature.rows]
    words = characters = 0
    for example in examples:
        own = [len(word) for word in _words(example.fields)]
        words, characters = words + len(own), characters + sum(own)
    clusters = Counter(example.cluster for example in examples)
    return Facts(
        examples=len(examples),
        without_gold=sum(example.gold is None for example in examples),
        clusters=len(clusters),
        largest_cluster=max(clusters.values()),
        labels=tuple(Counter(label for example in examples for label in _labels(task, example)).most_common()),
        lengths=(int(lengths[0]), _quantile(lengths, 0.5), _quantile(lengths, 0.95), int(lengths[-1])),
        truncated=encoded.truncated,
        features=len(encoded.features),
        tokens=sum(_count(row) for row in ids),
        unknown=sum(int((row == UNK).sum()) for row in ids),
        words=words,
        characters=characters,
        offsets=_offsets(examples, encoded.features) if isinstance(examples[0].fields, Passage) else None,
    )


def _quantile(ordered: Indices, share: float) -> int:
    """The smallest value that at least this share of the values do not exceed."""
    return int(ordered[max(int(np.ceil(share * len(ordered))) - 1, 0)])


def _count(row: Ids) -> int:
    return int((~np.isin(row, (BOS, PAD, EOS))).sum())


def _texts(fields: Fields) -> tuple[str, ...]:
    """Every text of an input, as often as it is in the rows: a prompt once for each of its options."""
    if isinstance(fields, TextPair):
        return (fields.first,) if fields.second is None else (fields.first, fields.second)
    if isinstance(fields, Words):
        return fields.words
    if isinstance(fields, Passage):
        return (fields.question, fields.context)
    if isinstance(fields, Choices):
        return tuple(text for option in fields.options for text in (fields.prompt, option))
    return (fields.text,)


def _words(fields: Fields) -> Iterable[str]:
    if isinstance(fields, Words):
        return fields.words
    return (word for text in _texts(fields) for word in text.split())


def _labels(task: Task, example: Example) -> Iterator[str]:
    """What is counted of an example: its label, its tags, the index of its option, how many answers, or its role."""
    gold = example.gold
    if task.retrieves:
        yield example.fields.role if isinstance(example.fields, Sentence) else "pair"
    elif isinstance(gold, Answers):
        yield f"{len(gold.texts)} answer{'s' * (len(gold.texts) != 1)}"
    elif isinstance(gold, tuple):
        yield from gold
    else:
        yield "no gold" if gold is None else f"option {gold}" if isinstance(gold, int) else gold


def _offsets(examples: Sequence[Example], features: Sequence[Feature]) -> Offsets:
    """Cut every answer out of its context again, by the targets that the model is trained on."""
    found: dict[int, tuple[str, int]] = {}
    for feature in features:
        if feature.example not in found and feature.targets.max() > 0:
            found[feature.example] = _found(examples[feature.example], feature)
    golds = {
        index: example.gold.texts[0]
        for index, example in enumerate(examples)
        if isinstance(example.gold, Answers) and example.gold.texts
    }
    exact = [index for index, gold in golds.items() if index in found and found[index][0] == gold]
    return Offsets(
        answers=len(golds),
        exact=len(exact),
        wider=len(found) - len(exact),
        lost=len(golds) - len(found),
        long=sum(tokens > MAX_ANSWER for _, tokens in found.values()),
    )


def _found(example: Example, feature: Feature) -> tuple[str, int]:
    """The answer that a window's targets name, and its length in tokens."""
    start, end = _characters(feature)
    assert isinstance(example.fields, Passage)
    return example.fields.context[start:end], int(feature.targets[1] - feature.targets[0]) + 1


def _characters(feature: Feature) -> tuple[int, int]:
    """First and one past the last character of the context that a window's targets name."""
    first, last = (int(np.flatnonzero(feature.anchors[:, 0] == target)[0]) for target in feature.targets)
    return int(feature.anchors[first, 1]), int(feature.anchors[last, 2])


# --------------------------------------------------------------------------------------------------------- showing


def show(found: Inspection, console: Console) -> None:
    """Print everything; plain text where the console is no terminal."""
    task = found.task
    title = f"{task.name}, {found.split}, {found.language}: {task.format}, scored by {task.metric}"
    console.print(Line(title, style="bold"))
    if task.caveat:
        console.print(Line(f"note: {task.caveat}"))
    for index in range(min(found.shown, len(found.examples))):
        console.print()
        _show_example(found, index, console)
    console.print()
    for name, value in _lines(found):
        console.print(Line(f"{name:<{NAME_WIDTH}}{value}"))
    console.print()
    console.print(_table(_label_lines(found.facts), "label", "count", "share"))


def _show_example(found: Inspection, index: int, console: Console) -> None:
    example = found.examples[index]
    features = [feature for feature in found.encoded.features if feature.example == index]
    console.print(Line(f"example {example.item_id}, cluster {example.cluster}", style="bold"))
    if isinstance(example.fields, Words):
        console.print(_table(_tagged(found, example, example.fields, features), "word", "tokens", "gold"))
    elif isinstance(example.fields, Passage):
        _show_passage(found, example, example.fields, features, console)
    else:
        _show_rows(found, example, features, console)


def _show_rows(found: Inspection, example: Example, features: Sequence[Feature], console: Console) -> None:
    for text in dict.fromkeys(_texts(example.fields)):
        console.print(Line(f"  text    {text}"))
    for number, row in enumerate(features[0].rows):
        right = isinstance(example.gold, int) and number == example.gold
        console.print(Line(f"{'*' if right else ' '} tokens  {_tokens(found, row)}"))
    role = f", as a {example.fields.role}" if isinstance(example.fields, Sentence) else ""
    console.print(Line(f"  gold    {'none' if example.gold is None else example.gold}{role}"))


def _tagged(
    found: Inspection, example: Example, fields: Words, features: Sequence[Feature]
) -> Iterator[tuple[str, ...]]:
    """One line per word: the tokens from its first piece to the next word's, and the tag the model is trained on."""
    for feature in features:
        (row,) = feature.rows
        ends = [*feature.anchors[1:, 0].tolist(), len(row) - 1]
        for (position, number, _), end in zip(feature.anchors.tolist(), ends, strict=True):
            target = int(feature.targets[position])
            gold = "none" if target < 0 else found.task.labels[target]
            yield fields.words[number], _tokens(found, row[position:end]), gold


def _show_passage(
    found: Inspection, example: Example, fields: Passage, features: Sequence[Feature], console: Console
) -> None:
    console.print(Line(f"  question  {fields.question}"))
    window = next((feature for feature in features if feature.targets.max() > 0), features[0])
    console.print(Line(f"  tokens    {_tokens(found, window.rows[0])}"))
    console.print(Line(f"  windows   {len(features)}, shown is number {features.index(window) + 1}"))
    if not isinstance(example.gold, Answers) or not example.gold.texts:
        console.print(Line(f"  gold      {'none' if example.gold is None else 'no answer'}"))
        return
    start, gold = example.gold.starts[0], example.gold.texts[0]
    before, after = fields.context[max(start - CONTEXT, 0) : start], fields.context[start + len(gold) :][:CONTEXT]
    console.print(Line(f"  gold      {gold!r} at character {start}: …{before}[[{gold}]]{after}…"))
    if window.targets.max() <= 0:
        console.print(Line("  found     nothing: no window holds the whole answer", style="red"))
        return
    text, tokens = _found(example, window)
    console.print(
        Line(f"  found     {text!r}, {tokens} token{'s' * (tokens != 1)}, {'exact' if text == gold else 'NOT exact'}")
    )
    console.print(_table(_aligned(found, fields, window), "position", "token", "characters", "text", "gold"))


def _aligned(found: Inspection, fields: Passage, window: Feature) -> Iterator[tuple[str, ...]]:
    """One line per token of the answer and around it."""
    first, last = window.targets.tolist()
    for position, start, end in window.anchors.tolist():
        if first - AROUND <= position <= last + AROUND:
            inside = "answer" if first <= position <= last else ""
            token = _tokens(found, window.rows[0][position : position + 1])
            yield str(position), token, f"{start}–{end}", fields.context[start:end], inside


def _tokens(found: Inspection, row: Ids) -> str:
    return " ".join(found.text.tokenizer.id_to_token(int(token)) for token in row)


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    facts = found.facts
    yield "examples", f"{facts.examples:,}{f', {facts.without_gold:,} without gold' if facts.without_gold else ''}"
    yield "clusters", f"{facts.clusters:,} ({found.task.cluster}), the largest of {facts.largest_cluster:,}"
    names = ("min", "median", "95 %", "max")
    yield "tokens per example", ", ".join(f"{name} {size}" for name, size in zip(names, facts.lengths, strict=True))
    cut = f"{_share(facts.truncated, facts.examples)} do not fit {found.text.max_length} tokens whole"
    yield "truncated", f"{cut}; {facts.features / facts.examples:.2f} rows per example"
    yield "unknown tokens", f"{_share(facts.unknown, facts.tokens)} of {facts.tokens:,} tokens"
    fertility = f"{facts.tokens / facts.words:.2f} per word, {facts.characters / facts.tokens:.2f} characters each"
    yield "tokens", f"{fertility} (a word is what stands between white space)"
    if facts.offsets:
        offsets = facts.offsets
        yield "answers", f"{_share(offsets.exact, offsets.answers)} of {offsets.answers:,} recovered exactly by offsets"
        rest = f"{offsets.wider} inside a token, {offsets.lost} in no window, "
        yield "", f"{rest}{offsets.long} longer than {MAX_ANSWER} tokens, the most that is predicted"
    yield "backbone", found.backbone.name


def _label_lines(facts: Facts) -> Iterator[tuple[str, str, str]]:
    total = sum(count for _, count in facts.labels)
    for label, count in facts.labels[:MOST_LABELS]:
        yield label, f"{count:,}", _share(count, total)
    rest = facts.labels[MOST_LABELS:]
    if rest:
        count = sum(count for _, count in rest)
        yield f"{len(rest)} more", f"{count:,}", _share(count, total)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "none"


def _table(lines: Iterable[tuple[str, ...]], *header: str) -> Table:
    table = Table(*header, box=None, pad_edge=False, padding=(0, 2))
    for line in lines:
        table.add_row(*(Line(cell, overflow="fold") for cell in line))
    return table
