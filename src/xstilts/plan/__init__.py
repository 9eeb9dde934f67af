"""From a study to its plan: ``cells`` makes steps of each cell, ``graph`` joins them, ``words`` tells them."""

from __future__ import annotations

from xstilts.plan.cells import TRAINING_SPLITS, Cell, declared_layer
from xstilts.plan.graph import Plan, closure, evictable, expand
from xstilts.plan.words import label

__all__ = ["TRAINING_SPLITS", "Cell", "Plan", "closure", "declared_layer", "evictable", "expand", "label"]
