"""A claim as ``analysis/claims.toml`` spells it: a sentence, what it is about, and the hypotheses that decide it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xstilts.estimands import ALL, ALL_TARGETS, WITHOUT_RETRIEVAL, ZERO_SHOT
from xstilts.spec import Value

Over = Literal["intermediates", "languages", "targets"]
Take = Literal["mean", "best", "best_per_target"]
SUITES = (WITHOUT_RETRIEVAL, ALL_TARGETS)
MEANS = (ALL, ZERO_SHOT)


class Side(Value):
    """One side of a claim.

    Attributes:
        system: of the study.
        intermediates: those of the system's that are meant; empty = all of them, or none if it has none.
        take: of several intermediates their ``mean``; or the ``best`` one, or the best one for each target, which is
            chosen on dev scores of the *other* seeds and scored on the test set: see ``choice``.
        study: another study that this side is taken from, such as one trained on translations; empty = the claim's.
    """

    system: str
    intermediates: tuple[str, ...] = ()
    take: Take = "mean"
    study: str = ""


class Seeds(Value):
    """What a verdict needs.

    Attributes:
        min: seeds of each side that is trained.
        pairing: ``paired`` if replicates share a random object that no artefact tells of; what they share as artefacts
            (an intermediate training) is detected either way.
    """

    min: int = Field(default=3, ge=3)
    pairing: Literal["paired", "unpaired"] = "unpaired"


class Superiority(Value):
    """The difference is above 0. ``sesoi``: smallest effect of interest, in points."""

    kind: Literal["superiority"] = "superiority"
    sesoi: float = Field(gt=0)


class NonInferiority(Value):
    """The difference is above −``margin`` points."""

    kind: Literal["non_inferiority"] = "non_inferiority"
    margin: float = Field(gt=0)


class Equivalence(Value):
    """The difference is within ±``margin`` points; with ``side = "no gain"`` it only is not above it."""

    kind: Literal["equivalence"] = "equivalence"
    margin: float = Field(gt=0)
    side: Literal["both", "no gain"] = "both"


class Magnitude(Value):
    """The difference is ``value`` ± ``tolerance`` points."""

    kind: Literal["magnitude"] = "magnitude"
    value: float
    tolerance: float = Field(gt=0)


class MinimalEffect(Value):
    """The difference is above ``bound`` points, which is what "dramatic" means."""

    kind: Literal["minimal_effect"] = "minimal_effect"
    bound: float = Field(gt=0)


class Ahead(Value):
    """What ranks and retention come down to: above 0 supports, below 0 refutes; power is judged by ``sesoi``."""

    kind: Literal["ahead"] = "ahead"
    sesoi: float


Part = Superiority | NonInferiority | Equivalence | MinimalEffect
Simple = Part | Magnitude | Ahead


class TopK(Value):
    """The candidate's intermediates are the best ``k``: each beats each of the others ``among`` which they are ranked.

    Attributes:
        sesoi: smallest difference between ranks that would matter, in points.
    """

    kind: Literal["top_k"] = "top_k"
    k: int = Field(ge=1)
    among: tuple[str, ...] = Field(min_length=2)
    sesoi: float = Field(gt=0)


class Retention(Value):
    """The candidate keeps ``share`` of the reference's gain: gain − share × the reference's gain is above 0.

    That is linear in the four scores, so no ratio of noisy gains is taken (Fieller). The claim presupposes that the
    reference gains at all, which has to be shown, too.

    Attributes:
        candidate_without: the system that the candidate's gain is counted from.
        reference_without: the same of the reference.
        sesoi: smallest contrast of interest, in points.
    """

    kind: Literal["retention"] = "retention"
    share: float = Field(gt=0, lt=1)
    candidate_without: str
    reference_without: str
    sesoi: float = Field(gt=0)


class IntersectionUnion(Value):
    """``each`` holds for every intermediate, language or target; and for how many of them it is shown to hold.

    All of several hypotheses hold if each is shown, at the full level: the largest p decides (Berger 1982).
    """

    kind: Literal["intersection_union"] = "intersection_union"
    over: Over
    each: Part = Field(discriminator="kind")


Hypothesis = Part | Magnitude | TopK | Retention | IntersectionUnion
PARTS: dict[str, type[Hypothesis]] = {
    "superiority": Superiority,
    "non_inferiority": NonInferiority,
    "equivalence": Equivalence,
    "minimal_effect": MinimalEffect,
}
KINDS: dict[str, type[Hypothesis]] = PARTS | {
    "magnitude": Magnitude,
    "top_k": TopK,
    "retention": Retention,
    "intersection_union": IntersectionUnion,
}


class Sentence(Value):
    """A claim without its hypotheses.

    Attributes:
        id: short name.
        text: the sentence as one would say it.
        study: what it is tested in.
        candidate: the side whose advantage is claimed.
        reference: what it is compared with; a claim about ranks alone has none.
        targets: names of targets, or one set that the report averages over: ``all targets`` or ``targets without
            retrieval``. Several are averaged.
        languages: ``all``, ``zero-shot`` or a code.
        alpha: two-sided level; equivalence is tested by two one-sided tests of this level.
        family: what is ``confirmatory`` is corrected for the number of confirmatory hypotheses of the study.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    text: str = Field(min_length=1)
    study: str
    candidate: Side
    reference: Side | None = None
    targets: tuple[str, ...] = Field(min_length=1)
    languages: str = ZERO_SHOT
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    family: Literal["confirmatory", "exploratory"]
    correction: Literal["holm"] = "holm"
    seeds: Seeds = Seeds()

    @model_validator(mode="after")
    def _takes_the_best_of_several(self) -> Sentence:
        for side in (self.candidate, self.reference):
            if side is not None and side.take != "mean" and len(side.intermediates) == 1:
                raise ValueError(f"take = {side.take!r} chooses among several intermediates")
        return self


class Claim(Sentence):
    """A claim."""

    hypotheses: tuple[Hypothesis, ...] = Field(min_length=1)
