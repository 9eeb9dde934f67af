"""Forest plots as inline SVG: no network, selectable text, the page's colours in light, dark and print.

matplotlib knows no style sheets, so it draws with stand-in colours that are replaced by the page's CSS variables.
Identical input gives identical bytes: no dates, and ids from a fixed salt.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xstilts.compare import Outcome
from xstilts.report.words import Verdict, effect, verdict

STAND_INS = {
    "#010101": "ink",
    "#020202": "muted",
    "#030303": "line",
    "#040404": "up",
    "#050505": "down",
    "#060606": "card",
}
INK, MUTED, LINE, UP, DOWN, CARD = STAND_INS
COLOURS = {Verdict.HIGHER: UP, Verdict.LOWER: DOWN}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xstilts",
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
}
WIDTH = 8.6  # inches
ROW = 0.27  # inches
MARGIN = 0.52  # inches, for the axis


class Line(NamedTuple):
    """One row of a forest plot.

    Attributes:
        strong: a mean over targets, drawn as a diamond; bold where it stands beside single targets.
    """

    label: str
    outcome: Outcome
    strong: bool = False


def forest(lines: Sequence[Line], name: str, alt: str) -> str:
    """Draw differences with their intervals; return an ``<svg>`` element.

    Args:
        lines: rows from top to bottom, at least one with a difference.
        name: prefix of the element ids, unique on the page.
        alt: what a reader who does not see the figure is told.
    """
    with mpl.rc_context(STYLE):
        height = ROW * len(lines) + MARGIN
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.27, MARGIN / height, 0.5, 1 - MARGIN / height))
        bold = not all(line.strong for line in lines)
        for row, line in enumerate(lines):
            _draw(axes, row, line, "bold" if line.strong and bold else "normal")
        _frame(axes, len(lines))
        stream = io.StringIO()
        blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=blank)
    return _embedded(stream.getvalue(), name, alt)


def _draw(axes: Axes, row: int, line: Line, weight: str) -> None:
    outcome, shown = line.outcome, verdict(line.outcome)
    to_axes = axes.get_yaxis_transform()
    axes.text(-0.02, row, line.label, ha="right", va="center", color=INK, weight=weight, transform=to_axes)
    if math.isnan(outcome.difference):
        axes.text(1.02, row, shown, va="center", color=MUTED, transform=to_axes)
        return
    colour = COLOURS.get(shown, MUTED)
    axes.plot([outcome.low, outcome.high], [row, row], color=colour, linewidth=2.4 if line.strong else 1.6)
    # Shape as well as colour tells whether a side of 0 is named: filled if it is, hollow if not.
    face = colour if shown in COLOURS else CARD
    axes.plot([outcome.difference], [row], marker="D" if line.strong else "o", ms=6, mfc=face, mec=colour, mew=1.5)
    text = shown if shown is Verdict.SAME else effect(outcome)
    axes.text(1.02, row, text, va="center", color=INK, weight=weight, transform=to_axes)


def _frame(axes: Axes, rows: int) -> None:
    axes.axvline(0, color=INK, linewidth=1, zorder=0)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", color=LINE, labelcolor=MUTED, length=0)
    axes.set_xlabel("← lower\u2003\u2003difference in points\u2003\u2003higher →", color=MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _embedded(svg: str, name: str, alt: str) -> str:
    """Make a stand-alone SVG part of a page: colours and font from the page, unique ids, alternative text."""
    svg = svg[svg.index("<svg") :]
    for stand_in, variable in STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{variable})")
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)  # the page decides; the view box keeps the shape
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)
