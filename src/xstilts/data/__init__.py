"""Rows of a task: where they come from, what is checked about them, how they are identified and thinned out."""

from __future__ import annotations

from xstilts.data.load import load_examples
from xstilts.data.rows import fingerprint, subset
from xstilts.data.sources import Sources

__all__ = ["Sources", "fingerprint", "load_examples", "subset"]
