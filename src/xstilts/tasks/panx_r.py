"""PAN-X in XTREME-R's 48 languages: those of ``panx`` and az, gu, lt, pa, pl, qu, ro, uk; the same training and dev.

Traps:
    * All of ``panx``'s. gu, pa and qu have 100 test sentences each.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import HubData
from xstilts.tasks import panx

XTREME_R_ADDS = ("az", "gu", "lt", "pa", "pl", "qu", "ro", "uk")

assert isinstance(panx.TASK.data, HubData)
TASK = replace(
    panx.TASK,
    name="panx_r",
    data=replace(panx.TASK.data, parts=(*panx.TASK.data.parts, *panx.parts(XTREME_R_ADDS))),
    citation=f"{panx.TASK.citation}; XTREME-R: Ruder et al. 2021, arXiv 2104.07412",
)
