"""``analysis/claims.toml`` → claims, with every problem of the file told at once."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xstilts.claims.model import (
    KINDS,
    MEANS,
    PARTS,
    SUITES,
    Claim,
    Hypothesis,
    IntersectionUnion,
    Retention,
    Sentence,
    Side,
    TopK,
)
from xstilts.config import validated
from xstilts.errors import Problem, XstiltsError, fail
from xstilts.study import Study
from xstilts.tasks import load_task, task_names

CLAIM, HYPOTHESIS = "claim", "hypothesis"


@dataclass(frozen=True)
class Claims:
    """The claims of one file about one study.

    Attributes:
        study: name of the study.
        claims: in the order of the file.
        sha256: of the study's claims as canonical JSON: comments, layout and other studies' claims do not change it.
    """

    study: str
    claims: tuple[Claim, ...]
    sha256: str


def load_claims(path: Path, study: Study, others: Iterable[str] = ()) -> Claims:
    """Read the claims about a study, and check the whole file.

    Args:
        path: a TOML file of claims about any studies.
        study: whose claims are wanted; what they name is looked up in it.
        others: names of the other studies that there are; empty = claims may be about any.

    Raises:
        XstiltsError: with every problem of the file, each with the nearest valid name.
    """
    content = _content(path)
    known = {study.name, *others} if others else set()
    claims, problems = _claims(content, path.name, known)
    mine = tuple(claim for claim in claims if claim.study == study.name)
    for claim in mine:
        problems += _claim_problems(claim, study, f"{path.name}: claim {claim.id}")
    problems += _alphas(mine, path.name)
    if problems:
        raise XstiltsError(*problems)
    return Claims(study.name, mine, digest(content, study.name))


def digest(content: Mapping[str, Any], study: str) -> str:
    """sha256 of a file's claims about one study, as canonical JSON."""
    tables = [table for table in content.get(CLAIM, []) if isinstance(table, dict) and table.get("study") == study]
    canonical = json.dumps(tables, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise fail(str(path), "there is no such file of claims that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise fail(path.name, f"not valid TOML: {error}") from error


# ------------------------------------------------------------------------------------------------------ structure


def _claims(content: dict[str, Any], file: str, studies: set[str]) -> tuple[list[Claim], list[Problem]]:
    problems = [Problem(file, "unknown key", name, (CLAIM,)) for name in content if name != CLAIM]
    tables = content.get(CLAIM, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return [], [*problems, Problem(f"{file}: {CLAIM}", f"must be tables, each headed [[{CLAIM}]]")]
    ids = [str(table.get("id")) for table in tables]
    problems += [
        Problem(f"{file}: {CLAIM}.id", "given twice", name) for name in sorted(set(ids)) if ids.count(name) > 1
    ]
    claims = []
    for number, table in enumerate(tables):
        where = f"{file}: claim {table.get('id', number + 1)}"
        try:
            claim = _claim(table, where)
        except XstiltsError as error:
            problems += error.problems
            continue
        if studies and claim.study not in studies:
            problems.append(Problem(f"{where}: study", "unknown study", claim.study, tuple(studies)))
        claims.append(claim)
    return claims, problems


def _claim(table: dict[str, Any], where: str) -> Claim:
    problems: list[Problem] = []
    hypotheses: list[Hypothesis] = []
    given = table.get(HYPOTHESIS)
    if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
        problems.append(Problem(where, f"needs hypotheses, each headed [[{CLAIM}.{HYPOTHESIS}]]"))
        given = []
    for number, each in enumerate(given):
        try:
            hypotheses.append(_hypothesis(each, f"{where}: hypothesis {number + 1}", KINDS))
        except XstiltsError as error:
            problems += error.problems
    try:
        sentence = validated(Sentence, {name: value for name, value in table.items() if name != HYPOTHESIS}, where)
    except XstiltsError as error:
        raise XstiltsError(*error.problems, *problems) from error
    if problems:
        raise XstiltsError(*problems)
    fields = {name: getattr(sentence, name) for name in Sentence.model_fields}
    return Claim.model_validate({**fields, "hypotheses": tuple(hypotheses)})


def _hypothesis(table: dict[str, Any], where: str, kinds: Mapping[str, type[Hypothesis]]) -> Hypothesis:
    """A hypothesis by its kind, so that what is wrong is told in that kind's own words."""
    kind = table.get("kind")
    if kind not in kinds:
        raise fail(f"{where}: kind", "unknown kind" if kind else "is missing", str(kind) if kind else None, kinds)
    model = kinds[str(kind)]
    problems: list[Problem] = []
    if model is IntersectionUnion:
        inner = table.get("each")
        try:
            _hypothesis(inner if isinstance(inner, dict) else {}, f"{where}: each", PARTS)
        except XstiltsError as error:
            problems += error.problems
            table = {**table, "each": {"kind": "superiority", "sesoi": 1.0}}
    try:
        hypothesis = validated(model, table, where)
    except XstiltsError as error:
        raise XstiltsError(*error.problems, *problems) from error
    if problems:
        raise XstiltsError(*problems)
    return hypothesis


# ---------------------------------------------------------------------------------------------------------- names


def _claim_problems(claim: Claim, study: Study, where: str) -> Iterator[Problem]:
    """What does not fit the study, or does not fit together."""
    yield from _side_problems(claim.candidate, study, f"{where}: candidate")
    if claim.reference is not None:
        yield from _side_problems(claim.reference, study, f"{where}: reference")
    suites = [name for name in claim.targets if name in SUITES]
    if suites and len(claim.targets) > 1:
        yield Problem(f"{where}: targets", "a set of targets stands by itself", suites[0])
    yield from _unknown(f"{where}: targets", "not a target of the study", claim.targets, (*study.targets, *SUITES))
    yield from _unknown(f"{where}: languages", "unknown language", (claim.languages,), _languages(claim, study))
    for number, hypothesis in enumerate(claim.hypotheses):
        yield from _hypothesis_problems(claim, hypothesis, study, f"{where}: hypothesis {number + 1}")


def _side_problems(side: Side, study: Study, where: str) -> Iterator[Problem]:
    if side.study not in ("", study.name):
        return
    yield from _unknown(f"{where}: system", "unknown system", (side.system,), [each.name for each in study.system])
    names = _intermediates(study, side.system)
    if names is not None:
        yield from _unknown(f"{where}: intermediates", "not used by this system", side.intermediates, names)
        several = len(side.intermediates or names) > 1
        if side.take != "mean" and not several:
            yield Problem(f"{where}: take", "chooses among several intermediates", side.take)


def _hypothesis_problems(claim: Claim, hypothesis: Hypothesis, study: Study, where: str) -> Iterator[Problem]:
    if claim.reference is None and not isinstance(hypothesis, TopK):
        yield Problem(where, "needs a reference")
    if isinstance(hypothesis, Retention):
        names = (hypothesis.candidate_without, hypothesis.reference_without)
        yield from _unknown(where, "unknown system", names, [each.name for each in study.system])
    elif isinstance(hypothesis, TopK):
        top = claim.candidate.intermediates
        used = _intermediates(study, claim.candidate.system) or ()
        yield from _unknown(f"{where}: among", "not used by the candidate", hypothesis.among, used)
        yield from _unknown(f"{where}: among", "does not hold the claimed top", top, hypothesis.among)
        if hypothesis.k != len(top) or not len(top) < len(set(hypothesis.among)):
            what = "must be the number of the candidate's intermediates, and fewer than they are ranked among"
            yield Problem(f"{where}: k", what, str(hypothesis.k))
    elif isinstance(hypothesis, IntersectionUnion):
        yield from _conjunction_problems(claim, hypothesis, study, where)


def _conjunction_problems(claim: Claim, hypothesis: IntersectionUnion, study: Study, where: str) -> Iterator[Problem]:
    names = claim.candidate.intermediates or _intermediates(study, claim.candidate.system) or ()
    several = {
        "intermediates": len(names) > 1 and claim.candidate.take == "mean",
        "languages": claim.languages in MEANS,
        "targets": len(claim.targets) > 1 or claim.targets[0] in SUITES,
    }
    if not several[hypothesis.over]:
        yield Problem(f"{where}: over", "there are not several of them", hypothesis.over)


def _intermediates(study: Study, system: str) -> tuple[str, ...] | None:
    """Names of a system's intermediates as its cells have them; None for a system that does not exist."""
    found = next((each for each in study.system if each.name == system), None)
    return None if found is None else tuple(name for name in study.used_by(found) if name is not None)


def _languages(claim: Claim, study: Study) -> tuple[str, ...]:
    """What a claim may be about: means, and the codes that every one of its targets has, or any of a set's."""
    is_suite = claim.targets[0] in SUITES
    names = [name for name in (study.targets if is_suite else claim.targets) if name in task_names()]
    each = [set(load_task(name).languages("test")) for name in names] or [set(study.languages)]
    together = set.union(*each) if is_suite else set.intersection(*each)
    return (*MEANS, *sorted(together & set(study.languages) if study.languages else together))


def _alphas(claims: Iterable[Claim], file: str) -> list[Problem]:
    found = sorted({claim.alpha for claim in claims if claim.family == "confirmatory"})
    listed = ", ".join(map(str, found))
    return [Problem(f"{file}: alpha", "one family has one level", listed)] if len(found) > 1 else []


def _unknown(where: str, what: str, names: Iterable[str], allowed: Iterable[str]) -> Iterator[Problem]:
    choices = tuple(allowed)
    yield from (Problem(where, what, name, choices) for name in names if name not in choices)
