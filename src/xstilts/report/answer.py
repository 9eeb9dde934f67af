"""The first screen: what was compared, what came out, how sure that is. Every sentence is made from outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from xstilts.compare import MIN_SEEDS, Flag, Outcome
from xstilts.estimands import ZERO_SHOT
from xstilts.report.findings import Finding, finding
from xstilts.report.view import View
from xstilts.report.words import MODELS_ONLY, listing, plural
from xstilts.schema import Manifest
from xstilts.spec import SOURCE_LANGUAGE

MINI = "mini"
GENERATED = "The text of {} is generated: scores on it tell nothing about natural text."
SMALL = "The backbone is the embedded small one, a few million parameters pre-trained for minutes, and not XLM-R."
MINIATURE = "Together they show how the mechanics work, which proves nothing about XLM-R on XTREME."


class Answer(NamedTuple):
    """The first screen.

    Attributes:
        compared: what was compared.
        result: what came out, a sentence or two for each comparison.
        certainty: how sure that is.
        findings: the result in figures, one per comparison.
        caveat: what must not be concluded; empty where nothing special is to be said.
    """

    compared: str
    result: tuple[str, ...]
    certainty: str
    findings: tuple[Finding, ...]
    caveat: str


def answer(manifest: Manifest, outcomes: tuple[Outcome, ...]) -> Answer:
    """Make the first screen."""
    view = View(manifest, outcomes)
    findings = tuple(finding(view, comparison) for comparison in manifest.study.comparison)
    result = tuple(each.sentence for each in findings) or ("The study declares no comparison.",)
    return Answer(_compared(view), result, " ".join(_certainty(view)), findings, " ".join(_caveats(manifest)))


def _compared(view: View) -> str:
    study = view.manifest.study
    languages = {language for task in view.manifest.tasks.values() for language in task.languages}
    text = f"{plural(len(study.system), 'way')} of training: {listing(system.label for system in study.system)}. "
    translated = study.intermediate_language != SOURCE_LANGUAGE
    labels = "target tasks from English labels only" if translated else "from English labels only"
    text += f"Each learns {labels}, with {plural(len(study.seeds), 'random seed')}, "
    text += f"and is tested on {plural(len(study.targets), 'target task')} in {plural(len(languages), 'language')}. "
    trained = [name for name in study.intermediates if name not in study.module]
    if trained:
        where = f", in translations into {study.intermediate_language}" if translated else ""
        text += f"{plural(len(trained), 'intermediate task')} can be trained before the target{where}. "
    if study.module:
        text += (
            f"{plural(len(study.module), 'module')} {'is' if len(study.module) == 1 else 'are'} taken as published. "
        )
    if view.language == ZERO_SHOT:
        text += (
            "Zero-shot means: in every language but English, "
            "so without one labelled example of the target task in that language."
        )
    return text


def _certainty(view: View) -> Iterator[str]:
    run = [outcome for outcome in view.outcomes if outcome.was_run]
    yield (
        "Brackets are 95 % intervals of a difference in points. They count the luck of the random seeds and of the "
        "test examples together; examples that translate each other or share a text are one draw, not many."
    )
    if any(outcome.scope == "artefact" for outcome in run):
        yield (
            f"Where a system has one seed, the interval ({MODELS_ONLY}) counts only examples and speaks of these "
            "models alone."
        )
    if any(not outcome.is_judged for outcome in run):
        yield f"With fewer than {MIN_SEEDS} seeds differences are shown and not judged."
    flags = {flag for outcome in run for flag in outcome.flags}
    if Flag.ONE_INTERMEDIATE in flags:
        if view.manifest.study.source_seeds == "fixed":
            yield "All seeds build on one training per intermediate task: the luck of that training is not counted."
        if view.manifest.study.module:
            yield "Where a published module is used, all seeds build on it: the luck of its training is not counted."
    if flags & {Flag.COLLAPSED, Flag.DIVERGED}:
        yield "Some trainings collapsed or diverged; they are counted like all others and listed below."
    missing = len(view.outcomes) - len(run)
    if missing:
        yield f"{missing} of {len(view.outcomes)} differences could not be formed, because cells were not run."


def _caveats(manifest: Manifest) -> Iterator[str]:
    targets = manifest.study.targets
    generated = [name for name in targets if manifest.tasks[name].generated]
    if generated:
        yield GENERATED.format(listing(generated) if len(generated) < len(targets) else "all target tasks")
    if manifest.backbone.name == MINI:
        yield SMALL
        if len(generated) == len(targets):
            yield MINIATURE
