"""Numbers and verdicts in words. A verdict follows from an interval, if there were seeds enough to trust one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

from xstilts.compare import Flag, Outcome
from xstilts.study import POOLED

ABSENT = "–"
NO_BREAK = "\u00a0"
MODELS_ONLY = "†"  # marks an interval that speaks of the very models
SIGNIFICANT = 0.05  # of q


class Verdict(StrEnum):
    """What the 95 % interval of a difference lets one say. Never "equal": holding 0 does not show that."""

    HIGHER = "higher"
    LOWER = "lower"
    NOT_SHOWN = "no difference shown"
    NOT_JUDGED = "not judged"
    SAME = "same predictions"
    NO_VARIANCE = "no variance to judge by"
    UNKNOWN = "not estimable"
    NOT_RUN = "not run"


def verdict(outcome: Outcome) -> Verdict:
    """Say on which side of zero the whole interval lies, if it does."""
    if not outcome.was_run:
        return Verdict.NOT_RUN
    if Flag.SAME_PREDICTIONS in outcome.flags:
        return Verdict.SAME
    if math.isnan(outcome.low):
        return Verdict.NO_VARIANCE if outcome.se == 0 else Verdict.UNKNOWN
    if not outcome.is_judged:
        return Verdict.NOT_JUDGED
    if outcome.low > 0:
        return Verdict.HIGHER
    return Verdict.LOWER if outcome.high < 0 else Verdict.NOT_SHOWN


def corrected(outcome: Outcome) -> Verdict:
    """The verdict on one outcome of many that were looked at: a side of zero is named only if q allows it."""
    word = verdict(outcome)
    sided = word in (Verdict.HIGHER, Verdict.LOWER)
    return Verdict.NOT_SHOWN if sided and not outcome.q <= SIGNIFICANT else word


def points(value: float) -> str:
    """A score or a length, one digit after the point."""
    return ABSENT if math.isnan(value) else f"{value:.1f}"


def signed(value: float) -> str:
    """A difference with its sign (U+2212, which aligns with +); never "0.0" for what lies to one side of 0."""
    if math.isnan(value):
        return ABSENT
    digits = 2 if abs(value) < 0.05 else 1
    return "0.0" if round(value, digits) == 0 else f"{value:+.{digits}f}".replace("-", "−")


def interval(outcome: Outcome) -> str:
    """The 95 % interval, or that there is none."""
    if math.isnan(outcome.difference):
        return ABSENT
    if math.isnan(outcome.low):
        return f"[{Verdict.UNKNOWN}]".replace(" ", NO_BREAK)
    mark = MODELS_ONLY if outcome.scope == "artefact" else ""
    return f"[{signed(outcome.low)},{NO_BREAK}{signed(outcome.high)}]".replace("+", "") + mark


def effect(outcome: Outcome) -> str:
    """A difference and its interval."""
    return f"{signed(outcome.difference)}{NO_BREAK}{interval(outcome)}"


def probability(value: float, name: str = "p") -> str:
    """A p- or q-value as papers print it."""
    if math.isnan(value):
        return ABSENT
    text = f"{name} < .001" if value < 0.001 else f"{name} = {value:.3f}".replace("0.", ".")
    return text.replace(" ", NO_BREAK)


def stars(q: float) -> str:
    """One to three stars for q ≤ .05, .01, .001."""
    return "*" * sum(q <= bound for bound in (0.05, 0.01, 0.001))


def plural(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listing(names: Iterable[str]) -> str:
    """Join names as a sentence does."""
    shown = list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def together(name: str) -> str:
    """An intermediate; of several that are used at once how many, because their names fill a line."""
    count = len(name.split(POOLED))
    return name if count == 1 else f"{count} together"


def spelled(name: str) -> str:
    """An intermediate; of several that are used at once every name."""
    names = name.split(POOLED)
    return listing(names) + (" together" if len(names) > 1 else "")


def composed(outcome: Outcome) -> str:
    """The intermediate of an outcome; both sides' where they differ."""
    ours, theirs = str(outcome.intermediate), str(outcome.reference_intermediate)
    if outcome.contrast != "intermediates":
        return together(ours)
    if POOLED in ours and POOLED in theirs:
        return f"{ours} against {theirs}"
    return f"{together(ours)} against {together(theirs)}"


def quantity(value: float, unit: str = "") -> str:
    """A count or a size with a decimal prefix: 3.4 M, 13.6 MB."""
    if math.isnan(value):
        return ABSENT
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def duration(seconds: float) -> str:
    """A length of time in the unit a reader would choose."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of plain text whose cells stand below each other, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
