"""UDPOS as in XTREME-R: ``udpos`` and five more languages, from the official UD releases.

Traps:
    * XTREME-R did not move XTREME's 33 languages to UD 2.7: both releases are needed, 2.7 for lt, pl, ro, uk and wo.
    * Those of ``udpos``.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.tasks import udpos

RELEASE = "ud-treebanks-v2.7"
ADDS = {"lt": 837, "pl": 4_942, "ro": 2_272, "uk": 892, "wo": 470}
"""Language → test sentences."""

TASK = replace(
    udpos.TASK,
    name="udpos_r",
    data=replace(
        udpos.DATA,
        parts=(*udpos.DATA.parts, *(udpos.test_set(RELEASE, code, rows) for code, rows in ADDS.items())),
        obtain=(
            f"{udpos.DATA.obtain} Do the same with ud-treebanks-v2.7.tgz from http://hdl.handle.net/11234/1-3424, for "
            "lt, pl, ro, uk and wo."
        ),
    ),
    overlaps={
        "udpos": "its training and dev rows are this task's training and dev rows",
        **{name: what for name, what in udpos.TASK.overlaps.items() if name != "udpos_r"},
    },
    citation=f"{udpos.TASK.citation}; XTREME-R: Ruder et al. 2021, arXiv 2104.07412",
)
