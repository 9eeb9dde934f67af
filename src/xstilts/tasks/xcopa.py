"""XCOPA: which of two sentences is the cause, or the effect, of a premise? Eleven languages; training is English COPA.

XTREME-R trains on Social IQa first: a study declares that with ``siqa`` as the intermediate task.

Traps:
    * The files of several languages ask for the wrong one: Thai always for the effect, Turkish, Swahili, Indonesian and
      Italian now and then. What is asked is taken from the item, which is the same in all languages, not from the row.
    * The prompt is that of XTREME-R's script, an English question in every language.
    * Item n is the translation of COPA's test item n, whatever the order of the rows: item = cluster = ``idx``.
    * 500 test items, 50 % by chance: one standard error of an accuracy near chance is two points.
    * 400 rows train, 100 English ones select; XCOPA's validation sets, their translations, are not read.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks import copa
from xstilts.tasks._readers import CAUSAL_COLUMNS, causal
from xstilts.tasks._xcopa_questions import TEST

REPO = "cambridgeltl/xcopa"
REVISION = "042f78955ba48e6404616762fa6e05e839c3907a"
LANGUAGES = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One premise with its two alternatives; in XCOPA's rows the label is a number, not a class."""
    if part.split != "test":
        return copa.read(row, part, number)
    item = str(row["idx"])
    return (Example(item, part.language, item, causal(row, TEST[row["idx"]]), row["label"]),)


TASK = Task(
    name="xcopa",
    version=1,
    format="choice",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", copa.REPO, "copa", "train", copa.REVISION, rows=400),
            Part("dev", "en", copa.REPO, "copa", "validation", copa.REVISION, rows=100),
            *(Part("test", code, REPO, code, "test", REVISION, rows=500) for code in LANGUAGES),
        ),
        columns=("idx", *CAUSAL_COLUMNS, "label"),
        read=read,
    ),
    overlaps={"copa": "its training and dev rows are this task's training and dev rows"},
    parallel=True,
    cluster="item, shared by all languages",
    licence="CC BY 4.0; training rows BSD 2-clause",
    citation="Ponti et al. 2020, XCOPA: A Multilingual Dataset for Causal Commonsense Reasoning, arXiv 2005.00333",
)
