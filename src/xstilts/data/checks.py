"""What must hold for every Example before anything is trained or scored on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from xstilts.data.findings import Findings, Flaw
from xstilts.spec import Answers, Choices, Example, Fields, FormatName, Passage, Sentence, Task, TextPair, Words

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


@dataclass
class Checker:
    """Checks the Examples of one (task, split), language by language, as they are read."""

    task: Task
    findings: Findings
    _seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # (language, role) → item ids
    _queries: list[tuple[str, int, Example]] = field(default_factory=list)

    def check(self, example: Example, file: str, row: int) -> None:
        """Note everything that is wrong with an Example that was made from one row of a file."""
        assert isinstance(example.fields, FIELDS[self.task.format]), f"{self.task.name} reads {type(example.fields)}"
        for place, flaw in _flaws(example, self.task):
            self.findings.add_row(file, row, place, flaw)
        role = example.fields.role if isinstance(example.fields, Sentence) else ""
        seen = self._seen.setdefault((example.language, role), set())
        if example.item_id in seen:
            self.findings.add_row(file, row, "item_id", Flaw("given twice", example.item_id))
        seen.add(example.item_id)
        if role == "query":
            self._queries.append((file, row, example))

    def finish(self) -> None:
        """Note queries whose answer is not among the candidates of their language."""
        for file, row, example in self._queries:
            if example.gold not in self._seen.get((example.language, "candidate"), ()):
                flaw = Flaw("no candidate of this language has this item_id", str(example.gold))
                self.findings.add_row(file, row, "gold", flaw)


def _flaws(example: Example, task: Task) -> Iterator[tuple[str, Flaw]]:
    for place, text, may_be_empty in _texts(example.fields):
        if not isinstance(text, str):
            yield place, Flaw("not a text", _short(text))
        elif "\0" in text:
            yield place, Flaw("contains a NUL character", _short(text))
        elif not may_be_empty and not text.strip():
            yield place, Flaw("is empty")
    is_candidate = isinstance(example.fields, Sentence) and example.fields.role == "candidate"
    if example.gold is None and not is_candidate:
        yield "gold", Flaw("has no gold")
    elif isinstance(example.fields, TextPair):
        yield from _label_flaws((example.gold,), task.labels)
    elif isinstance(example.fields, Words):
        yield from _tag_flaws(example.fields.words, example.gold, task.labels)
    elif isinstance(example.fields, Passage):
        yield from _answer_flaws(example.fields.context, example.gold)
    elif isinstance(example.fields, Choices):
        yield from _option_flaws(len(example.fields.options), example.gold)


def _texts(fields: Fields) -> Iterator[tuple[str, str, bool]]:
    """(name, text, whether it may be empty) of every text of an input."""
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
    for label in dict.fromkeys(labels):
        if isinstance(label, int):
            yield "gold", Flaw("the file does not name the class of this number", str(label))
        elif label not in allowed:
            yield "gold", Flaw("label outside the label space", str(label), allowed)


def _tag_flaws(words: tuple[str, ...], tags: object, allowed: tuple[str, ...]) -> Iterator[tuple[str, Flaw]]:
    assert isinstance(tags, tuple), "the gold of a tagging example is a tuple"
    if len(tags) != len(words):
        yield "gold", Flaw(f"{len(tags)} tags for {len(words)} words")
    yield from _label_flaws(tags, allowed)


def _answer_flaws(context: str, gold: object) -> Iterator[tuple[str, Flaw]]:
    assert isinstance(gold, Answers), "the gold of a span example is Answers"
    if len(gold.texts) != len(gold.starts):
        yield "gold", Flaw(f"{len(gold.starts)} offsets for {len(gold.texts)} answers")
    for text, start in zip(gold.texts, gold.starts, strict=False):
        there = context[max(start, 0) : max(start, 0) + len(text)]
        if not text.strip():
            yield "gold", Flaw("an answer is empty")
        elif start < 0 or there != text:
            yield "gold", Flaw(f"the context has {_short(there)!r} at {start}, not the answer", _short(text))


def _option_flaws(options: int, gold: object) -> Iterator[tuple[str, Flaw]]:
    if not isinstance(gold, int) or not 0 <= gold < options:
        yield "gold", Flaw("not the index of an option", str(gold), tuple(map(str, range(options))))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
