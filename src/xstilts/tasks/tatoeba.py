"""Tatoeba: find the translation of an English sentence among the (at most 1,000) sentences of another language.

XTREME's retrieval task in its 36 languages (arXiv 2003.11080). No training data: the sentences are embedded as they
are, the query is English, the candidates are foreign. ``tatoeba_r`` has the 41 languages of XTREME-R.

Traps:
    * The hub's older rows end in a line break, and their ``source_lang`` came from a file path: texts are stripped, the
      language is taken from the config.
    * Languages are not parallel to each other, but some English sentences recur. Item and cluster are the English
      sentence, so a sentence that several languages share is one cluster.
    * Small languages are easier: the candidates are fewer (jv 205, te 234, ta 307, sw 390).
    * XTREME-R runs it on a model tuned on SQuAD, XTREME on the bare one; a study says which.
    * ``mteb/tatoeba-bitext-mining`` holds the same pairs, turned round, for 112 languages; the accuracies that are
      published from it have the foreign sentence as query.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Sentence, Task
from xstilts.tasks._readers import text_id

REPO = "google/xtreme"
REVISION = "ec5f1f46e9af79639a90684a7a70a956c4998f04"
CONFIGS = {
    "af": "afr",
    "ar": "ara",
    "bg": "bul",
    "bn": "ben",
    "de": "deu",
    "el": "ell",
    "es": "spa",
    "et": "est",
    "eu": "eus",
    "fa": "pes",
    "fi": "fin",
    "fr": "fra",
    "he": "heb",
    "hi": "hin",
    "hu": "hun",
    "id": "ind",
    "it": "ita",
    "ja": "jpn",
    "jv": "jav",
    "ka": "kat",
    "kk": "kaz",
    "ko": "kor",
    "ml": "mal",
    "mr": "mar",
    "nl": "nld",
    "pt": "por",
    "ru": "rus",
    "sw": "swh",
    "ta": "tam",
    "te": "tel",
    "th": "tha",
    "tl": "tgl",
    "tr": "tur",
    "ur": "urd",
    "vi": "vie",
    "zh": "cmn",
}
PAIRS = {"jv": 205, "ka": 746, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "te": 234, "th": 548}
PAIRS_OF_OTHERS = 1000
COLUMNS = ("source_sentence", "target_sentence")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair: the English sentence as query, the foreign one as its candidate."""
    foreign, english = row["source_sentence"].strip(), row["target_sentence"].strip()
    item = text_id(english)
    return (
        Example(item, part.language, item, Sentence(english, "query"), item),
        Example(item, part.language, item, Sentence(foreign, "candidate"), None),
    )


PARTS = tuple(
    Part("test", code, REPO, f"tatoeba.{iso3}", "validation", REVISION, PAIRS.get(code, PAIRS_OF_OTHERS))
    for code, iso3 in CONFIGS.items()
)
TASK = Task(
    name="tatoeba",
    version=1,
    format="retrieval",
    metric="accuracy",
    data=HubData(PARTS, COLUMNS, read),
    overlaps={
        "ccg_pmb": "767 of the 32,558 English queries (of 41 languages) are training or dev texts of the other task"
    },
    cluster="English sentence",
    licence="CC BY 2.0 FR",
    citation="Artetxe and Schwenk 2019, Massively Multilingual Sentence Embeddings, arXiv 1812.10464",
)
