"""The outcomes of a study, looked up by what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from xstilts.compare import Outcome
from xstilts.estimands import ALL, ALL_TARGETS, WITHOUT_RETRIEVAL, ZERO_SHOT
from xstilts.report.words import plural
from xstilts.schema import Manifest
from xstilts.spec import RETRIEVAL_FORMATS
from xstilts.study import Comparison


@dataclass(frozen=True)
class View:
    """Outcomes by comparison, target and language; and the estimand that the report speaks of first."""

    manifest: Manifest
    outcomes: tuple[Outcome, ...]

    def of(self, comparison: Comparison, target: str | None = None, language: str | None = None) -> list[Outcome]:
        """Outcomes of a comparison, one per intermediate task, on the main estimand unless another is named."""
        return self._index.get((comparison.name, target or self.suite, language or self.language), [])

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], list[Outcome]]:
        index: dict[tuple[str, str, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            index.setdefault((outcome.comparison, outcome.target, outcome.language), []).append(outcome)
        return index

    @property
    def suites(self) -> tuple[str, ...]:
        """The means over targets that the study has."""
        names = {outcome.target for outcome in self.outcomes}
        return tuple(name for name in (WITHOUT_RETRIEVAL, ALL_TARGETS) if name in names)

    @property
    def suite(self) -> str:
        """The mean over targets that the report speaks of first."""
        return WITHOUT_RETRIEVAL if self._without_retrieval else ALL_TARGETS

    @cached_property
    def language(self) -> str:
        """The mean over languages that the report speaks of first."""
        return ZERO_SHOT if any(outcome.language == ZERO_SHOT for outcome in self.outcomes) else ALL

    @property
    def _without_retrieval(self) -> list[str]:
        return [name for name in self.manifest.tasks if not self.is_retrieval(name)]

    def title(self, comparison: Comparison) -> str:
        """What a comparison subtracts from what."""
        return f"{self.label(comparison.candidate)} − {self.label(comparison.reference)}"

    def is_gain(self, comparison: Comparison) -> bool:
        """Whether the systems differ in nothing but that the candidate has intermediates, and what joins them."""
        systems = {system.name: system for system in self.manifest.study.system}
        ours, theirs = systems[comparison.candidate], systems[comparison.reference]
        alike = all(getattr(ours, name) == getattr(theirs, name) for name in ("adapter", "mode", "language_modules"))
        trains_its_own = ours.start != "fuse" or ours.fusing.on_top
        return alike and trains_its_own and ours.start != "cold" and theirs.start == "cold"

    def label(self, system: str) -> str:
        """How the study calls a system."""
        return next(each.label for each in self.manifest.study.system if each.name == system)

    def is_retrieval(self, target: str) -> bool:
        """Whether a target searches for sentences, which scores on a scale of its own."""
        return self.manifest.tasks[target].format in RETRIEVAL_FORMATS

    def averaged(self) -> str:
        """The main estimand in words."""
        shown = self._without_retrieval or list(self.manifest.tasks)
        count = plural(len(shown), "target")
        rest = " (retrieval apart)" if len(shown) < len(self.manifest.tasks) else ""
        return f"averaged over {count}{rest} and their {self.languages()}"

    def languages(self) -> str:
        """The main mean over languages in words."""
        return "zero-shot languages" if self.language == ZERO_SHOT else "languages"
