"""A stand-in for MNLI where its training data cannot be had: a partition of MNLI's own matched dev set.

Not on the hub, and not MNLI: 8,601 rows to train on instead of 392,702. A mirror holds it as a config of GLUE's
repository. What a study finds with it holds for this sample alone, and never stands beside a score on MNLI's own dev
set.

Traps:
    * The partition is by premise, in hash order, so train and dev share none.
    * All rows are evaluation data of ``mnli`` and of ``anli_plus``.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import Part
from xstilts.tasks import mnli

CONFIG = "mnli_offline_split"

TASK = replace(
    mnli.TASK,
    name="mnli_offline",
    version=1,
    data=replace(
        mnli.DATA,
        parts=(
            Part("train", "en", mnli.REPO, CONFIG, "train", mnli.REVISION, rows=8_601),
            Part("dev", "en", mnli.REPO, CONFIG, "validation", mnli.REVISION, rows=1_214),
        ),
    ),
    caveat="a partition of MNLI's matched dev set (8,601 training rows, not 392,702), not MNLI itself",
    overlaps={
        "mnli": "its dev holds the rows of this dev",
        "anli_plus": "its dev holds the rows of this dev",
    },
)
