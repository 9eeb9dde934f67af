"""Sentences of the official Universal Dependencies releases, made into words and tags as XTREME's own script does.

A multiword token is one word; sentences whose words are withheld are left out; see the traps of ``udpos``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xstilts.spec import Example, UserPart, Words
from xstilts.tasks._readers import numbered_lines, text_id

TAG_ORDER = (
    *("VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ", "AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ"),
    *("X", "PUNCT"),
)
"""Of words equally near to the root, the one whose tag comes first names the multiword token."""
TAG_ORDERS = {
    "es": ("VERB", "AUX", "PRON", "ADP", "DET"),
    "fr": ("VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ"),
    "it": ("VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"),
}
"""The languages that have an order of their own."""
COLUMNS = 10
FIELDS = {"words": "FORM", "gold": "UPOS"}
"""Part of an Example → the column of CoNLL-U that it was made from."""
NUMBER = re.compile(r"(?P<first>[0-9]+)(-(?P<last>[0-9]+)|\.(?P<empty>[0-9]+))?")
WITHHELD = "_"
SAME_SENTENCES = {"zh_gsdsimp": "zh_gsd"}


@dataclass(frozen=True, slots=True)
class Token:
    """One syntactic word: its form, its tag and the number of the word it depends on (0 = the root)."""

    form: str
    tag: str
    head: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a CoNLL-U file.

    Attributes:
        sent_id: as the file gives it; empty if it does not.
        tokens: its syntactic words by number, from 1.
        fused: number of the first word of a multiword token → (number of its last word, form).
    """

    sent_id: str
    tokens: dict[int, Token]
    fused: dict[int, tuple[int, str]]


def read(file: Path, part: UserPart) -> Iterator[Example]:
    """Yield the sentences of one treebank that are not withheld.

    Raises:
        ValueError: a line is not CoNLL-U, or its word does not follow the one before; says which.
    """
    treebank = file.name.partition("-")[0]
    for number, sentence in enumerate(_sentences(file)):
        pairs = tuple(_words(sentence, TAG_ORDERS.get(part.language, TAG_ORDER)))
        withheld = sum(form == WITHHELD for form, _ in pairs)
        if withheld and withheld >= len(pairs) - 1:
            continue
        words = tuple(_clean(form) for form, _ in pairs)
        item, cluster = f"{file.stem}-{number}", text_id(" ".join(words))
        if treebank.endswith("_pud"):
            item = cluster = f"pud-{sentence.sent_id}"
        elif treebank in SAME_SENTENCES or treebank in SAME_SENTENCES.values():
            cluster = f"{SAME_SENTENCES.get(treebank, treebank)}-{part.split}-{number}"
        yield Example(item, part.language, cluster, Words(words), tuple(tag for _, tag in pairs))


def _sentences(file: Path) -> Iterator[Sentence]:
    sentence = Sentence("", {}, {})
    number = 0
    for number, text in numbered_lines(file):
        if not text.strip():
            if sentence.tokens or sentence.fused:
                _check_end(sentence, f"line {number}")
                yield sentence
            sentence = Sentence("", {}, {})
        elif text.startswith("#"):
            name, _, value = text[1:].partition("=")
            if name.strip() == "sent_id":
                sentence = Sentence(value.strip(), sentence.tokens, sentence.fused)
        else:
            _add(sentence, text.split("\t"), f"line {number}")
    if sentence.tokens or sentence.fused:
        _check_end(sentence, f"line {number}")
        yield sentence


def _add(sentence: Sentence, cells: list[str], where: str) -> None:
    """Add one line of a table: a word, a multiword token, or an empty node, which is left out."""
    if len(cells) != COLUMNS:
        raise ValueError(f"{where}: {len(cells)} columns where CoNLL-U has {COLUMNS}")
    number, form, _, tag, _, _, head, *_ = cells
    match = NUMBER.fullmatch(number)
    if not match:
        raise ValueError(f"{where}: {number!r} is not the number of a word")
    if match["empty"]:
        return
    first, due = int(match["first"]), len(sentence.tokens) + 1
    if first != due:
        what = f"{number!r} where word {due} of the sentence is due; a blank line ends a sentence"
        raise ValueError(f"{where}: {what}")
    if match["last"]:
        last = int(match["last"])
        if last <= first or first <= _covered(sentence):
            raise ValueError(f"{where}: {number!r} does not hold two words or more that no other token holds")
        sentence.fused[first] = last, form
    else:
        sentence.tokens[first] = Token(form, tag, int(head) if head.isdecimal() else 0)


def _check_end(sentence: Sentence, where: str) -> None:
    """Refuse a sentence that ends before its last multiword token does."""
    last = _covered(sentence)
    if last > len(sentence.tokens):
        raise ValueError(f"{where}: the sentence ends before word {last}, which a multiword token of it holds")


def _covered(sentence: Sentence) -> int:
    """Number of the last word that a multiword token holds; 0 = there is none."""
    return max((last for last, _ in sentence.fused.values()), default=0)


def _words(sentence: Sentence, tag_order: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the surface words with their tags: multiword tokens in the place of their parts."""
    covered = 0
    for number, token in sentence.tokens.items():
        if number in sentence.fused:
            covered, form = sentence.fused[number]
            parts = [each for each in sentence.tokens if number <= each <= covered]
            head = min(parts, key=lambda each: (_depth(sentence, each), _rank(sentence.tokens[each].tag, tag_order)))
            yield form, sentence.tokens[head].tag
        elif number > covered:
            yield token.form, token.tag


def _depth(sentence: Sentence, number: int) -> int:
    """Number of words above a word; a cycle, which no valid tree has, is walked once."""
    above: set[int] = set()
    while number in sentence.tokens and number not in above:
        above.add(number)
        number = sentence.tokens[number].head
    return len(above)


def _rank(tag: str, tag_order: tuple[str, ...]) -> int:
    return tag_order.index(tag) if tag in tag_order else len(tag_order)


def _clean(form: str) -> str:
    return form.replace("\u200c", "").replace(" ", "") or form
