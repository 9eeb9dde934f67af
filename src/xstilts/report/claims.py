"""The verdicts on the claims that were stated before the runs, as the first thing a report shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from xstilts.claims import Judged, Part, Registration, Status, Verdict, evaluate, load_claims, registration
from xstilts.claims.model import (
    Equivalence,
    IntersectionUnion,
    Magnitude,
    MinimalEffect,
    NonInferiority,
    Retention,
    Superiority,
    TopK,
)
from xstilts.report.tables import Cell, Row, Table, Tone
from xstilts.report.words import ABSENT, NO_BREAK, listing, points, probability, signed
from xstilts.results import Results

HASH_SHOWN = 12  # hexadecimal digits
COLUMNS = ("verdict", "asked", "difference", "smallest detectable", "p", "seeds")
CAPTION = (
    "A verdict follows from the interval and the effect that was set in advance, never from the observed effect alone. "
    "Confirmatory claims are corrected for their number (Holm); exploratory ones are marked. Underpowered: at this "
    "noise, the effect that was asked for would be found in fewer than four of five such studies. Brackets: the "
    "interval that decides. Seeds: the fewest of a side."
)
REGISTERED = {
    Status.BEFORE: "They were committed before the first result.",
    Status.AFTER: "They were edited after the first result: verdicts on them are no tests.",
    Status.NO_RESULT: "There is no result yet.",
    Status.NO_GIT: "They are not under version control: nothing tells whether they were stated before the results.",
}


class Claimed(NamedTuple):
    """The claims of a study and what became of them.

    Attributes:
        summary: how many hypotheses have which verdict.
        registered: whether the claims were there before the results.
        table: one row for each hypothesis.
    """

    summary: str
    registered: str
    table: Table


def claimed(results: Results, file: Path | None, store: Path) -> Claimed | None:
    """Judge the claims about a study; None where there are none.

    Args:
        results: of the study.
        file: of claims about any studies; None, or a file that is not there, = no claims.
        store: root of the store.

    Raises:
        XstiltsError: the file is wrong, or names what the study does not have.
    """
    if file is None or not file.is_file():
        return None
    claims = load_claims(file, results.manifest.study)
    if not claims.claims:
        return None
    judged = evaluate(results, claims)
    counts = {verdict: sum(each.verdict is verdict for each in judged) for verdict in Verdict}
    told = listing(f"{number} {verdict}" for verdict, number in counts.items() if number)
    count = len(judged)
    summary = f"Of {count} {'hypothesis' if count == 1 else 'hypotheses'}: {told}."
    rows = tuple(_row(each) for each in judged)
    return Claimed(
        summary,
        _registered(file, registration(file, claims.sha256, results, store)),
        Table("Claims", COLUMNS, rows, CAPTION, "claim"),
    )


def _registered(file: Path, found: Registration) -> str:
    where = f"{file.name}, sha256 {found.sha256[:HASH_SHOWN]}"
    commit = f", commit {found.commit[:HASH_SHOWN]} of {found.committed}" if found.commit else ""
    return f"{REGISTERED[found.status]} ({where}{commit})"


def _row(judged: Judged) -> Row:
    part = judged.decisive
    exploratory = " (exploratory)" if judged.claim.family == "exploratory" else ""
    reason = str(judged.reason)
    settle = ""
    if part is not None and part.seeds_needed is not None:
        settle = f"{part.seeds_needed} seeds would do"
    detail = "; ".join(filter(None, [reason, settle, *judged.details[:2]]))
    cells = (
        Cell(judged.verdict, _tone(judged.verdict), detail=detail),
        Cell(asked(judged)),
        Cell(_difference(part), detail=_counted(judged)),
        Cell(ABSENT if part is None else points(part.mde)),
        Cell(_p(judged)),
        Cell(ABSENT if part is None or part.seeds is None else str(part.seeds)),
    )
    return Row(f"{judged.claim.text}{exploratory}", cells)


def _tone(verdict: Verdict) -> Tone:
    if verdict.is_support:
        return "up"
    return "down" if verdict is Verdict.REFUTED else "none"


def _difference(part: Part | None) -> str:
    if part is None or math.isnan(part.estimate):
        return ABSENT
    ends = f"[{signed(part.low)},{NO_BREAK}{signed(part.high)}]".replace("+", "")
    return f"{signed(part.estimate)}{NO_BREAK}{ends}"


def _counted(judged: Judged) -> str:
    """What else is told of a conjunction, or of a choice."""
    if judged.count is not None:
        return f"in at least {judged.count.at_least} of {judged.count.of}"
    return "" if judged.best is None else f"chosen on test it would be {signed(judged.best.naive)}"


def _p(judged: Judged) -> str:
    shown = judged.p if math.isnan(judged.p_corrected) else judged.p_corrected
    return probability(shown)


def asked(judged: Judged) -> str:
    """What a hypothesis asks of the data, in a few words."""
    return _asked(judged.hypothesis)


def _asked(hypothesis: object) -> str:
    match hypothesis:
        case Superiority(sesoi=sesoi):
            return f"> 0, by {sesoi:g} to matter"
        case NonInferiority(margin=margin):
            return f"> −{margin:g}"
        case Equivalence(margin=margin, side="no gain"):
            return f"< {margin:g}"
        case Equivalence(margin=margin):
            return f"within ±{margin:g}"
        case Magnitude(value=value, tolerance=tolerance):
            return f"{signed(value)} ± {tolerance:g}"
        case MinimalEffect(bound=bound):
            return f"> {bound:g}"
        case TopK(k=k, among=among):
            return f"among the first {k} of {len(among)}"
        case Retention(share=share):
            return f"at least {share:.0%} of the other gain"
        case IntersectionUnion(over=over, each=each):
            return f"{_asked(each)}, in each of its {over}"
        case _:
            raise AssertionError(f"{hypothesis} has no words")
