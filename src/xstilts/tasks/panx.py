"""PAN-X: person, organisation and location names in Wikipedia sentences (WikiANN), in XTREME's 40 languages.

Traps:
    * The tags are silver: they were derived from links, not annotated.
    * Test sets have 10,000, 1,000 or 100 sentences; 100 in jv, my and yo, so a point there is a sentence or two.
    * The original files write every token as ``en:token``. This copy has the prefix taken off, up to the first colon,
      so that a token keeps colons of its own.
    * A token may be blank. It is shown as U+FFFD, so that tags keep their places: no model could see it otherwise.
    * Sentences recur: cluster = the text of the sentence.
    * The test set of a language is drawn from its own Wikipedia; languages are not parallel.
"""

from __future__ import annotations

from xstilts.spec import Example, HubData, Part, Row, Task, Words
from xstilts.tasks._readers import text_id

REPO = "unimelb-nlp/wikiann"
REVISION = "f0a3be6dc5564c0cc4150bb660144800a1f539d4"
LANGUAGES = (
    *("en", "af", "ar", "bg", "bn", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja"),
    *("jv", "ka", "kk", "ko", "ml", "mr", "ms", "my", "nl", "pt", "ru", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi"),
    *("yo", "zh"),
)
ROWS = {
    **dict.fromkeys(("jv", "my", "yo", "gu", "pa", "qu"), 100),
    **dict.fromkeys(("af", "bn", "hi", "kk", "ml", "mr", "ms", "sw", "ta", "te", "tl", "ur", "az"), 1_000),
}
ROWS_OF_OTHERS = 10_000
LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
BLANK = "\ufffd"


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One sentence with its tags."""
    words = tuple(token if token.strip() else BLANK for token in row["tokens"])
    item = f"{part.language}-{part.split}-{number}"
    return (Example(item, part.language, text_id(" ".join(words)), Words(words), tuple(row["ner_tags"])),)


def parts(languages: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the test sets of some languages."""
    return tuple(Part("test", code, REPO, code, "test", REVISION, ROWS.get(code, ROWS_OF_OTHERS)) for code in languages)


TASK = Task(
    name="panx",
    version=1,
    format="tagging",
    metric="tagging",
    data=HubData(
        parts=(
            Part("train", "en", REPO, "en", "train", REVISION, rows=20_000),
            Part("dev", "en", REPO, "en", "validation", REVISION, rows=10_000),
            *parts(LANGUAGES),
        ),
        columns=("tokens", "ner_tags"),
        read=read,
    ),
    labels=LABELS,
    cluster="sentence text",
    licence="none stated; Wikipedia text is CC BY-SA",
    citation="Pan et al. 2017, P17-1178; splits: Rahimi et al. 2019, 1902.00193; XTREME: Hu et al. 2020, 2003.11080",
)
