"""XNLI: natural language inference in 15 languages; trained on English MNLI, selected on XNLI's English validation set.

Traps:
    * Its English training rows are MNLI's. An encoder that starts from MNLI or ANLI+ has had them before, so what it
      gains here is passes over the same data, not another task.
    * The test labels that XTREME's download script leaves are blanked; this copy has the true ones. An accuracy near
      1/3 in every language means that placeholders were scored.
    * Row n is the same pair in every language, and the three hypotheses of one premise stand next to each other: item
      = the row number, cluster = a block of three rows. The text of a premise cannot serve: where two English premises
      were translated alike (Swahili, Urdu), its clusters would differ from language to language.
    * The order of the classes differs between copies; the file's own names are used, never its numbers.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, TextPair
from xstilts.tasks import mnli
from xstilts.tasks._readers import NLI_COLUMNS, NLI_LABELS, entailment

REPO = "facebook/xnli"
REVISION = "b8dd5d7af51114dbda02c0e3f6133f332186418e"
LANGUAGES = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
HYPOTHESES_PER_PREMISE = 3


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair with its label; outside training, pairs and premises are named by their position."""
    if part.split == "train":
        return (entailment(row, part.language, str(number)),)
    pair = TextPair(row["premise"], row["hypothesis"])
    premise = f"premise-{number // HYPOTHESES_PER_PREMISE}"
    return (Example(str(number), part.language, premise, pair, row["label"]),)


TASK = Task(
    name="xnli",
    version=1,
    format="classification",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", mnli.REPO, "mnli", "train", mnli.REVISION, rows=392_702),
            Part("dev", "en", REPO, "en", "validation", REVISION, rows=2_490),
            *(Part("test", code, REPO, code, "test", REVISION, rows=5_010) for code in LANGUAGES),
        ),
        columns=NLI_COLUMNS,
        read=read,
    ),
    labels=NLI_LABELS,
    overlaps={
        "mnli": "its training rows are this task's training rows",
        "anli_plus": "its training rows hold this task's training rows",
    },
    parallel=True,
    cluster="premise, shared by all languages",
    licence="CC BY-NC 4.0; training rows OANC, CC BY 3.0 and CC BY-SA 3.0, by genre",
    citation="Conneau et al. 2018, XNLI: Evaluating Cross-lingual Sentence Representations, arXiv 1809.05053",
)
