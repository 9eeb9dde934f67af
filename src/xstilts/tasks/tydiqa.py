"""TyDiQA-GoldP: span questions that people asked in nine languages, each about a paragraph that answers it.

Traps:
    * The test is the public validation set, as in XTREME; there is no other English dev, and to select on the English
      part of it is to select on what is scored. Here a tenth of the English training paragraphs, by a hash of their
      text, is held out as dev instead. Nine tenths train, so a number made with all of them is not quite comparable.
    * One file holds all languages: the language is the first part of the id (``english-…``), and rows of other
      languages are dropped. Counts are those of the file.
    * Not translated, and not parallel: cluster = the paragraph.
    * English has some 3,700 training questions, a twenty-fourth of SQuAD's: what the encoder was trained on before
      matters more here than on other targets.
    * The hub's copy strips contexts and answers after their offsets were counted; an answer that is then beside its
      offset is taken at its nearest occurrence.
    * XTREME scores it by SQuAD's rules, English articles included.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task
from xstilts.tasks._offsets import realigned
from xstilts.tasks._readers import ANSWERABLE_COLUMNS, text_id

REPO = "google-research-datasets/tydiqa"
REVISION = "da78f23f9119363459acbaf46bf89426ff26c259"
CONFIG = "secondary_task"
TRAIN_ROWS = 49_881
TEST_ROWS = 5_077
NAMES = {
    "en": "english",
    "ar": "arabic",
    "bn": "bengali",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
HELD_OUT = 10
"""One paragraph of so many is dev."""


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its answers, if it is in the part's language and, in training, on its side of the split."""
    name = row["id"].partition("-")[0]
    if name not in NAMES.values():
        raise ValueError(f"the id {row['id']!r} does not begin with a language of TyDiQA-GoldP")
    paragraph = text_id(row["context"])
    if name != NAMES[part.language] or (part.split != "test" and part.split != _side(paragraph)):
        return ()
    return (realigned(row, part.language, paragraph),)


def _side(paragraph: str) -> str:
    return "dev" if int(paragraph, 16) % HELD_OUT == 0 else "train"


TASK = Task(
    name="tydiqa",
    version=1,
    format="span",
    metric="squad",
    data=HubData(
        parts=(
            Part("train", "en", REPO, CONFIG, "train", REVISION, TRAIN_ROWS),
            Part("dev", "en", REPO, CONFIG, "train", REVISION, TRAIN_ROWS),
            *(Part("test", code, REPO, CONFIG, "validation", REVISION, TEST_ROWS) for code in NAMES),
        ),
        columns=ANSWERABLE_COLUMNS,
        read=read,
    ),
    cluster="paragraph",
    licence="Apache 2.0; Wikipedia text is CC BY-SA 3.0",
    citation="Clark et al. 2020, TyDi QA: A Benchmark for Information-Seeking Question Answering, arXiv 2003.05002",
)
