"""Universal Dependencies part-of-speech tags: English EWT to the parallel PUD treebanks and Yoruba.

Not XTREME's UDPOS (``udpos``, ``udpos_r``), which joins all treebanks of a language: there English has 21,253 training
sentences and German tests on more than its 1,000 PUD sentences. This selection keeps what is translated, so that
languages can be compared.

Traps:
    * It cannot come from the hub: a mirror holds it under ``google/xtreme``, with English PUD as the config
      ``udpos.English_PUD``, which the hub does not have. The declared row counts refuse the hub's other treebanks.
    * PUD sentence n is the same one in all eleven languages: cluster = that sentence. Yoruba (YTB) is not parallel.
    * Tags are stored as numbers whose names the file carries (alphabetical here, not in UD's own order).
    * Multiword tokens appear as their parts, as in the hub's ``google/xtreme`` (XTREME's own script takes the fused
      form); a word may contain a space (Finnish, French numbers).
    * XTREME's "F1" is chunk F1, in which neighbouring equal tags merge; token accuracy stands beside it.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, Words

REPO = "google/xtreme"
REVISION = "ec5f1f46e9af79639a90684a7a70a956c4998f04"
PUD = {
    "en": "udpos.English_PUD",
    "ar": "udpos.Arabic",
    "de": "udpos.German",
    "es": "udpos.Spanish",
    "fi": "udpos.Finnish",
    "fr": "udpos.French",
    "hi": "udpos.Hindi",
    "id": "udpos.Indonesian",
    "ru": "udpos.Russian",
    "tr": "udpos.Turkish",
    "zh": "udpos.Chinese",
}
YORUBA = "udpos.Yoruba"
LABELS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One sentence with its tags. A PUD sentence is named by its position, which all languages share."""
    source = "pud" if part.config in PUD.values() else f"{part.language}-{part.split}"
    item = f"{source}-{number}"
    return (Example(item, part.language, item, Words(tuple(row["tokens"])), tuple(row["pos_tags"])),)


TASK = Task(
    name="udpos_pud",
    version=1,
    format="tagging",
    metric="tagging",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "udpos.English", "train", REVISION, rows=12_544),
            Part("dev", "en", REPO, "udpos.English", "validation", REVISION, rows=2_001),
            *(Part("test", code, REPO, config, "test", REVISION, rows=1_000) for code, config in PUD.items()),
            Part("test", "yo", REPO, YORUBA, "test", REVISION, rows=317),
        ),
        columns=("tokens", "pos_tags"),
        read=read,
    ),
    labels=LABELS,
    overlaps=dict.fromkeys(
        ("udpos", "udpos_r", "udpos_hub"), "its training and dev treebanks hold EWT, which this task is trained on"
    ),
    cluster="sentence, shared by the PUD languages",
    licence="EWT and YTB CC BY-SA 4.0; PUD CC BY-SA 3.0 (Finnish 4.0)",
    citation="Nivre et al. 2020, Universal Dependencies v2, arXiv 2004.10643; PUD: Zeman et al. 2017, K17-3001",
)
