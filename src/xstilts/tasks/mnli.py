"""MNLI: does a premise entail a hypothesis, contradict it, or neither? English, ten genres; an intermediate task.

Traps:
    * Three hypotheses, one per label, were written for each premise: cluster = premise.
    * The public test sets have no labels. Dev is ``validation_matched`` (the five genres of training), test is
      ``validation_mismatched`` (five others).
    * XNLI's English training data are these rows, so an XNLI model that starts from here sees them twice.
    * The order of the classes differs between data sets and copies; the file's own names are used, never its numbers.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks._readers import NLI_COLUMNS, NLI_LABELS, entailment

REPO = "nyu-mll/glue"
REVISION = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair with its label."""
    return (entailment(row, part.language, str(row["idx"])),)


DATA = HubData(
    parts=(
        Part("train", "en", REPO, "mnli", "train", REVISION, rows=392_702),
        Part("dev", "en", REPO, "mnli", "validation_matched", REVISION, rows=9_815),
        Part("test", "en", REPO, "mnli", "validation_mismatched", REVISION, rows=9_832),
    ),
    columns=("idx", *NLI_COLUMNS),
    read=read,
)
TASK = Task(
    name="mnli",
    version=1,
    format="classification",
    metric="accuracy",
    data=DATA,
    labels=NLI_LABELS,
    overlaps={
        "anli_plus": "its dev holds the rows of this dev, its test those of this test",
        "mnli_offline": "its train and dev are the rows of this dev",
    },
    cluster="premise",
    licence="OANC, CC BY 3.0 and CC BY-SA 3.0, by genre",
    citation="Williams et al. 2018, A Broad-Coverage Challenge Corpus for Sentence Understanding, arXiv 1704.05426",
)
