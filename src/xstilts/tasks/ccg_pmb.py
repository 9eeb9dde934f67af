"""CCG supertagging on the Parallel Meaning Bank, release 4.0.0, English gold part: an open stand-in for ``ccg``.

Not CCGbank: another tag set (312 categories, lower case, ``s:dcl`` for ``S[dcl]``), other texts, and a fifth of the
sentences. Results are not comparable with those of ``ccg``, hence the other name. The files are the extraction of
the corpus's layers that its authors publish, in columns; gold sentences only.

Traps:
    * Documents are split as in the release: parts that end in 0 are dev (p00 to p40; the rest is a further set that is
      not used), parts that end in 1 are test, the others train. German, Italian and Dutch are split in other places, so
      their test documents are translations of English training documents; only English is read.
    * A document may have several sentences, and most have one: cluster = document.
    * A space inside a word is written ``~`` (``New~York``); it is a space again here.
    * Most texts are short, many come from Tatoeba: 767 of the 32,558 English sentences that the Tatoeba retrieval tasks
      search with are training or dev texts here. Eleven dev and six test sentences also occur in training.
    * 18 categories occur in dev or test only. They are part of the label space, but cannot be learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from xstilts.spec import Example, Task, UserData, UserPart, Words
from xstilts.tasks._readers import numbered_lines

COMMIT = "190838f9adea2af616eb76156d2e66c8565a6c6e"
COMMENTS = ("# ", "### ")  # a word never has a space, so a word '#' is no comment
DOCUMENT = "# newdoc id = "
LAYERS = "# tok:"  # names the columns: '# tok:gold<TAB>tok:gold<TAB>sym:gold<TAB>sem:gold<TAB>cat:gold…'
CATEGORY = "cat:"
SPACE = "~"

_CATEGORIES = r"""
    (((s:b\np)/(s:to\np))/np)/np (((s:dcl\np)/(s:to\np))/np)/np (((s\np)\(s\np))\np)/s:dcl ((n\n)/(s:dcl\np))/n
    ((n\n)/s:dcl)\((n\n)/np) ((np\np)/(s:dcl\np))/(n/pp) ((np\np)/(s:dcl\np))/n ((s:X\np)\(s:X\np))/np
    ((s:adj\np)/(s:to\np))/(s:adj\np) ((s:adj\np)/pp)/(s:adj\np) ((s:adj\np)/pp)/np ((s:adj\np)/pp)/pr
    ((s:adj\np)/s:dcl)/(s:adj\np) ((s:adj\np)/s:em)/(s:adj\np) ((s:adj\np)\(s:adj\np))/(s:q/(s:adj\np))
    ((s:adj\np)\(s:adj\np))/np ((s:adj\np)\np)/pp ((s:b\np)/(s:adj\np))/np ((s:b\np)/(s:pss\np))/np
    ((s:b\np)/(s:to\np))/np ((s:b\np)/np)/np ((s:b\np)/np)/pp ((s:b\np)/np)/pr ((s:b\np)/pp)/np ((s:b\np)/pp)/pp
    ((s:b\np)/pp)/pr ((s:b\np)/pr)/np ((s:b\np)/s:qem)/np ((s:b\np)\(s:b\np))/n ((s:b\np)\(s:b\np))/np
    ((s:b\np)\(s:b\np))/pp ((s:b\np)\(s:b\np))/s:dcl ((s:dcl\np)/(s:adj\np))/np ((s:dcl\np)/(s:ng\np))/np
    ((s:dcl\np)/(s:pss\np))/np ((s:dcl\np)/(s:to\np))/np ((s:dcl\np)/np)/np ((s:dcl\np)/np)/pp ((s:dcl\np)/np)/pr
    ((s:dcl\np)/np)\(((s:dcl\np)/np)/np) ((s:dcl\np)/pp)/np ((s:dcl\np)/pp)/pp ((s:dcl\np)/pp)/pr ((s:dcl\np)/pr)/np
    ((s:dcl\np)/s:dcl)/np ((s:dcl\np)/s:em)/np ((s:dcl\np)/s:em)/pp ((s:dcl\np)/s:qem)/np ((s:dcl\np)\(s:dcl\np))/n
    ((s:dcl\np)\(s:dcl\np))/np ((s:dcl\np)\(s:dcl\np))/pp ((s:dcl\np)\(s:dcl\np))\(n/n) ((s:dcl\np)\(s:dcl\np))\np
    ((s:dcl\np:expl)/(np\np))/np ((s:dcl\np:expl)/s:for)/(s:adj\np) ((s:dcl\np:thr)/pp)/np ((s:ng\np)/(s:adj\np))/np
    ((s:ng\np)/np)/np ((s:ng\np)/np)/pp ((s:ng\np)/np)/pr ((s:ng\np)/pp)/np ((s:ng\np)/pp)/pr ((s:ng\np)/pr)/np
    ((s:ng\np)\(s:ng\np))/np ((s:ng\np)\(s:ng\np))/s:dcl ((s:pss\np)/pp)/pr ((s:pss\np)\(s:pss\np))/(s:ng\np)
    ((s:pss\np)\(s:pss\np))/n ((s:pss\np)\(s:pss\np))/np ((s:pss\np)\(s:pss\np))/pp ((s:pt\np)/(s:adj\np))/np
    ((s:pt\np)/(s:pss\np))/np ((s:pt\np)/np)/np ((s:pt\np)/np)/pr ((s:pt\np)/pp)/np ((s:pt\np)/pp)/pr
    ((s:pt\np)/pr)/np ((s:pt\np)\(s:pt\np))/n ((s:pt\np)\(s:pt\np))/np ((s:q/np)/pp)/np ((s:q/pp)/np)/np
    ((s:wq/pp)/n)/(np/n) ((s\np)\(s\np))/((s\np)\(s\np)) ((s\np)\(s\np))/(s:b\np) ((s\np)\(s\np))/(s:ng\np)
    ((s\np)\(s\np))/n ((s\np)\(s\np))/np ((s\np)\(s\np))/pp ((s\np)\(s\np))/s:dcl ((s\np)\(s\np))\np
    (n/(n/pp))/(s:adj\np) (n/n)/(n/n) (n/n)/(s:adj\np) (n/n)/n (n/n)\(n/n) (n/n)\n (n/n)\np (n/pp)/(n/pp) (n/pp)/n
    (n/pp)/pp (n\(n/n))\n (n\n)/(s:dcl/np) (n\n)/(s:dcl\np) (n\n)/n (n\n)/np (n\n)/s:dcl (np/(n/pp))\np (np/n)\(np/n)
    (np/n)\np (np/pp)/np (np\np)/(s:dcl/np) (np\np)/(s:dcl\np) (np\np)/n (np\np)/np (s/s)/n (s/s)/np (s/s)/pp
    (s/s)/s:dcl (s/s)\np (s:X\np)\((s:X\np)/np) (s:adj\np)/((s:to\np)/np) (s:adj\np)/(s:adj\np) (s:adj\np)/(s:to\np)
    (s:adj\np)/np (s:adj\np)/pp (s:adj\np)/s:dcl (s:adj\np)/s:em (s:adj\np)/s:qem (s:adj\np)\(s:adj\np) (s:adj\np)\n
    (s:adj\np)\np (s:adj\np)\pp (s:b\np)/(s:adj\np) (s:b\np)/(s:b\np) (s:b\np)/(s:ng\np) (s:b\np)/(s:pss\np)
    (s:b\np)/(s:pt\np) (s:b\np)/(s:to\np) (s:b\np)/np (s:b\np)/pp (s:b\np)/pr (s:b\np)/s:dcl (s:b\np)/s:em
    (s:b\np)/s:qem (s:b\np)\((s:b\np)/np) (s:b\np)\(s:b\np) (s:dcl/(s:b\np))/(s:dcl\np) (s:dcl/(s:b\np))/np
    (s:dcl/(s:b\np))/s:dcl (s:dcl/(s:dcl/(s:adj\np)))/(s:adj\np) (s:dcl/(s:dcl/np))/n (s:dcl/(s:dcl/np))/np
    (s:dcl/(s:pt\np))/np (s:dcl/s:dcl)/n (s:dcl/s:dcl)/np (s:dcl/s:dcl)/pp (s:dcl/s:dcl)/s:dcl
    (s:dcl/s:dcl)\(s:dcl/s:dcl) (s:dcl\(s:adj\np))/np (s:dcl\np)/(np/pp) (s:dcl\np)/(s:adj\np) (s:dcl\np)/(s:b\np)
    (s:dcl\np)/(s:dcl\np) (s:dcl\np)/(s:ng\np) (s:dcl\np)/(s:pss\np) (s:dcl\np)/(s:pt\np) (s:dcl\np)/(s:to\np)
    (s:dcl\np)/np (s:dcl\np)/pp (s:dcl\np)/pr (s:dcl\np)/s:dcl (s:dcl\np)/s:em (s:dcl\np)/s:qem
    (s:dcl\np)\((s:dcl\np)/np) (s:dcl\np)\(s:dcl\np) (s:dcl\np:expl)/(s:b\np) (s:dcl\np:thr)/np (s:dcl\pp)/np
    (s:dcl\s:dcl)/np (s:dcl\s:dcl)/s:dcl (s:dcl\s:dcl)\np (s:dcl\s:q)/np (s:dcl\s:q)\np (s:dcl\s:wq)/np
    (s:for/(s:to\np))/np (s:inv/(s:adj\np))/np (s:ng\np)/(s:adj\np) (s:ng\np)/(s:b\np) (s:ng\np)/(s:ng\np)
    (s:ng\np)/(s:pss\np) (s:ng\np)/(s:to\np) (s:ng\np)/np (s:ng\np)/pp (s:ng\np)/pr (s:ng\np)/s:em (s:ng\np)/s:for
    (s:ng\np)\((s:ng\np)/np) (s:ng\np)\(s:ng\np) (s:pss\np)/(s:adj\np) (s:pss\np)/np (s:pss\np)/pp (s:pss\np)/pr
    (s:pss\np)/s:qem (s:pt\np)/(s:adj\np) (s:pt\np)/(s:ng\np) (s:pt\np)/(s:pss\np) (s:pt\np)/(s:to\np) (s:pt\np)/np
    (s:pt\np)/pp (s:pt\np)/pr (s:pt\np)/s:em (s:pt\np)\((s:pt\np)/np) (s:pt\np)\(s:pt\np) (s:q/(s:adj\np))/np
    (s:q/(s:b\np))/np (s:q/(s:ng\np))/np (s:q/(s:pss\np))/np (s:q/(s:pt\np))/np (s:q/np)/np (s:q/pp)/np
    (s:q\s:dcl)/(s:q/(s:adj\np)) (s:q\s:dcl)/(s:q/(s:b\np)) (s:q\s:dcl)/(s:q/(s:ng\np)) (s:q\s:dcl)/(s:q/(s:pt\np))
    (s:q\s:dcl)/(s:q/np) (s:q\s:q)/np (s:qem/(s:dcl/np))/n (s:to\np)/(s:b\np) (s:wq/(s:dcl/np))/n (s:wq/(s:dcl\np))/n
    (s:wq/(s:q/(s:adj\np)))/(s:adj\np) (s:wq/(s:q/np))/n (s:wq/(s:q/np))/pp (s:wq/(s:q/pp))/(s:wq/(s:q/np))
    (s:wq/(s:q/pp))/n (s:wq/(s:q/pp))/pp (s:wq/np)/(pp/np) (s:wq\s:wq)/s:dcl (s\np)/(s\np) (s\np)/pp (s\np)\(s\np)
    (s\s)/s:dcl , . ; conj conj\conj lrb n n/(n/pp) n/(s:ng\np) n/n n/n:num n/pp n/s:dcl n:num n\n np np/(n/pp)
    np/(s:adj\np) np/(s:dcl/np) np/(s:dcl\np) np/n np/np np/pp np/s:dcl np:expl np:thr np\n np\np pp pp/(s:adj\np)
    pp/(s:ng\np) pp/n pp/np pp/pp pp/s:dcl pp\np pr rrb s/(s:dcl\np) s/s s:X\s:X s:adj\np s:adj\s:adj s:b\np s:b\s:b
    s:dcl/np s:dcl/s:dcl s:dcl/s:inv s:dcl\np s:dcl\s:dcl s:em/s:dcl s:intj s:ng\np s:pss\np s:pt\np s:q/s:q s:q\s:dcl
    s:q\s:q s:qem/(s:dcl/np) s:qem/(s:dcl/pp) s:qem/(s:dcl\np) s:qem/s:dcl s:wq/(s:dcl\np) s:wq/(s:q/(s:adj\np))
    s:wq/(s:q/np) s:wq/(s:q/pp) s:wq/s:q s:wq/s:wq s:wq\s:wq s\s
