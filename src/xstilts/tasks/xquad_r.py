"""XQuAD as in XTREME-R: ``xquad`` and, as a twelfth language, Romanian; the same training and dev.

Traps:
    * All of ``xquad``'s.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import HubData
from xstilts.tasks import xquad

XTREME_R_ADDS = ("ro",)

assert isinstance(xquad.TASK.data, HubData)
TASK = replace(
    xquad.TASK,
    name="xquad_r",
    data=replace(xquad.TASK.data, parts=(*xquad.TASK.data.parts, *xquad.parts(XTREME_R_ADDS))),
    citation=f"{xquad.TASK.citation}; XTREME-R: Ruder et al. 2021, arXiv 2104.07412",
)
