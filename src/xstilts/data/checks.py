"""What must hold for every Example before anything is trained or scored on it.

Texts are taken as they are: white space, line breaks (CR LF too) and byte order marks inside a text stay. Refused are a
text that is empty, a NUL character, and a lone surrogate, which no encoding can hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from xstilts.data.findings import Findings, Flaw
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
    """

    task: Task
    findings: Findings
    parallel: bool = False
    _seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # (language, role) → item ids
    _queries: list[tuple[str, int, Example]] = field(default_factory=list)
    _pool: set[str] = field(default_factory=set)  # keys of the candidates of all languages
    _options: int | None = None  # of the first multiple-choice example

    def check(self, example: Example, file: str, row: int) -> None:
        """Note everything that is wrong with an Example that was made from one row of a file."""
        trained = self.task.retrieves and isinstance(example.fields, TextPair)  # retrieval is trained on pairs
        assert trained or isinstance(example.fields, FIELDS[self.task.format]), f"{self.task.name}: {example.fields}"
        for place, flaw in _flaws(example, self.task):
            self.findings.add_row(file, row, place, flaw)
        if isinstance(example.fields, Choices):
            self._check_options(example.fields, file, row)
        if not isinstance(example.item_id, str):
            return
        role = example.fields.role if isinstance(example.fields, Sentence) else ""
        seen = self._seen.setdefault((example.language, role), set())
        if example.item_id in seen:
            self.findings.add_row(file, row, "item_id", Flaw("given twice", example.item_id))
        seen.add(example.item_id)
        if role == "query":
            self._queries.append((file, row, example))
        elif is_candidate(example) and self.task.format == "ranking":
            self._pool.add(candidate_key(example))

    def _check_options(self, fields: Choices, file: str, row: int) -> None:
        """All examples have as many options as the first; how many the data set has, its reader knows."""
        options = len(fields.options)
        if self._options is None:
            self._options = options
        if options != self._options:
            what = f"{options} options where the first example of the split has {self._options}"
            self.findings.add_row(file, row, "options", Flaw(what))

    def finish(self) -> None:
        """Note queries whose answers are not among the candidates, and items that languages lack.

        The latter only if nothing else was found: a file that cannot be read lacks items, too.
        """
        pooled = self.task.format == "ranking"
        what = "no candidate has this key" if pooled else "no candidate of this language has this item_id"
        for file, row, example in self._queries:
            there = self._pool if pooled else self._seen.get((example.language, "candidate"), set())
            for answer in example.gold if isinstance(example.gold, tuple) else (example.gold,):
                if not isinstance(answer, str) or answer not in there:
                    self.findings.add_row(file, row, "gold", Flaw(what, str(answer)))
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


def _flaws(example: Example, task: Task) -> Iterator[tuple[str, Flaw]]:
    for place, text, may_be_empty in _texts(example):
        if not _is_sound(text):
            flaw = _text_flaw(text, may_be_empty)
            if flaw:
                yield place, flaw
    if task.format == "mlm":
        return  # a text is its own gold
    if example.gold is None and not is_candidate(example):
        yield "gold", Flaw("has no gold")
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


def _texts(example: Example) -> Iterator[tuple[str, object, bool]]:
    """(name, text, whether it may be empty) of every text of an Example; each is a text only if the file is sound."""
    yield "item_id", example.item_id, False
    yield "cluster", example.cluster, False
    fields = example.fields
    if isinstance(fields, TextPair):
        yield "first", fields.first, False
        if fields.second is not None:
            yield "second", fields.second, False
    elif isinstance(fields, Words):
        if not fields.words:
            yield "words", "", False
        yield from (("words", word, False) for word in fields.words)
    elif isinstance(fields, Passage):
        yield "question", fields.question, False
        yield "context", fields.context, False
    elif isinstance(fields, Choices):
        yield "prompt", fields.prompt, True
        yield from (("options", option, False) for option in fields.options)
    else:
        yield "text", fields.text, False


def _label_flaws(labels: tuple[object, ...], allowed: tuple[str, ...]) -> Iterator[tuple[str, Flaw]]:
    known = _as_set(allowed)
    if all(isinstance(label, str) and label in known for label in labels):
        return
    for label in dict.fromkeys(label if isinstance(label, int) else str(label) for label in labels):
        if isinstance(label, int):
            yield "gold", Flaw("the file does not name the class of this number", str(label))
        elif label not in known:
            yield "gold", Flaw("label outside the label space", label, allowed)


@lru_cache(maxsize=CACHED_LABEL_SPACES)
def _as_set(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(labels)


def _tag_flaws(words: tuple[str, ...], tags: object, allowed: tuple[str, ...]) -> Iterator[tuple[str, Flaw]]:
    assert isinstance(tags, tuple), "the gold of a tagging example is a tuple"
    if len(tags) != len(words):
        yield "gold", Flaw(f"{len(tags)} tags for {len(words)} words")
    yield from _label_flaws(tags, allowed)


def _answer_flaws(context: object, gold: object) -> Iterator[tuple[str, Flaw]]:
    assert isinstance(gold, Answers), "the gold of a span example is Answers"
    if not isinstance(context, str):
        return  # that is told already
    if len(gold.texts) != len(gold.starts):
        yield "gold", Flaw(f"{len(gold.starts)} offsets for {len(gold.texts)} answers")
    for text, start in zip(gold.texts, gold.starts, strict=False):
        if not isinstance(text, str) or not isinstance(start, int):
            yield "gold", Flaw("not an answer and its offset", _short((text, start)))
            continue
        there = context[max(start, 0) : max(start, 0) + len(text)]
        if not text.strip():
            yield "gold", Flaw("an answer is empty")
        elif start < 0 or there != text:
            yield "gold", Flaw(f"the context has {_short(there)!r} at {start}, not the answer", _short(text))


def _offset_flaws(gold: object) -> Iterator[tuple[str, Flaw]]:
    """A truth value, which Python takes for an integer, is no offset."""
    assert isinstance(gold, Answers), "the gold of a span example is Answers"
    for start in gold.starts:
        if isinstance(start, bool):
            yield "gold", Flaw("a truth value is no offset", str(start))


def _option_flaws(options: int, gold: object) -> Iterator[tuple[str, Flaw]]:
    if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < options:
        yield "gold", Flaw("not the index of an option", str(gold), tuple(map(str, range(options))))


def some(items: set[str]) -> str:
    """The first of some item ids, for a message."""
    return ", ".join(sorted(items)[:SHOWN_ITEMS]) + (", …" if len(items) > SHOWN_ITEMS else "")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
