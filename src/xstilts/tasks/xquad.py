"""XQuAD: 1,190 SQuAD questions in XTREME's eleven languages; train and dev are SQuAD 1.1.

Traps:
    * All test questions are SQuAD dev questions, and in English they are the very same. They are dropped from dev here,
      by id, unlike in the paper that introduced the recipe. What is left of dev is about other paragraphs of the same
      articles.
    * The training rows are those of ``squad1``: an encoder that starts from there sees them twice.
    * The 240 paragraphs are parallel: cluster = the paragraph, the same in all languages. Eleven languages do not make
      it eleven independent observations.
    * Contexts keep their surrounding white space (and, in some languages, a byte order mark): answers are offsets.
    * Romanian is XTREME-R's addition: ``xquad_r``.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks import squad1
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, answerable, text_id
from xstilts.tasks._xquad_items import PARAGRAPH

REPO = "google/xquad"
REVISION = "51adfef1c1287aab1d2d91b5bead9bcfb9c68583"
LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answer; a question of XQuAD is dropped from dev."""
    if part.split == "test":
        return (answerable(row, part.language, PARAGRAPH[row["id"]]),)
    if row["id"] in PARAGRAPH:
        return ()
    return (answerable(row, part.language, text_id(row["context"])),)


def parts(languages: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the test sets of some languages."""
    return tuple(Part("test", code, REPO, f"xquad.{code}", "validation", REVISION, rows=1_190) for code in languages)


TASK = Task(
    name="xquad",
    version=1,
    format="span",
    metric="squad",
    data=HubData(
        parts=(
            Part("train", "en", squad1.REPO, "plain_text", "train", squad1.REVISION, rows=87_599),
            Part("dev", "en", squad1.REPO, "plain_text", "validation", squad1.REVISION, rows=10_570),
            *parts(LANGUAGES),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    overlaps={
        "squad1": "its training rows are this task's training rows, its dev rows are about the articles of this test",
        "squad2": "its training rows hold this task's, its dev asks other questions about paragraphs of this test",
    },
    parallel=True,
    cluster="paragraph, shared by all languages",
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020, On the Cross-lingual Transferability of Monolingual Representations, 1910.11856",
)
