"""BUCC 2018: find the sentences that translate each other in two corpora, most of which have no translation.

XTREME's mining task (arXiv 2003.11080): F1 of the pairs above a threshold. As there, the shared task's sample is dev,
and its training set, which has a gold, is test.

Traps:
    * The threshold is chosen on dev, in each language. The numbers on dev that are published with the code of arXiv
      2005.13013 are of the threshold that is best on that very gold, and so not comparable.
    * The hub has gold pairs only (``bucc_gold``); the corpora come from the shared task.
    * The source is the foreign corpus, the target the English one. A sentence that stands twice in its corpus cannot be
      paired, see ``formats/mining.py``; its gold counts as missed.
    * The corpora have up to some 500,000 sentences: an exact search in both directions takes minutes to hours.
    * Lines end at a line feed and nowhere else: some sentences hold other line separators of Unicode.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts.spec import Example, Sentence, Split, Task, UserData, UserPart
from xstilts.tasks._readers import numbered_lines

LANGUAGES = ("de", "fr", "ru", "zh")
FILES: dict[Split, str] = {"dev": "sample", "test": "training"}


def read(path: Path, part: UserPart) -> Iterator[Example]:
    """Both corpora of a language, from its gold file and the two files beside it.

    Raises:
        ValueError: a line of one of the three files is damaged; says which file and line.
    """
    sources, targets = path.with_suffix(f".{part.language}"), path.with_suffix(".en")
    queries, candidates = _corpus(sources), _corpus(targets)
    gold = _gold(path, {sources: queries, targets: candidates})
    for item, text in queries.items():
        yield Example(item, part.language, item, Sentence(text, "query"), tuple(gold.get(item, ())))
    for item, text in candidates.items():
        yield Example(item, part.language, item, Sentence(text, "candidate"), None)


def _corpus(path: Path) -> dict[str, str]:
    """Name → sentence."""
    sentences: dict[str, str] = {}
    for where, name, text in _columns(path):
        if name in sentences:
            raise ValueError(f"{where}: {name} is given twice")
        sentences[name] = text
    return sentences


def _gold(path: Path, corpora: dict[Path, dict[str, str]]) -> dict[str, dict[str, None]]:
    """Source → its targets, in the order of the file; ``corpora`` are those of the sources and of the targets."""
    gold: dict[str, dict[str, None]] = {}
    for where, *pair in _columns(path):
        for name, (file, corpus) in zip(pair, corpora.items(), strict=True):
            if name not in corpus:
                raise ValueError(f"{where}: {name} is not in {file.name}")
        source, target = pair
        if target in gold.setdefault(source, {}):
            raise ValueError(f"{where}: the pair of {source} and {target} is given twice")
        gold[source][target] = None
    return gold


def _columns(path: Path) -> Iterator[tuple[str, str, str]]:
    """(file and line, first column, second column) of a file."""
    for number, line in numbered_lines(path, newline="\n"):
        where = f"{path.name}, line {number}"
        first, tab, second = line.partition("\t")
        if not tab:
            raise ValueError(f"{where}: needs two columns with a tab between them")
        yield where, first, second.strip()


TASK = Task(
    name="bucc_mining",
    version=1,
    format="mining",
    metric="mining",
    data=UserData(
        parts=tuple(
            UserPart(split, code, f"bucc2018/{code}-en/{code}-en.{name}.gold")
            for split, name in FILES.items()
            for code in LANGUAGES
        ),
        obtain="For XX = de, fr, ru and zh, unpack bucc2018-XX-en.sample-gold.tar.bz2 and "
        "bucc2018-XX-en.training-gold.tar.bz2 from https://comparable.limsi.fr/bucc2018/ into it; they make "
        "bucc2018/XX-en/XX-en.sample.XX, .en and .gold (dev) and XX-en.training.XX, .en and .gold (test).",
        read=read,
        fields={"item_id": "first column", "text": "second column"},
    ),
    cluster="source sentence",
    licence="not stated (sentences of Wikipedia and News Commentary, for the shared task)",
    citation="Zweigenbaum et al. 2018, Overview of the Third BUCC Shared Task",
)
