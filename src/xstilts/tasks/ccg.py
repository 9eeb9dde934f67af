"""CCG supertagging on CCGbank (LDC2005T13): the combinatory category of each word; an intermediate task.

CCGbank is licensed, so the user brings its ``.auto`` files. Sections 02-21 train, 00 selects, 23 tests, as is usual for
this corpus (39,604 + 1,913 + 2,407 sentences, from memory). The paper trains on 38,015 sentences (from memory), by a
selection that its released code does not contain.

Label space: the categories cannot be listed here. The paper's released code has 1,363 outputs and numbers the
categories by a file that comes with the data. So there are 1,363 labels here, too, and label n stands for the n-th, in
the order of code points, of the categories in the user's files of these sections (``inventory``). Labels beyond the
last category are never right; more categories than labels are an error. Gold labels, hence the fingerprint of the rows,
depend on that order, so files with other categories never share a result.

Traps:
    * A category that training lacks has a label but is never learnt; it stays in the scores, as a mistake.
    * Scored by token accuracy, as usual; literature often scores the 425 most frequent categories only.
    * Words are the treebank's: brackets are ``-LRB-`` and ``-RRB-``, contractions are split.
    * Sentences of one article are not independent: cluster = article.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from xstilts.spec import Example, Split, Task, UserData, UserPart, Words
from xstilts.tasks._readers import numbered_lines

SECTIONS: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"{number:02d}" for number in range(2, 22)),
    "dev": ("00",),
    "test": ("23",),
}
LABELS = tuple(f"category-{number:04d}" for number in range(1_363))
NAME = re.compile(r"ID=(?P<sentence>(?P<article>\S+)\.\d+) ")
LEAF = re.compile(r"\(<L (?P<category>\S+) \S+ \S+ (?P<word>\S+) \S+>\)")
LEAF_START = "(<L "

Sentence = tuple[str, str, tuple[str, ...], tuple[str, ...]]


def sentences(file: Path) -> Iterator[Sentence]:
    """Read an ``.auto`` file, in which a line that names a sentence precedes the line with its derivation.

    Yields:
        Name of the sentence, name of its article, words, categories.

    Raises:
        ValueError: another line where one of these is due, with its number.
    """
    name = None
    for number, line in numbered_lines(file):
        named, leaves = NAME.match(line), LEAF.findall(line)
        if named and not name:
            name = named
        elif name and leaves and len(leaves) == line.count(LEAF_START):
            categories, words = zip(*leaves, strict=True)
            yield name["sentence"], name["article"], words, categories
            name = None
        elif line.strip():
            expected = "a derivation with its leaves" if name else "the name of a sentence ('ID=wsj_0001.1 …')"
            raise ValueError(f"{file.name}: line {number} is not {expected}")
    if name:
        raise ValueError(f"{file.name}: ends before the derivation of {name['sentence']}")


@lru_cache(maxsize=4)
def inventory(auto: Path) -> Mapping[str, str]:
    """Category → label, for the categories of all sections that the task uses.

    Args:
        auto: the directory that holds the sections.

    Raises:
        ValueError: more categories than labels, or a file that cannot be read.
    """
    sections = [auto / section for split in SECTIONS.values() for section in split]
    files = [file for section in sections for file in sorted(section.glob("*.auto"))]
    found = sorted({category for file in files for *_, categories in sentences(file) for category in categories})
    if len(found) > len(LABELS):
        raise ValueError(f"{auto} holds {len(found):,} categories; the task has {len(LABELS):,} labels")
    return dict(zip(found, LABELS, strict=False))


def read(file: Path, part: UserPart) -> Iterator[Example]:
    """The sentences of one article with the labels of their categories."""
    labels = inventory(file.parents[1])
    for sentence, article, words, categories in sentences(file):
        gold = tuple(labels[category] for category in categories)
        yield Example(sentence, part.language, article, Words(words), gold)


TASK = Task(
    name="ccg",
    version=1,
    format="tagging",
    metric="token_accuracy",
    data=UserData(
        parts=tuple(
            UserPart(split, "en", f"ccg/AUTO/{section}/*.auto")
            for split, sections in SECTIONS.items()
            for section in sections
        ),
        obtain=(
            "CCGbank is LDC2005T13 (https://catalog.ldc.upenn.edu/LDC2005T13). Copy its directory data/AUTO to "
            "ccg/AUTO, so that ccg/AUTO/00/wsj_0001.auto exists. An open corpus of the same kind is the task ccg_pmb."
        ),
        read=read,
    ),
    labels=LABELS,
    cluster="newspaper article",
    licence="LDC User Agreement",
    citation="Hockenmaier and Steedman 2007, CCGbank, Computational Linguistics 33(3), J07-3004",
)
