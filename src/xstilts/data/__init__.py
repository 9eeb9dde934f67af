"""Rows of a task: where they come from, what is checked about them, how they are identified and thinned out."""

from __future__ import annotations

from xstilts.data.identity import identify
from xstilts.data.load import load_examples
from xstilts.data.rows import fingerprint, subset
from xstilts.data.sources import Sources
from xstilts.data.training import load_training

__all__ = ["Sources", "fingerprint", "identify", "load_examples", "load_training", "subset"]
