"""What several tasks read in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from xstilts.spec import Answers, Choices, Example, Passage, Row, TextPair

NLI_LABELS = ("entailment", "neutral", "contradiction")
NLI_COLUMNS = ("premise", "hypothesis", "label")
ANSWERABLE_COLUMNS = ("id", "context", "question", "answers.text", "answers.answer_start")
CAUSAL_COLUMNS = ("premise", "choice1", "choice2", "question")


def numbered_lines(file: Path, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of a UTF-8 file; a byte order mark at its start is no text.

    Args:
        file: a file of the user's.
        newline: as of ``open``: None = a line ends at a line feed, a carriage return or both.

    Raises:
        ValueError: a line is not UTF-8; says which.
    """
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.encode()
            except UnicodeEncodeError as error:  # a byte that could not be decoded was replaced by a surrogate
                raise ValueError(f"{file.name}, line {number}: is not UTF-8 text") from error
            yield number, line.rstrip("\r\n")


def text_id(text: str) -> str:
    """Return a short name for a text that is the same wherever the text occurs: 64 bits of sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def entailment(row: Row, language: str, item: str) -> Example:
    """Make an NLI example from a row that names its label; cluster = the premise."""
    pair = TextPair(row["premise"], row["hypothesis"])
    return Example(item, language, text_id(row["premise"]), pair, row["label"])


def question(row: Row, language: str, cluster: str) -> Example:
    """Make a span example from a row in SQuAD's columns; a row without an answer is unanswerable."""
    answers = Answers(tuple(row["answers"]["text"]), tuple(row["answers"]["answer_start"]))
    return Example(row["id"], language, cluster, Passage(row["question"], row["context"]), answers)


def answerable(row: Row, language: str, cluster: str) -> Example:
    """Make a span example from a row in SQuAD's columns; a row without an answer has no gold, which is an error."""
    example = question(row, language, cluster)
    return example if row["answers"]["text"] else replace(example, gold=None)


def causal(row: Row, asked: str) -> Choices:
    """Make the input of a COPA example: what is the cause, or the effect, of a premise?

    The prompt is that of XTREME-R's released script (``third_party/run_xcopa.py``), English in every language.

    Args:
        row: in COPA's columns.
        asked: ``cause`` or ``effect``; some translations of COPA have it wrong, so it need not be the row's own.
    """
    if asked not in ("cause", "effect"):
        raise ValueError(f"{asked!r} is neither 'cause' nor 'effect'")
    return Choices(f"{row['premise']} What was the {asked}?", (row["choice1"], row["choice2"]))
