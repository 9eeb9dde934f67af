"""SQuAD 1.1: English span questions, every one answerable; an intermediate task.

Traps:
    * Its development set is the source of XQuAD's English side. A model that was stopped early on it and is then
      tested on XQuAD has been selected on the English test, so those questions are left out of dev here, unlike in the
      paper that introduced the recipe (arXiv 2005.13013).
    * A question of the development set has several answers, any of which counts; a training question has one.
    * Rows of one paragraph are not independent: cluster = paragraph. Titles cannot serve, copies lack them.
    * SQuAD 2.0 is built on this set: it holds nearly all training questions and a part of dev, under the same ids.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, answerable, text_id
from xstilts.tasks._xquad_items import PARAGRAPH

REPO = "rajpurkar/squad"
REVISION = "7b6d24c440a36b6815f21b70d25016731768db1f"
LICENCE = "CC BY-SA 4.0"


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answers; none for a question of XQuAD's."""
    if row["id"] in PARAGRAPH:
        return ()
    return (answerable(row, part.language, text_id(row["context"])),)


TASK = Task(
    name="squad1",
    version=1,
    format="span",
    metric="squad",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "plain_text", "train", REVISION, rows=87_599),
            Part("dev", "en", REPO, "plain_text", "validation", REVISION, rows=10_570),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    overlaps={"squad2": "its dev holds a part of the questions of this dev"},
    cluster="paragraph",
    licence=LICENCE,
    citation="Rajpurkar et al. 2016, SQuAD: 100,000+ Questions for Machine Comprehension of Text, arXiv 1606.05250",
)
