"""What must hold for every Example before anything is trained or scored on it.

Texts are taken as they are: white space, line breaks (CR LF too) and byte order marks inside a text stay. Refused are a
text that is empty, a NUL character, and a lone surrogate, which no encoding can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from xstilts.data.columns import Spot
from xstilts.data.findings import At, Findings, Flaw
from xstilts.errors import Problem
from xstilts.spec import (
    Answers,
    Choices,
    Example,
    Fields,
    FormatName,
    Passage,
    Sentence,
    Task,
    TextPair,
    Words,
    candidate_key,
    is_candidate,
)

FIELDS: dict[FormatName, type[Fields]] = {
    "classification": TextPair,
    "tagging": Words,
    "span": Passage,
    "choice": Choices,
    "retrieval": Sentence,
    "ranking": Sentence,
    "mining": Sentence,
    "mlm": TextPair,
}
SHOWN_CHARACTERS = 60
SHOWN_ITEMS = 5
CACHED_LABEL_SPACES = 16


@dataclass
class Checker:
    """Checks the Examples of one (task, split), language by language, as they are read.

    Attributes:
        parallel: whether all languages must have the same items.
        lost: whether rows could not be read, which is told already; then others may lack what these hold.
    """

    task: Task
    findings: Findings
    parallel: bool = False
    lost: bool = False
    _seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # (language, role) → item ids
    _queries: list[tuple[At, Example]] = field(default_factory=list)
    _pool: set[str] = field(default_factory=set)  # keys of the candidates of all languages
    _options: int | None = None  # of the first multiple-choice example

    def check(self, example: Example, at: At) -> list[tuple[Spot, Flaw]]:
        """Return everything that is wrong with an Example; whoever read it knows which columns it was made from."""
        trained = self.task.retrieves and isinstance(example.fields, TextPair)  # retrieval is trained on pairs
        assert trained or isinstance(example.fields, FIELDS[self.task.format]), f"{self.task.name}: {example.fields}"
        flaws = list(_flaws(example, self.task))
        if isinstance(example.fields, Choices):
            flaws += self._option_count_flaws(example.fields)
        if not isinstance(example.item_id, str):
            return flaws
        role = example.fields.role if isinstance(example.fields, Sentence) else ""
        seen = self._seen.setdefault((example.language, role), set())
        if example.item_id in seen:
            flaws.append((Spot("item_id"), Flaw("given twice", example.item_id)))
        seen.add(example.item_id)
        if role == "query":
            self._queries.append((at, example))
        elif is_candidate(example) and self.task.format == "ranking":
            self._pool.add(candidate_key(example))
        return flaws

    def _option_count_flaws(self, fields: Choices) -> Iterator[tuple[Spot, Flaw]]:
        """All examples have as many options as the first; how many the data set has, its reader knows."""
        options = len(fields.options)
        if self._options is None:
            self._options = options
        if options != self._options:
            what = f"{options} options where the first example of the split has {self._options}"
            yield Spot("options"), Flaw(what)

    def finish(self) -> None:
        """Note queries whose answers are not among the candidates, and items that languages lack.

        The former only if every row could be read, the latter only if nothing else was found: what was not read, or
        dropped, is lacking, too. Rows are not kept, so here the part of the Example is named, not its column.
        """
        if self.lost:
            return
        pooled = self.task.format == "ranking"
        what = "no candidate has this key" if pooled else "no candidate of this language has this item_id"
        for at, example in self._queries:
            there = self._pool if pooled else self._seen.get((example.language, "candidate"), set())
            for answer in example.gold if isinstance(example.gold, tuple) else (example.gold,):
                if not isinstance(answer, str) or answer not in there:
                    self.findings.add_row(at, "gold", Flaw(what, str(answer)))
        if self.parallel and not self.findings:
            self.findings.add(*self._unparallel())

    def _unparallel(self) -> Iterator[Problem]:
        """Compare every language with the first one that has rows of the same role."""
        firsts: dict[str, tuple[str, set[str]]] = {}
        for (language, role), items in self._seen.items():
            first, expected = firsts.setdefault(role, (language, items))
            lacks, more = f"lacks items of {first!r}", f"has items that {first!r} lacks"
            for what, these in ((lacks, expected - items), (more, items - expected)):
                if these:
                    told = f"{what}, although the languages are translations of each other: {len(these):,} items"
                    yield Problem(f"task {self.task.name}: {language}", told, some(these))


def _flaws(example: Example, task: Task) -> Iterator[tuple[Spot, Flaw]]:
    for part, element, text, may_be_empty in _texts(example):
        if not _is_sound(text):
            flaw = _text_flaw(text, may_be_empty)
            if flaw:
                yield Spot(part, element), flaw
    for flaw in _gold_flaws(example, task):
        yield Spot("gold"), flaw


def _gold_flaws(example: Example, task: Task) -> Iterator[Flaw]:
    if task.format == "mlm":
        return  # a text is its own gold
    if example.gold is None and not is_candidate(example):
        yield Flaw("has no gold")
    elif isinstance(example.fields, TextPair) and not task.retrieves:
        yield from _label_flaws((example.gold,), task.labels)
    elif isinstance(example.fields, Words):
        yield from _tag_flaws(example.fields.words, example.gold, task.labels)
    elif isinstance(example.fields, Passage):
        yield from _offset_flaws(example.gold)
        yield from _answer_flaws(example.fields.context, example.gold)
    elif isinstance(example.fields, Choices):
        yield from _option_flaws(len(example.fields.options), example.gold)


def _is_sound(text: object) -> bool:
    """Whether nothing can be wrong with a text: the quick way for almost every one."""
    return isinstance(text, str) and text.isascii() and "\0" not in text and bool(text) and not text.isspace()


def _text_flaw(text: object, may_be_empty: bool) -> Flaw | None:
    if not isinstance(text, str):
        return Flaw("not a text", _short(text))
    if "\0" in text:
        return Flaw("contains a NUL character", _short(text))
    if not text.isascii() and _has_surrogate(text):
        return Flaw("contains a lone surrogate, half of a character", _short(text))
    return None if may_be_empty or text.strip() else Flaw("is empty")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _texts(example: Example) -> Iterator[tuple[str, int | None, object, bool]]:
    """(part, which of several, text, whether it may be empty) of every text; it is one only if the file is sound."""
    yield "item_id", None, example.item_id, False
    yield "cluster", None, example.cluster, False
    fields = example.fields
    if isinstance(fields, TextPair):
        yield "first", None, fields.first, False
        if fields.second is not None:
            yield "second", None, fields.second, False
    elif isinstance(fields, Words):
        if not fields.words:
            yield "words", None, "", False
        yield from (("words", number, word, False) for number, word in enumerate(fields.words))
    elif isinstance(fields, Passage):
        yield "question", None, fields.question, False
        yield "context", None, fields.context, False
    elif isinstance(fields, Choices):
        yield "prompt", None, fields.prompt, True
        yield from (("options", number, option, False) for number, option in enumerate(fields.options))
    else:
        yield "text", None, fields.text, False


def _label_flaws(labels: tuple[object, ...], allowed: tuple[str, ...]) -> Iterator[Flaw]:
    known = _as_set(allowed)
    if all(isinstance(label, str) and label in known for label in labels):
        return
    for label in dict.fromkeys(label if isinstance(label, int) else str(label) for label in labels):
        if isinstance(label, int):
            yield Flaw("the file does not name the class of this number", str(label))
        elif label not in known:
            yield Flaw("label outside the label space", label, allowed)


@lru_cache(maxsize=CACHED_LABEL_SPACES)
def _as_set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


def _tag_flaws(words: tuple[str, ...], tags: object, allowed: tuple[str, ...]) -> Iterator[Flaw]:
    assert isinstance(tags, tuple), "the gold of a tagging example is a tuple"
    if len(tags) != len(words):
        yield Flaw(f"{len(tags)} tags for {len(words)} words")
    yield from _label_flaws(tags, allowed)


def _answer_flaws(context: object, gold: object) -> Iterator[Flaw]:
    assert isinstance(gold, Answers), "the gold of a span example is Answers"
    if not isinstance(context, str):
        return  # that is told already
    if len(gold.texts) != len(gold.starts):
        yield Flaw(f"{len(gold.starts)} offsets for {len(gold.texts)} answers")
    for text, start in zip(gold.texts, gold.starts, strict=False):
        if not isinstance(text, str) or not isinstance(start, int):
            yield Flaw("not an answer and its offset", _short((text, start)))
            continue
        there = context[max(start, 0) : max(start, 0) + len(text)]
        if not text.strip():
            yield Flaw("an answer is empty")
        elif start < 0 or there != text:
            yield Flaw(f"the context has {_short(there)!r} at {start}, not the answer", _short(text))


def _offset_flaws(gold: object) -> Iterator[Flaw]:
    """A truth value, which Python takes for an integer, is no offset."""
    assert isinstance(gold, Answers), "the gold of a span example is Answers"
    for start in gold.starts:
        if isinstance(start, bool):
            yield Flaw("a truth value is no offset", str(start))


def _option_flaws(options: int, gold: object) -> Iterator[Flaw]:
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < options:
        yield Flaw("not the index of an option", str(gold), tuple(map(str, range(options))))


def some(items: set[str]) -> str:
    """The first of some item ids, for a message."""
    return ", ".join(sorted(items)[:SHOWN_ITEMS]) + (", …" if len(items) > SHOWN_ITEMS else "")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
