"""HellaSwag: which of four endings continues a short description? English; an intermediate task.

As in the paper's released code, the prompt is the context up to its last, unfinished clause (``ctx_a``), and an option
is that clause (``ctx_b``) with one ending. A third of the items describe a video (ActivityNet), the others are steps of
WikiHow articles.

Traps:
    * ``ctx_b`` is empty where the context ends in a full sentence; the option is then the ending alone. (The released
      code leaves a space before it, which XLM-R's tokenizer drops.)
    * ``label`` is a text ("0" to "3"), empty in the test set, which is not read.
    * Items from one video or one WikiHow article share text and topic: cluster = ``source_id``. A copy made from a text
      export has numbered rows instead (``row~7``); there cluster = the whole context.
    * ``ind`` is not documented to be unique, so the item is the number of the row.
    * Half of dev is about activities that training does not hold.
"""

from __future__ import annotations

from xstilts.spec import Choices, Example, HubData, Part, Row, Task
from xstilts.tasks._readers import text_id

REPO = "Rowan/hellaswag"
REVISION = "218ec52e09a7e7462a5400043bb9a69a41d06b76"
NUMBERED = "row~"
ENDINGS = 4


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One context with its four endings."""
    if len(row["endings"]) != ENDINGS:
        raise ValueError(f"{len(row['endings'])} endings where HellaSwag has {ENDINGS}")
    source = row["source_id"]
    cluster = text_id(row["ctx"]) if source.startswith(NUMBERED) else source
    options = tuple(f"{row['ctx_b']} {ending}".strip() for ending in row["endings"])
    return (Example(str(number), part.language, cluster, Choices(row["ctx_a"], options), int(row["label"])),)


DATA = HubData(
    parts=(
        Part("train", "en", REPO, "default", "train", REVISION, rows=39_905),
        Part("dev", "en", REPO, "default", "validation", REVISION, rows=10_042),
    ),
    columns=("ctx", "ctx_a", "ctx_b", "endings", "source_id", "label"),
    read=read,
)
TASK = Task(
    name="hellaswag",
    version=1,
    format="choice",
    metric="accuracy",
    data=DATA,
    overlaps={"hellaswag_offline": "its train and dev are the rows of this dev"},
    cluster="source video or article",
    licence="MIT",
    citation="Zellers et al. 2019, HellaSwag: Can a Machine Really Finish Your Sentence?, arXiv 1905.07830",
)
