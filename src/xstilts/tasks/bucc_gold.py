"""BUCC 2018, gold pairs only: find the translation of an English sentence among those of another language.

What the hub calls BUCC: the sentences that have a translation, without the corpora they were hidden in. So it is
Tatoeba's task on other sentences, and much easier than ``bucc_mining``, which is what XTREME scores (arXiv 2003.11080).

Traps:
    * ``google/xtreme`` joins the corpora with their gold and keeps pairs only; ``mteb/bucc-bitext-mining`` does the
      same. F1 cannot be computed from either.
    * "test" is the shared task's training set with its gold; its own test set has none. The sample, which XTREME
      calls dev, is not read: nothing is trained or chosen here.
    * The loader that filled the hub read the corpora as CSV with quotes, so a sentence with an unpaired quote is lost:
      a pair with an empty side is dropped. Its columns ``source_lang`` and ``target_lang`` hold sentence ids.
    * A few English sentences occur twice. Items are rows; cluster = the English sentence.
    * Sizes differ (zh 1,899, ru 14,435), and with them the difficulty.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Sentence, Task
from xstilts.tasks import tatoeba
from xstilts.tasks._readers import text_id

PAIRS = {"de": 9_580, "fr": 9_086, "ru": 14_435, "zh": 1_899}


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair: the English sentence as query, the foreign one as its candidate; none where one side was lost."""
    foreign, english = row["source_sentence"].strip(), row["target_sentence"].strip()
    if not foreign or not english:
        return ()
    item, cluster = str(number), text_id(english)
    return (
        Example(item, part.language, cluster, Sentence(english, "query"), item),
        Example(item, part.language, cluster, Sentence(foreign, "candidate"), None),
    )


TASK = Task(
    name="bucc_gold",
    version=1,
    format="retrieval",
    metric="accuracy",
    data=HubData(
        parts=tuple(
            Part("test", code, tatoeba.REPO, f"bucc18.{code}", "test", tatoeba.REVISION, rows)
            for code, rows in PAIRS.items()
        ),
        columns=tatoeba.COLUMNS,
        read=read,
    ),
    caveat="gold pairs only: much easier than mining the corpora, which is what XTREME's BUCC is",
    cluster="English sentence",
    licence="not stated (sentences of Wikipedia and News Commentary, for the shared task)",
    citation="Zweigenbaum et al. 2018, Overview of the Third BUCC Shared Task",
)
