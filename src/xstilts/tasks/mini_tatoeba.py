"""Miniature of Tatoeba: find the parallel record of an English one among 120, of which two more differ in one fact.

No training data, as in XTREME: the query is English, the candidates are in the other language.
"""

from __future__ import annotations

from xstilts.mini import retrieval
from xstilts.mini.languages import CODES
from xstilts.mini.task import CITATION, LICENCE
from xstilts.spec import Example, GeneratedData, Split, Task


def examples(split: Split, language: str) -> tuple[Example, ...]:
    """Queries and candidates of one language."""
    return retrieval.examples("mini_tatoeba", split, language, count=40, size=3, facts=3)


TASK = Task(
    name="mini_tatoeba",
    version=1,
    format="retrieval",
    metric="accuracy",
    data=GeneratedData({"test": tuple(code for code in CODES if code != retrieval.QUERY_LANGUAGE)}, examples),
    parallel=True,
    cluster="family of records",
    licence=LICENCE,
    citation=CITATION,
)
