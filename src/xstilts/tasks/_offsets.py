"""Answers whose offsets a copy of a data set has shifted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xstilts.spec import Example, Row
from xstilts.tasks._readers import answerable


def realigned(row: Row, language: str, cluster: str) -> Example:
    """Make a span example from a row whose white space was stripped after its offsets were counted.

    An answer that is not where its offset says is looked for at its nearest other occurrence, the earlier of two; one
    that does not occur keeps its offset, which the checks of the data refuse.
    """
    return answerable({**row, "answers": _realigned(row["context"], row["answers"])}, language, cluster)


def _realigned(context: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return {**answers, "answer_start": [_nearest(context, text, start) for text, start in pairs]}


def _nearest(context: str, text: str, start: int) -> int:
    if context.startswith(text, start):
        return start
    found = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
    return min(found, key=lambda place: abs(place - start), default=start)
