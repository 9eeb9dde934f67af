"""Miniature of multilingual masked language modelling: records of one to four facts in the seen languages.

Languages have their shares of the backbone's own pre-training text; the three unseen ones stay unseen. No fact of a
test split occurs. There is no test split: it is trained beside other tasks.
"""

from __future__ import annotations

from xstilts.mini.draw import draw_fact, draw_kinds, generator, show_exactly
from xstilts.mini.fact import pick
from xstilts.mini.pairs import draw_language
from xstilts.mini.record import write
from xstilts.mini.task import CITATION, LICENCE
from xstilts.spec import Example, GeneratedData, Split, Task, TextPair

LINES: dict[Split, int] = {"train": 2000, "dev": 200}
LENGTHS = (1, 2, 2, 3, 3, 4)  # facts


def examples(split: Split, language: str) -> tuple[Example, ...]:
    """Lines of one split, of all languages together."""
    return tuple(_line(split, language, number) for number in range(LINES[split]))


def _line(split: Split, language: str, number: int) -> Example:
    rng = generator("mini_mlm", split, number)
    kinds = draw_kinds(rng, pick(rng, LENGTHS))
    record = [show_exactly(rng, draw_fact(rng, kind, split)) for kind in kinds]
    name = f"{split}-{number}"
    return Example(name, language, name, TextPair(write(record, draw_language(rng)).text), None)


TASK = Task(
    name="mini_mlm",
    version=1,
    format="mlm",
    metric="accuracy",
    data=GeneratedData({"train": ("mul",), "dev": ("mul",)}, examples),
    cluster="line",
    licence=LICENCE,
    citation=CITATION,
)
