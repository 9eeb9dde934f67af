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
from xstilts.spec import (
    Answers,
    Backbone,
    Choices,
    Example,
    Fields,
    Passage,
    Sentence,
    Split,
    Task,
    TextPair,
    Words,
    is_candidate,
)
from xstilts.tasks import load_task

WHOLE = 10_000_000  # a length that cuts nothing off
DOC_STRIDE = 64  # tokens; as ``Recipe`` has it
LEAST_LENGTH = 8
MOST_LABELS = 20  # lines of the label distribution
AROUND = 3  # tokens shown on either side of an answer
CONTEXT = 60  # characters shown on either side of an answer
NAME_WIDTH = 20
SPLITS: tuple[Split, ...] = ("test", "dev", "train")  # looked at if none is named: the first that there is


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        split: None = test, or the next of ``SPLITS`` that the task has in the language.
        language: None = the first that the task declares for the split.
        max_length: tokens, special ones included.
        rows: number of examples to show, in retrieval of queries and of candidates.
    """

    task: str
    split: Split | None
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
        without_gold: examples that should have gold, and have none.
        clusters: number of clusters.
        largest_cluster: examples of the largest.
        labels: (label, count), most frequent first; see ``_labels``. Empty in retrieval.
        lengths: tokens of an example whole, special ones included: smallest, median, 95 %, largest.
        truncated: examples that do not fit ``max_length`` whole; see ``formats.Encoded``.
        rows: of the model's input: windows, pieces of sentences, options, both sides of a pair, or one per example.
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
    rows: int
    tokens: int
    unknown: int
    words: int
    characters: int
    offsets: Offsets | None


@dataclass(frozen=True)
class Inspection:
    """A split of a task in one language, or one side of it, tokenised.

    Attributes:
        side: in retrieval ``queries`` or ``candidates``, one of them English; empty = all examples.
        encoded: as the model gets it.
        shown: number of examples to show.
    """

    task: Task
    split: Split
    language: str
    side: str
    backbone: Backbone
    text: Text
    examples: Sequence[Example]
    encoded: Encoded
    facts: Facts
    shown: int


def look(request: Request) -> tuple[Inspection, ...]:
    """Load and tokenise.

    Returns:
        One; of queries and candidates, which are of different languages, one each.

    Raises:
        XstiltsError: no such task, split or language; bad data; a length that the backbone cannot take.
    """
    task = load_task(request.task, "task (docs/tasks.md lists them)")
    split = request.split or _split(task, request.language)
    language = _language(task, split, request.language)
    backbone = resolve(request.backbone)
    check_length(request.max_length, backbone)
    if request.rows < 0:
        raise fail("--rows", "must not be negative", str(request.rows))
    text = Text(load_tokenizer(backbone), request.max_length, DOC_STRIDE)
    found = []
    for side, examples in _sides(load_examples(task, split, (language,), request.sources)):
        encoded = encode(task, examples, text)
        whole = encode(task, examples, Text(text.tokenizer, WHOLE, DOC_STRIDE))
        facts = _facts(task, examples, encoded, whole)
        found.append(Inspection(task, split, language, side, backbone, text, examples, encoded, facts, request.rows))
    return tuple(found)


def check_length(max_length: int, backbone: Backbone) -> None:
    """Refuse a length of rows in which nothing fits, or that the backbone cannot take.

    Raises:
        XstiltsError: names ``--max-length``.
    """
    if not LEAST_LENGTH <= max_length <= backbone.positions:
        what = f"must be {LEAST_LENGTH} to {backbone.positions} tokens with this backbone"
        raise fail("--max-length", what, str(max_length))


def _split(task: Task, language: str | None) -> Split:
    """The split that is looked at if none is named."""
    there = [split for split in SPLITS if task.languages(split)]
    return next((split for split in there if language in task.languages(split)), there[0])


def _language(task: Task, split: Split, asked: str | None) -> str:
    languages = task.languages(split)
    if not languages:
        there = [each for each in SPLITS if task.languages(each)]
        raise fail("--split", f"task {task.name} has no such split", split, there)
    if asked is not None and asked not in languages:
        raise fail("--lang", f"task {task.name} has no such language in --split {split}", asked, languages)
    return asked or languages[0]


def _sides(examples: Sequence[Example]) -> Iterator[tuple[str, Sequence[Example]]]:
    """Queries and candidates apart; all other examples together."""
    if not isinstance(examples[0].fields, Sentence):
        yield "", examples
        return
    yield "queries", [each for each in examples if not is_candidate(each)]
    yield "candidates", [each for each in examples if is_candidate(each)]


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
        without_gold=sum(example.gold is None and not is_candidate(example) for example in examples),
        clusters=len(clusters),
        largest_cluster=max(clusters.values()),
        labels=tuple(Counter(label for example in examples for label in _labels(task, example)).most_common()),
        lengths=(int(lengths[0]), _quantile(lengths, 0.5), _quantile(lengths, 0.95), int(lengths[-1])),
        truncated=encoded.truncated,
        rows=sum(len(feature.rows) for feature in encoded.features),
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
    """What is counted of an example: its label, its tags, the index of its option, or how many answers."""
    gold = example.gold
    if task.retrieves:
        return
    if isinstance(gold, Answers):
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


def show(inspections: Sequence[Inspection], console: Console) -> None:
    """Print everything that ``look`` found; plain text where the console is no terminal."""
    first = inspections[0]
    task = first.task
    title = f"{task.name}, {first.split}, {first.language}: {task.format}, scored by {task.metric}"
    console.print(Line(title, style="bold"))
    if task.caveat:
        console.print(Line(f"note: {task.caveat}"))
    for found in inspections:
        _show_side(found, console)


def _show_side(found: Inspection, console: Console) -> None:
    if found.side:
        console.print(Line(f"\n{found.side.upper()}", style="bold"))
    for index in range(min(found.shown, len(found.examples))):
        console.print()
        _show_example(found, index, console)
    console.print()
    for name, value in _lines(found):
        console.print(Line(f"{name:<{NAME_WIDTH}}{value}"))
    if found.facts.labels:
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
    if not is_candidate(example):
        console.print(Line(f"  gold    {'none' if example.gold is None else example.gold}"))


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
    yield "rows per example", f"{facts.rows / facts.examples:.2f} of at most {found.text.max_length} tokens"
    yield "truncated", f"{_share(facts.truncated, facts.examples)} of the examples: {_cut(found)}"
    yield "unknown tokens", f"{_share(facts.unknown, facts.tokens)} of {facts.tokens:,} tokens"
    fertility = f"{facts.tokens / facts.words:.2f} per word, {facts.characters / facts.tokens:.2f} characters each"
    yield "tokens", f"{fertility} (a word is what stands between white space)"
    if facts.offsets:
        offsets = facts.offsets
        yield "answers", f"{_share(offsets.exact, offsets.answers)} of {offsets.answers:,} recovered exactly by offsets"
        rest = f"{offsets.wider} inside a token, {offsets.lost} in no window, "
        yield "", f"{rest}{offsets.long} longer than {MAX_ANSWER} tokens, the most that is predicted"
    yield "backbone", found.backbone.name


def _cut(found: Inspection) -> str:
    """What it means that an example is truncated; see ``formats.Encoded``."""
    if found.facts.offsets:
        return "no row holds the whole answer, or the question was cut"
    if isinstance(found.examples[0].fields, Words):
        return f"do not fit {found.text.max_length} tokens whole and are split into rows"
    return f"do not fit {found.text.max_length} tokens whole and are cut"


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
