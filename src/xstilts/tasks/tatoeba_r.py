"""Tatoeba in the 41 languages of XTREME-R (arXiv 2104.07412): those of XTREME and az, lt, pl, ro, uk.

Traps:
    * ``google/xtreme`` has no configs for the five additions. They are read from ``mteb/tatoeba-bitext-mining``, which
      was made from the same release (LASER, ``data/tatoeba/v1``); there the foreign sentence comes first as well.
    * The main branch of that repository holds gzipped JSON lines; the revision is one of the hub's own conversion to
      Parquet (``refs/convert/parquet``).
    * XTREME-R runs it on a model tuned on SQuAD.
    * Everything else: ``tatoeba``.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import Example, HubData, Part, Row
from xstilts.tasks import tatoeba

ADDED = {"az": "aze", "lt": "lit", "pl": "pol", "ro": "ron", "uk": "ukr"}
REPO = "mteb/tatoeba-bitext-mining"
REVISION = "103af0c3c96927275a1db8dd698bcd56080c5418"
COLUMNS = ("sentence1", "sentence2")


def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
    """One pair, as ``tatoeba`` reads it."""
    if part.repo == REPO:
        row = dict(zip(tatoeba.COLUMNS, (row[name] for name in COLUMNS), strict=True))
    return tatoeba.read(row, part, number)


TASK = replace(
    tatoeba.TASK,
    name="tatoeba_r",
    data=HubData(
        parts=(
            *tatoeba.PARTS,
            *(
                Part("test", code, REPO, f"{iso3}-eng", "test", REVISION, tatoeba.PAIRS_OF_OTHERS, COLUMNS)
                for code, iso3 in ADDED.items()
            ),
        ),
        columns=tatoeba.COLUMNS,
        read=read,
    ),
    citation=f"{tatoeba.TASK.citation}; XTREME-R: Ruder et al. 2021, arXiv 2104.07412",
)
