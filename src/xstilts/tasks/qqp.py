"""QQP (Quora Question Pairs), as in GLUE: do two questions ask the same? English; an intermediate task.

Traps:
    * Two training pairs, and no others, have an empty second question (``idx`` 310137 and 362246); they are dropped.
      ``idx`` is not the row number: it skips rows that were damaged in the source.
    * Two thirds are no duplicates: always saying so scores 63 % on dev.
    * A question occurs in several pairs. Cluster = the first question; pairs that share a question in another place
      are not held together, which only linking all pairs could do.
    * The public test set has no labels.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, TextPair
from xstilts.tasks._readers import text_id

REPO = "nyu-mll/glue"
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
WITHOUT_SECOND = frozenset({310_137, 362_246})


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair with its label; none for a pair that lacks its second question."""
    if part.split == "train" and row["idx"] in WITHOUT_SECOND and not row["question2"]:
        return ()
    pair = TextPair(row["question1"], row["question2"])
    return (Example(str(row["idx"]), part.language, text_id(row["question1"]), pair, row["label"]),)


TASK = Task(
    name="qqp",
    version=1,
    format="classification",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "qqp", "train", REVISION, rows=363_846),
            Part("dev", "en", REPO, "qqp", "validation", REVISION, rows=40_430),
        ),
        columns=("idx", "question1", "question2", "label"),
        read=read,
    ),
    labels=("not_duplicate", "duplicate"),
    cluster="first question",
    licence="Quora's terms of service",
    citation="Iyer et al. 2017, First Quora Dataset Release: Question Pairs; GLUE: Wang et al. 2019, arXiv 1804.07461",
)
