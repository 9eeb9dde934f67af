"""What became of a hypothesis, with everything that is said of it: a report says nothing that is not in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from xstilts.claims.evidence import Choices
from xstilts.claims.model import Claim, Hypothesis, Simple
from xstilts.claims.verdicts import Reason, Verdict
from xstilts.compare import Flag
from xstilts.significance.two_way import Scope


@dataclass(frozen=True, slots=True)
class Part:
    """One contrast that a hypothesis rests on. Points; NaN where nothing can be said.

    Attributes:
        label: what it is about: the claim as a whole, an intermediate, a language, a pair.
        hypothesis: what has to hold for it.
        estimate: candidate − reference, or the contrast.
        low: lower end of the interval that decides.
        high: upper end.
        level: confidence of that interval: 1 − α, of equivalence 1 − 2α.
        p: of "the hypothesis does not hold"; support asks for p ≤ α.
        preset: the effect that power is judged by: SESOI, margin, tolerance or bound.
        mde: smallest difference that is found with 80 % probability at the noise seen.
        seeds_needed: where it is underpowered, seeds per system with which the preset effect would be found; None if
            no number will do.
        candidate_seeds: independent trainings of the candidate; 0 where nothing is trained.
        reference_seeds: the same of the reference.
        examples: test examples, those of all languages counted.
        scope: ``artefact`` where a side has one seed.
        shared: whether replicates of the two sides build on the same trainings, or are declared as paired.
        flags: what a reader must know beyond the numbers.
        missing: planned cells that were not run, in words.
        verdict: of this part by itself, not corrected for the number of claims.
        reason: why it is no firmer.
    """

    label: str
    hypothesis: Simple
    estimate: float
    low: float
    high: float
    level: float
    p: float
    df: float
    se: float
    se_examples: float
    se_seeds: float
    preset: float
    mde: float
    seeds_needed: int | None
    candidate_seeds: int
    reference_seeds: int
    examples: int
    clusters: int
    scope: Scope
    shared: bool
    flags: tuple[Flag, ...]
    missing: tuple[str, ...]
    verdict: Verdict
    reason: Reason

    @property
    def seeds(self) -> int | None:
        """The fewest seeds of a side that is trained; None where neither is."""
        return min((count for count in (self.candidate_seeds, self.reference_seeds) if count), default=None)


class Best(NamedTuple):
    """What was chosen among several intermediates, and what choosing on the test set would have claimed.

    Attributes:
        candidate: target → seed → intermediate of the candidate; None where it does not choose.
        reference: the same of the reference.
        naive: the estimate with every choice made on test scores, in points: too good by its selection.
    """

    candidate: Choices | None
    reference: Choices | None
    naive: float


class Count(NamedTuple):
    """In how many parts of a conjunction the hypothesis is shown (Dror et al. 2017, TACL 5:471).

    Attributes:
        at_least: with confidence 1 − α it holds in at least so many.
        of: number of parts.
        named: labels of those in which it is shown (Holm).
    """

    at_least: int
    of: int
    named: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A hypothesis with its verdict, and everything that is said of it.

    Attributes:
        claim: that it belongs to.
        hypothesis: as declared.
        verdict: of the hypothesis.
        reason: why it is no firmer.
        details: what is missing, one by one.
        parts: the contrasts it rests on; none where it was not tested.
        decisive: the part with the largest p, whose numbers stand for the hypothesis; of retention the contrast.
        p: of the hypothesis: the largest of its parts.
        p_corrected: after Holm over the confirmatory hypotheses of the study; NaN in the exploratory family.
        family_size: number of hypotheses that it was corrected for; what was declared and not tested counts.
        count: of a conjunction, in how many parts it holds.
        best: of a side that takes the best.
        sha256: of the study's claims.
    """

    claim: Claim
    hypothesis: Hypothesis
    verdict: Verdict
    reason: Reason
    details: tuple[str, ...]
    parts: tuple[Part, ...]
    decisive: Part | None
    p: float
    p_corrected: float
    family_size: int
    count: Count | None
    best: Best | None
    sha256: str

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Flags of all its parts."""
        found = {flag for part in self.parts for flag in part.flags}
        return tuple(flag for flag in Flag if flag in found)
