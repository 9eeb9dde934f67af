"""XQuAD: 1,190 SQuAD questions translated into eleven languages; train and dev are SQuAD 1.1.

Traps:
    * All test questions are SQuAD dev questions, and in English they are the very same. They are dropped from dev here,
      by id; an intermediate ``squad1`` keeps them, so it was selected on them.
    * The 240 paragraphs are parallel: cluster = the paragraph, the same in all languages. Twelve languages do not make
      it twelve independent observations.
    * Contexts keep their surrounding white space (and, in some languages, a byte order mark): answers are offsets.
    * Romanian is XTREME-R's addition; the first XTREME tests the other eleven.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks import squad1
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, answerable, text_id
from xstilts.tasks._xquad_items import PARAGRAPH

REPO = "google/xquad"
REVISION = "51adfef1c1287aab1d2d91b5bead9bcfb9c68583"
LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answer; a question of XQuAD is dropped from dev."""
    if part.split == "test":
        return (answerable(row, part.language, PARAGRAPH[row["id"]]),)
    if row["id"] in PARAGRAPH:
        return ()
    return (answerable(row, part.language, text_id(row["context"])),)


TASK = Task(
    name="xquad",
    version=1,
    format="span",
    metric="squad",
    data=HubData(
        parts=(
            Part("train", "en", squad1.REPO, "plain_text", "train", squad1.REVISION),
            Part("dev", "en", squad1.REPO, "plain_text", "validation", squad1.REVISION),
            *(Part("test", code, REPO, f"xquad.{code}", "validation", REVISION, rows=1190) for code in LANGUAGES),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    cluster="paragraph, shared by all languages",
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020, On the Cross-lingual Transferability of Monolingual Representations, 1910.11856",
)
