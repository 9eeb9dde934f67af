"""Masked language modelling on text of the user's, to be mixed with intermediate tasks.

As Phang et al. (2020, arXiv 2005.13013) go on with XLM-R's own multilingual pre-training beside an intermediate task.

Traps:

* One line is one example, and lines are not joined: a text without line breaks is one example, cut to ``max_length``.
* Languages are not told apart and not balanced: every line counts the same, whatever file it is in. A balanced mixture
  of languages is made by supplying as many lines of each.
* About one line in ``HELD_OUT`` is dev and never trained on. A hash of its text says which, so a line that occurs twice
  is on one side only. At most ``engine.train.DEV_LINES`` of them are evaluated.
* Whether the text holds sentences of a target's test set is not known; Wikipedia, for one, is what XQuAD, MLQA, TyDiQA
  and PANX were made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts.key import stable_int
from xstilts.spec import Example, Task, TextPair, UserData, UserPart
from xstilts.tasks._readers import numbered_lines

FOLDER = "mlm"
HELD_OUT = 100  # one line in so many


def read(file: Path, part: UserPart) -> Iterator[Example]:
    """The lines of a file that belong to a split; blank ones are skipped.

    Raises:
        ValueError: a line is not UTF-8; says which.
    """
    inside = file.parts[len(file.parts) - file.parts[::-1].index(FOLDER) :]
    for number, line in numbered_lines(file):
        text = line.strip()
        if text and is_held_out(text) == (part.split == "dev"):
            name = f"{'/'.join(inside)}:{number}"
            yield Example(name, part.language, name, TextPair(text), None)


def is_held_out(text: str) -> bool:
    """Whether a line is for evaluation."""
    return stable_int("held out", text) % HELD_OUT == 0


TASK = Task(
    name="mlm",
    version=1,
    format="mlm",
    metric="accuracy",
    data=UserData(
        parts=(UserPart("train", "mul", f"{FOLDER}/**/*.txt"), UserPart("dev", "mul", f"{FOLDER}/**/*.txt")),
        obtain=(
            "Put UTF-8 text into mlm/, in files that end in .txt, one sentence or paragraph per line, in all languages "
            "of the targets; a thousand lines at least, of which one in a hundred is held out."
        ),
        read=read,
    ),
    caveat="the text is the user's; whether it holds sentences of a target's test set is not known",
    cluster="line",
    licence="that of the text, which the user supplies",
    citation="Conneau et al. 2020, Unsupervised Cross-lingual Representation Learning at Scale (arXiv 1911.02116)",
)
