"""Social IQa: what people want, feel or do next; three options. XTREME-R trains on it before COPA for XCOPA.

As in XTREME-R's released script (``third_party/run_xcopa.py``), the prompt is context and question with a space between
them.

Traps:
    * The answer is a text and counts from one ("1", "2", "3").
    * The main branch of the repository holds only a loading script; the revision is that of the hub's own conversion
      to Parquet (``refs/convert/parquet``), which has no README.
    * Several questions are asked about one context: cluster = context. Contexts were written from ATOMIC's events, many
      of which yield several contexts; the copy does not say which.
    * No test set was published on the hub, and rows have no id: the item is the number of the row.
"""

from __future__ import annotations

from xstilts.spec import Choices, Example, HubData, Part, Row, Task
from xstilts.tasks._readers import text_id

REPO = "allenai/social_i_qa"
REVISION = "537a2ec8ec565adc0b70b70752893e59e024df26"
OPTIONS = ("answerA", "answerB", "answerC")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question about a context, with its three options."""
    choices = Choices(f"{row['context']} {row['question']}", tuple(row[name] for name in OPTIONS))
    return (Example(str(number), part.language, text_id(row["context"]), choices, int(row["label"]) - 1),)


TASK = Task(
    name="siqa",
    version=1,
    format="choice",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "default", "train", REVISION, rows=33_410),
            Part("dev", "en", REPO, "default", "validation", REVISION, rows=1_954),
        ),
        columns=("context", "question", *OPTIONS, "label"),
        read=read,
    ),
    cluster="context",
    licence="CC BY 4.0",
    citation="Sap et al. 2019, Social IQa: Commonsense Reasoning about Social Interactions, arXiv 1904.09728",
)
