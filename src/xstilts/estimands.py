"""What a study's comparisons are about: weighted means of cells (target, language), and which intermediates meet.

One language, the mean over a target's languages, and the mean over targets of those means; the means once over all
languages and once over the zero-shot ones, which have no labelled training data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from xstilts.schema import Manifest
from xstilts.spec import RETRIEVAL_FORMATS, SOURCE_LANGUAGE
from xstilts.study import Comparison, Study

ALL = "all"
ZERO_SHOT = "zero-shot"
WITHOUT_RETRIEVAL = "targets without retrieval"
ALL_TARGETS = "all targets"

Languages = Mapping[str, tuple[str, ...]]  # target → languages


class Estimand(NamedTuple):
    """A weighted mean of cells.

    Attributes:
        target: name of the target, or ``targets without retrieval`` / ``all targets``.
        language: a code, ``all`` or ``zero-shot``.
        weights: (target, language) → weight; they sum to 1.
    """

    target: str
    language: str
    weights: dict[tuple[str, str], float]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that take part, in order."""
        return tuple(dict.fromkeys(target for target, _ in self.weights))


def estimands(manifest: Manifest) -> Iterator[Estimand]:
    """Every mean that is compared: languages, then a target's means, then means over targets."""
    spoken = {target: manifest.tasks[target].languages for target in manifest.study.targets}
    foreign = {target: tuple(code for code in codes if code != SOURCE_LANGUAGE) for target, codes in spoken.items()}
    for target, codes in spoken.items():
        yield from (Estimand(target, code, {(target, code): 1.0}) for code in codes)
        yield from _macro(target, (target,), spoken, foreign)
    for name, targets in suite_targets(manifest).items():
        yield from _macro(name, targets, spoken, foreign)


def primary(manifest: Manifest) -> Estimand:
    """The mean over targets that a report speaks of first: without retrieval and zero-shot, where there is one."""
    found = {(each.target, each.language): each for each in estimands(manifest)}
    wanted = itertools.product((WITHOUT_RETRIEVAL, ALL_TARGETS), (ZERO_SHOT, ALL))
    return next(found[name] for name in wanted if name in found)


def suite_targets(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """The sets of targets that are averaged over: without retrieval, and all of them where that is another set."""
    targets = manifest.study.targets
    others = tuple(target for target in targets if manifest.tasks[target].format not in RETRIEVAL_FORMATS)
    sets = {WITHOUT_RETRIEVAL: others, ALL_TARGETS: targets}
    return {name: each for name, each in sets.items() if each and (name == WITHOUT_RETRIEVAL or each != others)}


def _macro(name: str, targets: tuple[str, ...], spoken: Languages, foreign: Languages) -> Iterator[Estimand]:
    """The mean over targets of the mean over languages: once over all languages, once over the zero-shot ones."""
    for label, languages in ((ALL, spoken), (ZERO_SHOT, foreign)):
        present = [target for target in targets if languages[target]]
        weights = {
            (target, code): 1.0 / (len(present) * len(languages[target]))
            for target in present
            for code in languages[target]
        }
        if weights:
            yield Estimand(name, label, weights)


class Pair(NamedTuple):
    """Intermediate of the candidate and of the reference."""

    candidate: str | None
    reference: str | None


def pairs(study: Study, comparison: Comparison) -> tuple[Pair, ...]:
    """Which intermediates of two systems meet: those that both have, or else all of the one with all of the other."""
    systems = {system.name: system for system in study.system}
    ours, theirs = (study.used_by(systems[name]) for name in (comparison.candidate, comparison.reference))
    common = tuple(Pair(name, name) for name in ours if name in theirs)
    return common or tuple(itertools.starmap(Pair, itertools.product(ours, theirs)))
