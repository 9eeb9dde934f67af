"""Claims → verdicts: each hypothesis becomes one or several parts, which are measured, corrected and judged.

A conjunction (ranks, "for every language") is supported if each part is, at the full level: its largest p decides
(Berger 1982, Technometrics 24:295). It is refuted if a part is, by intervals that hold for all parts at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xstilts.claims.evidence import Absent, Evidence, Lane, Measured, about
from xstilts.claims.judged import Best, Count, Judged, Part
from xstilts.claims.load import Claims
from xstilts.claims.model import Ahead, Claim, Hypothesis, IntersectionUnion, Retention, Side, Simple, TopK
from xstilts.claims.verdicts import Reason, Verdict, detectable, judge, level, limits, p_value, preset, seeds_needed
from xstilts.errors import fail
from xstilts.estimands import Estimand
from xstilts.results import Results
from xstilts.significance.multiplicity import holm
from xstilts.significance.partial_conjunction import partial_conjunction


def evaluate(results: Results, claims: Claims, others: Mapping[str, Results] | None = None) -> tuple[Judged, ...]:
    """Judge every hypothesis of a study's claims, in the order of the file.

    Args:
        results: of the study.
        claims: about it.
        others: name → results of other studies that claims name; what names one that is not there is not tested.

    Raises:
        XstiltsError: claims about another study, or studies that were not scored on the same examples.
    """
    study = results.manifest.study.name
    if claims.study != study:
        raise fail("claims", "are about another study", claims.study, [study])
    evidence = Evidence(results, others or {})
    drafts = [_draft(evidence, claim, each) for claim in claims.claims for each in claim.hypotheses]
    family = [draft for draft in drafts if draft.claim.family == "confirmatory"]
    adjusted = holm([1.0 if math.isnan(draft.p) else draft.p for draft in family]) if family else ()
    corrected = {id(draft): float(p) for draft, p in zip(family, adjusted, strict=True)}
    return tuple(_judged(draft, corrected.get(id(draft), math.nan), len(family), claims.sha256) for draft in drafts)


# --------------------------------------------------------------------------------------------------------- drafts


@dataclass(frozen=True)
class _Draft:
    """A hypothesis, measured and not yet corrected."""

    claim: Claim
    hypothesis: Hypothesis
    parts: tuple[Part, ...]
    absent: Absent | None = None
    best: Best | None = None

    @property
    def p(self) -> float:
        """The largest of its parts'; NaN where it is not judged, or one of them cannot be."""
        values = [] if self.absent else [part.p for part in self.parts]
        return max(values) if values and not any(map(math.isnan, values)) else math.nan


class _Wanted(NamedTuple):
    """A part before it is measured: signed sides, on an estimand."""

    label: str
    hypothesis: Simple
    sides: tuple[tuple[float, Side], ...]
    on: Estimand | None


def _draft(evidence: Evidence, claim: Claim, hypothesis: Hypothesis) -> _Draft:
    elsewhere = [side.study for side in (claim.candidate, claim.reference) if side and not evidence.has(side)]
    if elsewhere:
        return _Draft(claim, hypothesis, (), Absent(Reason.NO_STUDY, tuple(elsewhere)))
    parts: list[Part] = []
    absent: list[Absent] = []
    wanted = _wanted(evidence, claim, hypothesis)
    number = 1 if isinstance(hypothesis, Retention) else len(wanted)
    for each in wanted:
        measured = _measured(evidence, claim, each)
        if isinstance(measured, Absent):
            absent.append(measured)
        else:
            parts.append(_part(each, measured, claim, number))
    if absent:
        details = tuple(dict.fromkeys(detail for each in absent for detail in each.details))
        return _Draft(claim, hypothesis, (), Absent(absent[0].reason, details))
    return _Draft(claim, hypothesis, tuple(parts), _too_few(claim, parts), _best(evidence, claim, wanted))


