"""A stand-in for HellaSwag where its training data cannot be had: a partition of HellaSwag's own validation set.

Not on the hub, and not HellaSwag: 8,000 rows to train on instead of 39,905. A mirror holds it as a config of
HellaSwag's repository. What a study finds with it holds for this sample alone, and never stands beside a score on
HellaSwag's own dev set.

Traps:
    * The partition is by activity and context, in hash order. Sources are not named in the text export it was made
      from, so two contexts of one video or article may lie on either side.
    * In that export WikiHow's marks ([header], [title], [step]) were rewritten, and ``ctx_b`` is always empty: the
      last, unfinished clause ends the prompt instead of beginning every option.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.spec import Part
from xstilts.tasks import hellaswag

CONFIG = "offline_split"

TASK = replace(
    hellaswag.TASK,
    name="hellaswag_offline",
    version=1,
    data=replace(
        hellaswag.DATA,
        parts=(
            Part("train", "en", hellaswag.REPO, CONFIG, "train", hellaswag.REVISION, rows=8_000),
            Part("dev", "en", hellaswag.REPO, CONFIG, "validation", hellaswag.REVISION, rows=2_042),
        ),
    ),
    caveat="a partition of HellaSwag's validation set (8,000 training rows, not 39,905), not HellaSwag itself",
    overlaps={"hellaswag": "its dev holds the rows of this dev"},
    cluster="context",
)
