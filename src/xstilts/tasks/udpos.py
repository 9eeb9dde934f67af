"""UDPOS: universal part-of-speech tags in XTREME's 33 languages, read from the official release, UD 2.5.

A language is all treebanks whose files begin with its code, and words are made as in XTREME's ``download_data.sh``.

Traps:
    * The hub's copy of XTREME is not this: it joins other languages to some test sets and splits fused words; it is the
      task ``udpos_hub``.
    * A multiword token is one word, its fused form (French ``du``); its tag is that of its part nearest to the root,
      among equals the first in an order of tags that depends on the language. Empty nodes are left out.
    * A sentence is dropped if all of its words, or all but one, are withheld (``_``). That leaves nothing of some
      treebanks (en_esl, ar_nyuad, ja_bccwj) and a few sentences of fr_ftb.
    * Spaces and zero-width non-joiners inside words are removed, which changes Persian spelling.
    * XTREME's converter stops where the tags of a multiword token are missing from its order, and writes nothing of
      that treebank; here such a tag comes last, so that a test set may hold treebanks that XTREME's lacks.
    * PUD sentences are translations of each other: item = cluster = the sentence's id, the same in all its languages.
      zh_gsd and zh_gsdsimp are the same sentences in two scripts: one cluster. Otherwise cluster = the text.
    * XTREME's "F1" is chunk F1, in which neighbouring equal tags merge; token accuracy stands beside it.
"""

from __future__ import annotations

from xstilts.spec import Task, UserData, UserPart
from xstilts.tasks._conllu import FIELDS, read
from xstilts.tasks.udpos_pud import LABELS

LANGUAGES = (
    *("en", "af", "ar", "bg", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "kk"),
    *("ko", "mr", "nl", "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"),
)
ROWS = {
    "en": 5_440,
    "af": 425,
    "ar": 1_680,
    "bg": 1_116,
    "de": 22_358,
    "el": 456,
    "es": 3_147,
    "eu": 1_799,
    "fa": 600,
    "fi": 4_422,
    "he": 491,
    "hi": 2_684,
    "hu": 449,
    "id": 1_557,
    "it": 3_518,
    "ja": 2_372,
    "kk": 1_047,
    "ko": 4_276,
    "mr": 47,
    "nl": 1_471,
    "ta": 120,
    "te": 146,
    "th": 1_000,
    "tl": 55,
    "tr": 4_785,
    "ur": 535,
    "vi": 800,
    "yo": 100,
}
"""Language → test sentences; without those for which no count of the release could be confirmed."""
RELEASE = "ud-treebanks-v2.5"


def test_set(release: str, language: str, rows: int | None) -> UserPart:
    """The test files of all treebanks of a language."""
    return UserPart("test", language, f"{release}/*/{language}_*-ud-test.conllu", rows)


DATA = UserData(
    parts=(
        UserPart("train", "en", f"{RELEASE}/*/en_*-ud-train.conllu", rows=21_253),
        UserPart("dev", "en", f"{RELEASE}/*/en_*-ud-dev.conllu", rows=3_974),
        *(test_set(RELEASE, code, ROWS.get(code)) for code in LANGUAGES),
    ),
    obtain=(
        "Download ud-treebanks-v2.5.tgz from http://hdl.handle.net/11234/1-3105 and unpack it in that directory, so "
        "that it holds ud-treebanks-v2.5/UD_English-EWT/en_ewt-ud-train.conllu."
    ),
    read=read,
    fields=FIELDS,
)
TASK = Task(
    name="udpos",
    version=1,
    format="tagging",
    metric="tagging",
    data=DATA,
    labels=LABELS,
    overlaps={
        "udpos_r": "its training and dev rows are this task's training and dev rows",
        "udpos_hub": "its training and dev sentences are this task's, with their fused words split",
        "udpos_pud": "it is trained and selected on EWT, a part of this task's training and dev treebanks",
    },
    cluster="sentence: of PUD shared by its languages, otherwise its text",
    licence="per treebank, see universaldependencies.org; some are non-commercial",
    citation="Nivre et al. 2020, Universal Dependencies v2, arXiv 2004.10643; XTREME: Hu et al. 2020, arXiv 2003.11080",
)
