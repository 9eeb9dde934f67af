"""Accuracy of tags, as CCG supertagging is judged (Clark & Curran 2007, J07-4004); chunk F1 stands beside it.

Counts what ``tagging`` counts; only the score that selects and is reported first is another.
"""

from __future__ import annotations

from dataclasses import replace

from xstilts.metrics import tagging

METRIC = replace(tagging.METRIC, name="token_accuracy", ratios=tagging.METRIC.ratios[::-1])
