"""PAWS-X: are two sentences with nearly the same words paraphrases? English training; seven languages.

Traps:
    * Some translations are missing: "NS" stands in their place, or nothing. Such a row counts, as in XTREME, and an
      empty side is shown as "NS", so that all languages have the same 2,000 items.
    * The label belongs to the row: for a few items it differs between languages.
    * Dev and test were both drawn from PAWS-Wiki's dev set: a first sentence may stand in both, never a pair. Within
      test, pairs may share a first sentence too, but a translated row does not tell: cluster = the pair, by its id.
    * XTREME's own copy on the hub (``google/xtreme``) lost rows to a reader that took quotes for quoting: 49,175
      training rows instead of 49,401. This is the authors' copy.
    * PAWS-Wiki, not PAWS-QQP: nothing is shared with QQP.
    * Collapsed runs are common: about 55 % is what always answering "0" scores.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, TextPair
from xstilts.tasks._readers import text_id

REPO = "google-research-datasets/paws-x"
REVISION = "4cd8187c404bda33cb1f62b49b001115862acf37"
LANGUAGES = ("en", "de", "es", "fr", "ja", "ko", "zh")
MISSING = "NS"


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair with its label."""
    item = str(row["id"])
    cluster = item if part.split == "test" else text_id(row["sentence1"])
    first, second = (row[column] if row[column].strip() else MISSING for column in ("sentence1", "sentence2"))
    return (Example(item, part.language, cluster, TextPair(first, second), row["label"]),)


TASK = Task(
    name="pawsx",
    version=1,
    format="classification",
    metric="accuracy",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "en", "train", REVISION, rows=49_401),
            Part("dev", "en", REPO, "en", "validation", REVISION, rows=2_000),
            *(Part("test", code, REPO, code, "test", REVISION, rows=2_000) for code in LANGUAGES),
        ),
        columns=("id", "sentence1", "sentence2", "label"),
        read=read,
    ),
    labels=("0", "1"),
    parallel=True,
    cluster="sentence pair, shared by all languages; in training and dev, pairs with the same first sentence",
    licence="free for any purpose, with acknowledgement of Google LLC",
    citation="Yang et al. 2019, PAWS-X: A Cross-lingual Adversarial Dataset for Paraphrase Identification, 1908.11828",
)
