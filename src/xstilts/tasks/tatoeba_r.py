"""Tatoeba in the 41 languages of XTREME-R (arXiv 2104.07412): those of XTREME and az, lt, pl, ro, uk.

Traps:
    * The hub has no configs for the five additions (``google/xtreme``: ``tatoeba.aze``, ``.lit``, ``.pol``, ``.ron``,
      ``.ukr``); only a mirror that was given them has them. Their sentences come from the same release of LASER,
      ``data/tatoeba/v1``. A study that reads from the hub names the other languages, or takes ``tatoeba``.
    * XTREME-R runs it on a model tuned on SQuAD.
    * Everything else: ``tatoeba``.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import HubData
from xstilts.tasks import tatoeba

ADDED = {"az": "aze", "lt": "lit", "pl": "pol", "ro": "ron", "uk": "ukr"}

TASK = replace(
    tatoeba.TASK,
    name="tatoeba_r",
    data=HubData(tatoeba.parts(tatoeba.CONFIGS | ADDED), tatoeba.COLUMNS, tatoeba.read),
    citation=f"{tatoeba.TASK.citation}; XTREME-R: Ruder et al. 2021, arXiv 2104.07412",
)
