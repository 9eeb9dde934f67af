"""A stand-in for Cosmos QA where its training data cannot be had: a partition of Cosmos QA's own validation set.

Not on the hub, and not Cosmos QA: 2,300 rows to train on instead of 25,262. A mirror holds it as a config of Cosmos
QA's repository. What a study finds with it holds for this sample alone, and never stands beside a score on Cosmos QA's
own dev set.

Traps:
    * The partition is by context, in hash order, so train and dev share none.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import Part
from xstilts.tasks import cosmosqa

CONFIG = "offline_split"

TASK = replace(
    cosmosqa.TASK,
    name="cosmosqa_offline",
    version=1,
    data=replace(
        cosmosqa.DATA,
        parts=(
            Part("train", "en", cosmosqa.REPO, CONFIG, "train", cosmosqa.REVISION, rows=2_300),
            Part("dev", "en", cosmosqa.REPO, CONFIG, "validation", cosmosqa.REVISION, rows=685),
        ),
    ),
    caveat="a partition of Cosmos QA's validation set (2,300 training rows, not 25,262), not Cosmos QA itself",
    overlaps={"cosmosqa": "its dev holds the rows of this dev"},
)
