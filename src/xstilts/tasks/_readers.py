"""What several tasks read in the same way."""

from __future__ import annotations

import hashlib

from xstilts.spec import Answers, Example, Passage, Row


def text_id(text: str) -> str:
    """Return a short name for a text that is the same wherever the text occurs: 64 bits of sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def answerable(row: Row, language: str, cluster: str) -> Example:
    """Make a span example from a row in SQuAD's columns; a row without an answer has no gold, which is an error."""
    answers = Answers(tuple(row["answers"]["text"]), tuple(row["answers"]["answer_start"]))
    passage = Passage(row["question"], row["context"])
    return Example(row["id"], language, cluster, passage, answers if answers.texts else None)


ANSWERABLE_COLUMNS = ("id", "context", "question", "answers.text", "answers.answer_start")
