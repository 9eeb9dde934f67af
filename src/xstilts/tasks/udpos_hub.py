"""UDPOS as the hub's copy of XTREME has it (UD 2.5): needs no download of treebanks, but is not XTREME's own.

Traps:
    * The hub's test sets are not XTREME's own. Its loader takes every treebank whose name contains the language's, so
      Greek includes Ancient Greek (2,353 of 2,809 test sentences), French Old French, Chinese Classical Chinese,
      Russian Old Russian, German Swiss German. XTREME goes by the language code of the file, and so does
      ``udpos``, which reads the official release.
    * Multiword tokens differ as well: the hub has their parts (``in dem``), XTREME's script the fused form (``im``).
    * Sentences whose text had to be withheld consist of what was left: most are absent, some French ones are fragments.
    * XTREME's "F1" is chunk F1, in which neighbouring equal tags merge; token accuracy stands beside it.
    * Treebanks of one language differ in domain, size and annotation; English training joins EWT, GUM, LinES, ParTUT.
    * A row names neither its treebank nor its sentence, so parallel sentences (PUD) cannot be linked and the Chinese
      ones that occur in both scripts neither: cluster = the text of the sentence.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, Words
from xstilts.tasks._readers import text_id
from xstilts.tasks.udpos_pud import LABELS

REPO = "google/xtreme"
REVISION = "ec5f1f46e9af79639a90684a7a70a956c4998f04"
TEST = {
    "en": ("English", 5_440),
    "af": ("Afrikaans", 425),
    "ar": ("Arabic", 1_680),
    "bg": ("Bulgarian", 1_116),
    "de": ("German", 22_458),
    "el": ("Greek", 2_809),
    "es": ("Spanish", 3_147),
    "et": ("Estonian", 3_760),
    "eu": ("Basque", 1_799),
    "fa": ("Persian", 600),
    "fi": ("Finnish", 4_422),
    "fr": ("French", 9_465),
    "he": ("Hebrew", 491),
    "hi": ("Hindi", 2_684),
    "hu": ("Hungarian", 449),
    "id": ("Indonesian", 1_557),
    "it": ("Italian", 3_518),
    "ja": ("Japanese", 2_372),
    "kk": ("Kazakh", 1_047),
    "ko": ("Korean", 4_276),
    "mr": ("Marathi", 47),
    "nl": ("Dutch", 1_471),
    "pt": ("Portuguese", 2_681),
    "ru": ("Russian", 11_336),
    "ta": ("Tamil", 120),
    "te": ("Telugu", 146),
    "th": ("Thai", 1_000),
    "tl": ("Tagalog", 55),
    "tr": ("Turkish", 4_785),
    "ur": ("Urdu", 535),
    "vi": ("Vietnamese", 800),
    "yo": ("Yoruba", 100),
    "zh": ("Chinese", 5_528),
}
"""Language → (name in the hub's config, test sentences)."""


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One sentence with its tags."""
    words = tuple(row["tokens"])
    item = f"{part.language}-{part.split}-{number}"
    return (Example(item, part.language, text_id(" ".join(words)), Words(words), tuple(row["pos_tags"])),)


TASK = Task(
    name="udpos_hub",
    version=1,
    format="tagging",
    metric="tagging",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "udpos.English", "train", REVISION, rows=21_253),
            Part("dev", "en", REPO, "udpos.English", "validation", REVISION, rows=3_974),
            *(Part("test", code, REPO, f"udpos.{name}", "test", REVISION, rows) for code, (name, rows) in TEST.items()),
        ),
        columns=("tokens", "pos_tags"),
        read=read,
    ),
    labels=LABELS,
    caveat=(
        "the hub's copy joins other languages to some test sets (five of six Greek sentences are Ancient Greek; also "
        "de, fr, ru, zh) and splits fused words: not comparable with published XTREME scores; udpos reads UD itself"
    ),
    overlaps={
        **dict.fromkeys(
            ("udpos", "udpos_r"), "its training and dev sentences are this task's, with fused words in one piece"
        ),
        "udpos_pud": "it is trained and selected on EWT, a part of this task's training and dev treebanks",
    },
    cluster="sentence text",
    licence="per treebank, see universaldependencies.org; some are non-commercial",
    citation="Nivre et al. 2020, Universal Dependencies v2, arXiv 2004.10643; XTREME: Hu et al. 2020, arXiv 2003.11080",
)