"""


def read(file: Path, part: UserPart) -> Iterator[Example]:
    """The sentences of a file, named by their document and their place in it."""
    document, column, count = "", 0, 0
    words: list[tuple[str, str]] = []
    for number, line in chain(numbered_lines(file), [(0, "")]):
        fields = line.split("\t")
        if line.startswith(DOCUMENT):
            document, count = line.removeprefix(DOCUMENT).strip(), 0
        elif line.startswith(LAYERS):
            column = next((place for place, name in enumerate(fields) if name.startswith(CATEGORY)), 0)
        elif line.strip() and not line.startswith(COMMENTS):
            if not (document and 0 < column < len(fields)):
                raise ValueError(f"line {number} is not a word with its category, below the name of a document")
            words.append((fields[0].replace(SPACE, " "), fields[column]))
        elif words and not line.strip():
            forms, tags = zip(*words, strict=True)
            yield Example(f"{document}/{count}", part.language, document, Words(forms), tags)
            words, count = [], count + 1


TASK = Task(
    name="ccg_pmb",
    version=1,
    format="tagging",
    metric="token_accuracy",
    data=UserData(
        parts=(
            UserPart("train", "en", "ccg_pmb/train.conll", rows=7_745),
            UserPart("dev", "en", "ccg_pmb/dev.conll", rows=1_174),
            UserPart("test", "en", "ccg_pmb/test.conll", rows=1_053),
        ),
        obtain=(
            "Copy train.conll, dev.conll and test.conll from parsing/layer_data/4.0.0/en/gold of "
            f"https://github.com/RikVN/DRS_parsing (commit {COMMIT}) to ccg_pmb/."
        ),
        read=read,
        fields={"words": "tok", "gold": "cat"},
    ),
    labels=tuple(_CATEGORIES.split()),
    cluster="document",
    licence="that of each text, as the corpus's release states it; the repository of the files: MIT",
    citation="Abzianidze et al. 2017, The Parallel Meaning Bank, arXiv 1702.03964",
)