def _wanted(evidence: Evidence, claim: Claim, hypothesis: Hypothesis) -> list[_Wanted]:
    """The parts that a hypothesis consists of."""
    on = about(evidence.manifest, claim.targets, claim.languages)
    ours = claim.candidate
    if isinstance(hypothesis, TopK):
        ahead = Ahead(sesoi=hypothesis.sesoi)
        others = [name for name in hypothesis.among if name not in ours.intermediates]
        return [
            _Wanted(f"{one} − {other}", ahead, ((1.0, _one(ours, one)), (-1.0, _one(ours, other))), on)
            for one, other in itertools.product(ours.intermediates, others)
        ]
    assert claim.reference is not None  # load_claims refuses it
    theirs = claim.reference
    if isinstance(hypothesis, Retention):
        ahead, share = Ahead(sesoi=hypothesis.sesoi), hypothesis.share
        before = Side(system=hypothesis.candidate_without, study=ours.study)
        other = Side(system=hypothesis.reference_without, study=theirs.study)
        kept = ((1.0, ours), (-1.0, before), (-share, theirs), (share, other))
        gain = ((1.0, theirs), (-1.0, other))
        label = f"gain − {share:g} × gain of the reference"
        return [_Wanted(label, ahead, kept, on), _Wanted("gain of the reference", ahead, gain, on)]
    if isinstance(hypothesis, IntersectionUnion):
        return _conjunction(evidence, claim, theirs, hypothesis)
    return [_Wanted("", hypothesis, ((1.0, ours), (-1.0, theirs)), on)]


def _conjunction(evidence: Evidence, claim: Claim, theirs: Side, hypothesis: IntersectionUnion) -> list[_Wanted]:
    """One part for each intermediate, language or target."""
    ours, manifest = claim.candidate, evidence.manifest
    on = about(manifest, claim.targets, claim.languages)
    if on is None:
        return [_Wanted("", hypothesis.each, (), None)]
    if hypothesis.over == "intermediates":
        names = [name for name in evidence.names(ours) if name is not None]
        alike = tuple(names) == tuple(evidence.names(theirs))  # both sides after the same ones: one with one
        pairs = {name: (_one(ours, name), _one(theirs, name) if alike else theirs) for name in names}
        return [_Wanted(name, hypothesis.each, ((1.0, a), (-1.0, b)), on) for name, (a, b) in pairs.items()]
    sides = ((1.0, ours), (-1.0, theirs))
    if hypothesis.over == "targets":
        single = {name: about(manifest, (name,), claim.languages) for name in on.targets}
        return [_Wanted(name, hypothesis.each, sides, each) for name, each in single.items()]
    codes = dict.fromkeys(code for _, code in on.weights)
    spoken = {code: [target for target, each in on.weights if each == code] for code in codes}
    return [_Wanted(code, hypothesis.each, sides, about(manifest, targets, code)) for code, targets in spoken.items()]


def _one(side: Side, name: str) -> Side:
    return side.model_copy(update={"intermediates": (name,), "take": "mean"})


def _measured(evidence: Evidence, claim: Claim, wanted: _Wanted) -> Measured | Absent:
    if wanted.on is None:
        return Absent(Reason.NO_LANGUAGE, (claim.languages,))
    lanes: list[Lane] = []
    for weight, side in wanted.sides:
        found = evidence.lanes(side, weight, wanted.on)
        if isinstance(found, Absent):
            return found
        lanes += found
    return evidence.measure(lanes, wanted.on, claim.seeds.pairing == "paired")


def _part(wanted: _Wanted, measured: Measured, claim: Claim, number: int) -> Part:
    """Judge one part; where it is one of several, it is refuted only by an interval that holds for all at once."""
    found, hypothesis = measured.found, wanted.hypothesis
    confidence = level(hypothesis, claim.alpha)
    mde = detectable(hypothesis, found, claim.alpha)
    verdict, reason = judge(hypothesis, limits(found, confidence), mde)
    if verdict == Verdict.REFUTED and number > 1:
        wider = limits(found, 1 - (1 - confidence) / number)
        verdict, reason = judge(hypothesis, wider, mde)
    interval = found.interval
    low, high = limits(found, confidence)
    return Part(
        label=wanted.label,
        hypothesis=hypothesis,
        estimate=interval.difference,
        low=low,
        high=high,
        level=confidence,
        p=p_value(hypothesis, found),
        df=interval.df,
        se=interval.se,
        se_examples=interval.se_examples,
        se_seeds=interval.se_seeds,
        preset=preset(hypothesis),
        mde=mde,
        seeds_needed=seeds_needed(hypothesis, found, claim.alpha) if reason == Reason.UNDERPOWERED else None,
        candidate_seeds=measured.candidate_seeds,
        reference_seeds=measured.reference_seeds,
        examples=measured.examples,
        clusters=interval.clusters,
        scope=interval.scope,
        shared=found.shared,
        flags=measured.flags,
        missing=measured.missing,
        verdict=verdict,
        reason=reason,
    )


