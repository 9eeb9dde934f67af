"""Forest and dot plots as inline SVG: no network, selectable text, the page's colours in light, dark and print.

matplotlib knows no style sheets, so it draws with stand-in colours that are replaced by the page's CSS variables.
Identical input gives identical bytes: no dates, and ids from a fixed salt.
"""

from __future__ import annotations

import html
import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from xstilts.compare import Outcome
from xstilts.report.words import Verdict, effect, quantity, verdict

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
LABEL = 34  # characters of a label's line


class Line(NamedTuple):
    """One row of a forest plot.

    Attributes:
        strong: a mean over targets, drawn as a diamond; bold where it stands beside single targets.
    """

    label: str
    outcome: Outcome
    strong: bool = False


class Dot(NamedTuple):
    """One row of a dot plot: a score with its interval, and what has to be kept for it.

    Attributes:
        score: in percent; NaN where it is not known.
        text: the score in words.
        own: stored parameters per target.
        shared: stored parameters that all targets share.
        minor: belongs to the row above.
    """

    label: str
    score: float
    low: float
    high: float
    text: str
    own: float
    shared: float
    minor: bool = False


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
        return _embedded(_svg(figure), name, alt)


def dots(rows: Sequence[Dot], name: str, alt: str) -> str:
    """Draw scores with their intervals beside stored parameters; return an ``<svg>`` element.

    Args:
        rows: from top to bottom, at least one with a score.
        name: prefix of the element ids, unique on the page.
        alt: what a reader who does not see the figure is told.
    """
    labels = [textwrap.fill(row.label, LABEL) for row in rows]
    row_height = ROW * (1 + 0.42 * max(label.count("\n") for label in labels))
    with mpl.rc_context(STYLE):
        height = row_height * len(rows) + 1.3 * ROW + MARGIN / 2
        figure = Figure(figsize=(WIDTH, height))
        bottom, share = MARGIN / 2 / height, row_height * len(rows) / height
        scores, sizes = figure.add_axes((0.29, bottom, 0.22, share)), figure.add_axes((0.66, bottom, 0.15, share))
        for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
            _draw_score(scores, number, row, label)
            _draw_sizes(sizes, number, row)
        sizes.set_xscale("log")
        _decades(sizes, [value for row in rows for value in (row.own, row.shared) if value > 0])
        for axes in (scores, sizes):
            _plain(axes, len(rows))
        _head(scores, "score in percent, 95 % interval")
        _head(sizes, "parameters kept: ● per target, ○ shared")
        return _embedded(_svg(figure), name, alt)


def _draw_score(axes: Axes, row: int, dot: Dot, label: str) -> None:
    to_axes = axes.get_yaxis_transform()
    colour = MUTED if dot.minor else INK
    axes.text(-0.04, row, label, ha="right", va="center", color=colour, transform=to_axes, linespacing=1.0)
    axes.text(1.03, row, dot.text, va="center", color=colour, transform=to_axes)
    if not math.isnan(dot.score):
        axes.plot([dot.low, dot.high], [row, row], color=colour, linewidth=1.8)
        axes.plot([dot.score], [row], marker="o", ms=6, mfc=CARD if dot.minor else colour, mec=colour, mew=1.5)


def _draw_sizes(axes: Axes, row: int, dot: Dot) -> None:
    """A dot for one target, a ring for what is shared, so that both are seen where they coincide; none for nothing."""
    for value, face, size in ((dot.shared, "none", 10.0), (dot.own, INK, 5.5)):
        if value > 0:
            axes.plot([value], [row], marker="o", ms=size, mfc=face, mec=INK, mew=1.2)
    shown = quantity(dot.own) + (f" + {quantity(dot.shared)}" if dot.shared > 0 else "")
    axes.text(1.06, row, shown, va="center", color=INK, transform=axes.get_yaxis_transform())


def _decades(axes: Axes, values: Sequence[float]) -> None:
    """Limits of a log axis around its values, and ticks with decimal prefixes."""
    low, high = min(values, default=1.0), max(values, default=10.0)
    axes.set_xlim(low / 2, max(high, 10 * low) * 2)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value).replace(".0", "")))


def _head(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=STYLE["font.size"], color=MUTED, pad=5)


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    blank = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=blank)
    return stream.getvalue()


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
    _plain(axes, rows)
    axes.set_xlabel("← lower\u2003\u2003difference in points\u2003\u2003higher →", color=MUTED)


def _plain(axes: Axes, rows: int) -> None:
    """Rows from top to bottom, light lines for the ticks, no box."""
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", color=LINE, labelcolor=MUTED, length=0)
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
