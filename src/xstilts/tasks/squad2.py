"""SQuAD 2.0: English span questions, a third of them without an answer in the paragraph; an intermediate task.

Traps:
    * A question without an answer has empty answers, not missing ones; the task lets a model predict "no answer".
    * The answerable questions (86,821 of training, 5,928 of dev) are SQuAD 1.1's, under the same ids. XQuAD's
      questions, which come from that dev set, are left out of dev, as in ``squad1``. Unanswerable questions about the
      same paragraphs stay: XQuAD does not ask them.
    * A question of the development set has several answers, any of which counts; a training question has one.
    * Rows of one paragraph are not independent: cluster = paragraph. An article has many paragraphs.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, question, text_id
from xstilts.tasks._xquad_items import PARAGRAPH

REPO = "rajpurkar/squad_v2"
REVISION = "3ffb306f725f7d2ce8394bc1873b24868140c412"


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answers, which may be none; nothing for a question of XQuAD's."""
    if row["id"] in PARAGRAPH:
        return ()
    return (question(row, part.language, text_id(row["context"])),)


TASK = Task(
    name="squad2",
    version=1,
    format="span",
    metric="squad",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "squad_v2", "train", REVISION, rows=130_319),
            Part("dev", "en", REPO, "squad_v2", "validation", REVISION, rows=11_873),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    no_answer=True,
    overlaps={"squad1": "its dev holds the answerable questions of this dev"},
    cluster="paragraph",
    licence="CC BY-SA 4.0",
    citation="Rajpurkar et al. 2018, Know What You Don't Know: Unanswerable Questions for SQuAD, arXiv 1806.03822",
)
