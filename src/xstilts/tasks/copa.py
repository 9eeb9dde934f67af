"""COPA, as in SuperGLUE: which of two sentences is the cause, or the effect, of a premise? Trains XTREME-R's XCOPA.

The prompt is that of XTREME-R's script: the premise and "What was the cause?" or "What was the effect?". The paper's
released code asks "What was the cause of this?" and "What happened as a result?" instead.

Traps:
    * 400 rows train, 100 select: a point of accuracy is one row. XTREME-R trains on Social IQa first.
    * Train is items 1-400 of COPA's development set, dev its items 401-500. XCOPA's validation set translates dev, its
      test set translates COPA's test set, whose labels this copy lacks (-1); none of it is read here.
    * The stored class is a number; its name (``choice1``) is used.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks._readers import CAUSAL_COLUMNS, causal, text_id

REPO = "aps/super_glue"
REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"
OPTIONS = ("choice1", "choice2")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One premise with its two alternatives."""
    gold = OPTIONS.index(row["label"])
    cluster = text_id(row["premise"])
    return (Example(str(row["idx"]), part.language, cluster, causal(row, row["question"]), gold),)


TASK = Task(
    name="copa",
    version=1,
    format="choice",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "copa", "train", REVISION, rows=400),
            Part("dev", "en", REPO, "copa", "validation", REVISION, rows=100),
        ),
        columns=("idx", *CAUSAL_COLUMNS, "label"),
        read=read,
    ),
    cluster="premise",
    licence="BSD 2-clause",
    citation="Roemmele et al. 2011, Choice of Plausible Alternatives, AAAI Spring Symposium; SuperGLUE: 1905.00537",
)
