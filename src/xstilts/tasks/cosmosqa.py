"""Cosmos QA: questions about the causes and effects of what a blog post tells; four options; an intermediate task.

As in the paper's released code, the prompt is context and question with a space between them.

Traps:
    * The hub has 25,262 training rows. The paper's table says 25,588 (quoted from memory, not checked); the
      difference is not explained.
    * The main branch of the repository holds only a loading script; the revision is that of the hub's own conversion
      to Parquet (``refs/convert/parquet``), which has no README.
    * "None of the above choices ." is an option of three questions in four, and right for one in eleven.
    * Several questions are asked about one context: cluster = context. In the validation set no blog has two contexts.
    * The public test set has no labels (-1).
"""

from __future__ import annotations

from xstilts.spec import Choices, Example, HubData, Part, Row, Task
from xstilts.tasks._readers import text_id

REPO = "allenai/cosmos_qa"
REVISION = "ed50fe83db62b355759053b1cd5eef344ee371e0"
OPTIONS = ("answer0", "answer1", "answer2", "answer3")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question about a context, with its four options."""
    choices = Choices(f"{row['context']} {row['question']}", tuple(row[name] for name in OPTIONS))
    return (Example(row["id"], part.language, text_id(row["context"]), choices, row["label"]),)


DATA = HubData(
    parts=(
        Part("train", "en", REPO, "default", "train", REVISION, rows=25_262),
        Part("dev", "en", REPO, "default", "validation", REVISION, rows=2_985),
    ),
    columns=("id", "context", "question", *OPTIONS, "label"),
    read=read,
)
TASK = Task(
    name="cosmosqa",
    version=1,
    format="choice",
    metric="accuracy",
    data=DATA,
    overlaps={"cosmosqa_offline": "its train and dev are the rows of this dev"},
    cluster="context",
    licence="CC BY 4.0",
    citation="Huang et al. 2019, Cosmos QA: Machine Reading Comprehension with Contextual Commonsense, 1909.00277",
)
