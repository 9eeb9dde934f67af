"""MLQA: span questions in seven languages about paragraphs of each language's own Wikipedia; training is SQuAD 1.1.

Traps:
    * Context and question are in the same language, as in XTREME; the cross-lingual pairs (a German question about an
      English paragraph) are not read.
    * Only partly parallel: a question has the same id in every language it occurs in, all occur in English, on average
      in three others. Paragraphs are not translations but aligned by their answer sentence.
    * cluster = the question, the same in all languages. Rows do not tell which questions share a paragraph in a way
      that holds for every language, so a few related questions count as independent.
    * Dev is MLQA's own English one, not SQuAD's.
    * The score is MLQA's own: articles of the language are dropped, Chinese is split into characters.
    * The hub's copy strips contexts and answers after their offsets were counted; an answer that is then beside its
      offset is taken at its nearest occurrence.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks import squad1
from xstilts.tasks._offsets import realigned
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, text_id

REPO = "google/xtreme"
REVISION = "ec5f1f46e9af79639a90684a7a70a956c4998f04"
TEST = {"en": 11_590, "ar": 5_335, "de": 4_517, "es": 5_253, "hi": 4_918, "vi": 5_495, "zh": 5_137}


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answers; of MLQA's, its own id is the cluster."""
    cluster = text_id(row["context"]) if part.split == "train" else row["id"]
    return (realigned(row, part.language, cluster),)


TASK = Task(
    name="mlqa",
    version=1,
    format="span",
    metric="mlqa",
    data=HubData(
        parts=(
            Part("train", "en", squad1.REPO, "plain_text", "train", squad1.REVISION, rows=87_599),
            Part("dev", "en", REPO, "MLQA.en.en", "validation", REVISION, rows=1_148),
            *(Part("test", code, REPO, f"MLQA.{code}.{code}", "test", REVISION, rows) for code, rows in TEST.items()),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    overlaps={
        "squad1": "its training rows are this task's training rows",
        "squad2": "its training rows hold this task's training rows",
    },
    cluster="question, shared by the languages that have it; in training the paragraph",
    licence="CC BY-SA 3.0; training rows CC BY-SA 4.0",
    citation="Lewis et al. 2020, MLQA: Evaluating Cross-lingual Extractive Question Answering, arXiv 1910.07475",
)