def _too_few(claim: Claim, parts: Sequence[Part]) -> Absent | None:
    """Whether there are too few seeds for a verdict; a side without training needs none."""
    fewest = min((part.seeds for part in parts if part.seeds is not None), default=claim.seeds.min)
    if fewest == 1 or any(part.scope == "artefact" for part in parts):
        return Absent(Reason.ONE_SEED)
    missing = dict.fromkeys(cell for part in parts for cell in part.missing)
    return Absent(Reason.FEW_SEEDS, tuple(missing)) if fewest < claim.seeds.min else None


def _best(evidence: Evidence, claim: Claim, wanted: Sequence[_Wanted]) -> Best | None:
    """What was chosen, for a hypothesis of one part."""
    first = wanted[0]
    choosing = [side for _, side in first.sides if side.take != "mean"]
    if not choosing or len(wanted) > 1 or first.on is None:
        return None
    lanes: list[Lane] = []
    for weight, side in first.sides:
        found = evidence.naive(side, weight, first.on) if side in choosing else evidence.lanes(side, weight, first.on)
        lanes += () if isinstance(found, Absent) else found
    naive = evidence.measure(lanes, first.on, claim.seeds.pairing == "paired")
    chosen = [evidence.choices(side, first.on) if side in choosing else None for _, side in first.sides]
    return Best(chosen[0], chosen[1], math.nan if isinstance(naive, Absent) else naive.found.interval.difference)


# ------------------------------------------------------------------------------------------------------- verdicts


def _judged(draft: _Draft, corrected: float, size: int, sha256: str) -> Judged:
    claim, parts = draft.claim, draft.parts
    verdict, reason = _verdict(draft, math.isnan(corrected) or corrected <= claim.alpha)
    count = None
    if isinstance(draft.hypothesis, IntersectionUnion) and parts and not draft.absent:
        shown = partial_conjunction([part.p for part in parts], claim.alpha)
        count = Count(len(shown.named), len(parts), tuple(parts[place].label for place in shown.named))
    missing = tuple(dict.fromkeys(cell for part in parts for cell in part.missing))
    confirmatory = claim.family == "confirmatory"
    return Judged(
        claim=claim,
        hypothesis=draft.hypothesis,
        verdict=verdict,
        reason=reason,
        details=draft.absent.details if draft.absent else missing,
        parts=parts,
        decisive=_decisive(draft),
        p=draft.p,
        p_corrected=corrected,
        family_size=size if confirmatory else 0,
        count=count,
        best=draft.best,
        sha256=sha256,
    )


def _verdict(draft: _Draft, survives: bool) -> tuple[Verdict, Reason]:
    if draft.absent:
        is_artefact = draft.absent.reason == Reason.ONE_SEED
        return Verdict.ARTEFACT if is_artefact else Verdict.NOT_TESTED, draft.absent.reason
    if isinstance(draft.hypothesis, Retention):
        kept, gain = draft.parts
        if not gain.verdict.is_support and kept.verdict in (Verdict.SUPPORTED, Verdict.REFUTED):
            return Verdict.INCONCLUSIVE, Reason.NO_GAIN
        return _survived(kept.verdict, kept.reason, survives)
    verdicts = [part.verdict for part in draft.parts]
    if all(each.is_support for each in verdicts):
        weakest = next(each for each in (Verdict.SMALL, Verdict.SUPPORTED, Verdict.RELEVANT) if each in verdicts)
        return _survived(weakest, Reason.NONE, survives)
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED, Reason.NONE
    open_parts = [part for part in draft.parts if not part.verdict.is_support]
    reasons = [part.reason for part in open_parts]
    reason = next(each for each in (Reason.NO_VARIANCE, Reason.UNDERPOWERED, Reason.NEAR) if each in reasons)
    return open_parts[0].verdict if len(draft.parts) == 1 else Verdict.INCONCLUSIVE, reason


def _survived(verdict: Verdict, reason: Reason, survives: bool) -> tuple[Verdict, Reason]:
    if verdict.is_support and not survives:
        return Verdict.INCONCLUSIVE, Reason.CORRECTED
    return verdict, reason


def _decisive(draft: _Draft) -> Part | None:
    """The part whose numbers stand for the hypothesis."""
    if not draft.parts or isinstance(draft.hypothesis, Retention):
        return draft.parts[0] if draft.parts else None
    return max(draft.parts, key=lambda part: 1.0 if math.isnan(part.p) else part.p)
