"""CommonsenseQA: general questions with five options each, built on ConceptNet; an intermediate task.

Traps:
    * For one source concept workers wrote a question for each of three targets, with the targets as common options:
      cluster = ``question_concept``. The split (``rand``) does not keep these together, so train and dev share concepts
      and options.
    * The answer is a letter that has to be looked up among the letters of the row.
    * The public test set has no answers.
"""

from __future__ import annotations

from xstilts.spec import Choices, Example, HubData, Part, Row, Task

REPO = "tau/commonsense_qa"
REVISION = "94630fe30dad47192a8546eb75f094926d47e155"
OPTIONS = 5


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One question with its five options."""
    letters, options = row["choices"]["label"], tuple(row["choices"]["text"])
    if not len(set(letters)) == len(letters) == len(options) == OPTIONS:
        raise ValueError(f"{len(options)} options with the letters {letters} where CommonsenseQA has {OPTIONS}")
    gold = letters.index(row["answerKey"])
    return (Example(row["id"], part.language, row["question_concept"], Choices(row["question"], options), gold),)


TASK = Task(
    name="csqa",
    version=1,
    format="choice",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "default", "train", REVISION, rows=9_741),
            Part("dev", "en", REPO, "default", "validation", REVISION, rows=1_221),
        ),
        columns=("id", "question", "question_concept", "choices.label", "choices.text", "answerKey"),
        read=read,
    ),
    cluster="source concept",
    licence="MIT",
    citation="Talmor et al. 2019, CommonsenseQA: Targeting Commonsense Knowledge, arXiv 1811.00937",
)
