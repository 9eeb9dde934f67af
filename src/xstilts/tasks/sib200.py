"""SIB-200: the topic of a FLORES-200 sentence, one of seven, in 24 of its 205 language varieties.

Traps:
    * The sentences are parallel, in the same order and under the same ``index_id``: cluster = that id.
    * 204 test sentences: three points of accuracy are six sentences.
    * Seven topics are unevenly filled (a quarter is science/technology), so always answering it scores 25 %.
    * The hub holds tab-separated files in which quotes are doubled; their header names them by config.
    * Codes name a language and a script (``zho_Hans``); the language of an Example is its ISO 639-1 code, or 639-3
      where there is none (``quy``).
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Split, Task, TextPair

REPO = "Davlan/sib200"
REVISION = "38977a667f6fc264d5c26ec57a01e16db040b358"
CONFIGS = {
    "en": "eng_Latn",
    "ar": "arb_Arab",
    "bg": "bul_Cyrl",
    "bn": "ben_Beng",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "es": "spa_Latn",
    "et": "est_Latn",
    "fi": "fin_Latn",
    "fr": "fra_Latn",
    "hi": "hin_Deva",
    "id": "ind_Latn",
    "ja": "jpn_Jpan",
    "ko": "kor_Hang",
    "quy": "quy_Latn",
    "ru": "rus_Cyrl",
    "sw": "swh_Latn",
    "ta": "tam_Taml",
    "th": "tha_Thai",
    "tr": "tur_Latn",
    "ur": "urd_Arab",
    "vi": "vie_Latn",
    "yo": "yor_Latn",
    "zh": "zho_Hans",
}
LABELS = ("entertainment", "geography", "health", "politics", "science/technology", "sports", "travel")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One sentence with its topic."""
    item = str(row["index_id"])
    return (Example(item, part.language, item, TextPair(row["text"]), row["category"]),)


def _part(split: Split, language: str, hub_split: str, rows: int) -> Part:
    return Part(split, language, REPO, CONFIGS[language], hub_split, REVISION, rows)


TASK = Task(
    name="sib200",
    version=1,
    format="classification",
    metric="accuracy",
    data=HubData(
        parts=(
            _part("train", "en", "train", 701),
            _part("dev", "en", "validation", 99),
            *(_part("test", language, "test", 204) for language in CONFIGS),
        ),
        columns=("index_id", "category", "text"),
        read=read,
    ),
    labels=LABELS,
    parallel=True,
    cluster="FLORES sentence, shared by all languages",
    licence="CC BY-SA 4.0",
    citation="Adelani et al. 2024, SIB-200: A Simple, Inclusive, and Big Evaluation Dataset, arXiv 2309.07445",
)
