"""The first screen: what was compared, what came out, how sure that is. Every sentence is made from outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from xstilts.compare import Flag, Outcome
from xstilts.estimands import ZERO_SHOT
from xstilts.report.view import View
from xstilts.report.words import Verdict, effect, interval, listing, plural, points, probability, signed, verdict
from xstilts.schema import Manifest
from xstilts.spec import Comparison

MIN_SEEDS = 3  # below it an interval is honest, but too wide to hang a verdict on
SIGNIFICANT = 0.05  # of q
SHOWN = 3  # gains that are spelled out
NOT_JUDGED = "not judged"
MINI = "mini"
CAVEAT = (
    "This is the embedded miniature: generated text, a few million parameters, minutes of training. It shows how the "
    "mechanics work and proves nothing about XLM-R on XTREME."
)
TONES: dict[str, Literal["up", "down"]] = {Verdict.HIGHER: "up", Verdict.LOWER: "down"}


class Finding(NamedTuple):
    """What one comparison showed.

    Attributes:
        title: what was subtracted from what.
        verdict: one or two words.
        sentence: the result, as it would stand in an abstract.
        figure: the difference, or its range; empty where there is none to show.
        range: the interval of the difference, and which one it is.
        text: what else a reader needs to judge the figure.
        tone: ``up``, ``down`` or empty.
    """

    title: str
    verdict: str
    sentence: str
    figure: str = ""
    range: str = ""
    text: str = ""
    tone: Literal["up", "down", ""] = ""


class Answer(NamedTuple):
    """The first screen.

    Attributes:
        compared: what was compared.
        result: what came out.
        certainty: how sure that is.
        findings: the result in figures, one per comparison.
        caveat: what must not be concluded; empty where nothing special is to be said.
    """

    compared: str
    result: str
    certainty: str
    findings: tuple[Finding, ...]
    caveat: str


def answer(manifest: Manifest, outcomes: tuple[Outcome, ...]) -> Answer:
    """Make the first screen."""
    view = View(manifest, outcomes)
    findings = tuple(_finding(view, comparison) for comparison in manifest.study.comparison)
    result = " ".join(finding.sentence for finding in findings) or "The study declares no comparison."
    caveat = CAVEAT if manifest.backbone.name == MINI else ""
    return Answer(_compared(view), result, " ".join(_certainty(view)), findings, caveat)


def is_judged(outcome: Outcome) -> bool:
    """Whether there are seeds enough to speak of the way of training; a side without training needs none."""
    seeds = [count for count in (outcome.candidate_seeds, outcome.reference_seeds) if count]
    return outcome.scope == "procedure" and min(seeds, default=MIN_SEEDS) >= MIN_SEEDS


def _compared(view: View) -> str:
    study = view.manifest.study
    languages = {language for task in view.manifest.tasks.values() for language in task.languages}
    text = f"{plural(len(study.system), 'way')} of training: {listing(system.label for system in study.system)}. "
    text += f"Each learns from English data only, with {plural(len(study.seeds), 'random seed')}, "
    text += f"and is tested on {plural(len(study.targets), 'target task')} in {plural(len(languages), 'language')}. "
    if study.intermediates:
        text += f"{plural(len(study.intermediates), 'intermediate task')} can be trained before the target. "
    if view.language == ZERO_SHOT:
        text += "Zero-shot means: in every language but English, so without one labelled example of that language."
    return text


# ------------------------------------------------------------------------------------------------------- findings


def _finding(view: View, comparison: Comparison) -> Finding:
    outcomes = view.of(comparison)
    run = [outcome for outcome in outcomes if outcome.was_run]
    pairs = [each for target in view.manifest.study.targets for each in view.of(comparison, target) if each.was_run]
    if pairs and outcomes[0].contrast == "intermediate":
        return _gains(view, comparison, pairs)
    if not run:
        title = view.title(comparison)
        sentence = f"{title} cannot be told yet: predictions for its {view.suite} are missing from the store."
        return Finding(title, Verdict.NOT_RUN, _upper(sentence))
    if run[0].intermediate is None:
        return _single(view, comparison, run[0])
    return _at_each_intermediate(view, comparison, run)


def _single(view: View, comparison: Comparison, outcome: Outcome) -> Finding:
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    word = _word(outcome)
    if word == NOT_JUDGED:
        sentence = f"{ours} against {theirs} is not judged with so few seeds: {effect(outcome)}."
    elif word in TONES:
        size = points(abs(outcome.difference))
        sentence = f"{ours} scores {size} points {word} than {theirs} {interval(outcome)}, {view.averaged()}."
    else:
        sentence = f"Between {ours} and {theirs}: {word}, {effect(outcome)}, {view.averaged()}."
    text = f"{points(outcome.candidate_score)} against {points(outcome.reference_score)}, {view.averaged()}; "
    text += f"{probability(outcome.p)}. {_restraint(outcome)}"
    figures = (signed(outcome.difference), interval(outcome))
    return Finding(view.title(comparison), word, _upper(sentence), *figures, text, TONES.get(word, ""))


def _at_each_intermediate(view: View, comparison: Comparison, run: list[Outcome]) -> Finding:
    """The two systems with the same intermediate task on both sides, once for each task."""
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    words = [_word(each) for each in run]
    tally = listing(f"{word} with {words.count(word)}" for word in dict.fromkeys(words))
    sentence = f"{ours} against {theirs}, each with the same intermediate task: {tally} of {len(run)}."
    ordered = sorted(run, key=lambda each: each.difference)
    ends = list(dict.fromkeys((ordered[0], ordered[-1])))
    figure = " … ".join(signed(each.difference) for each in ends)
    text = f"{_upper(view.averaged())}: {'; '.join(f'{each.intermediate} {effect(each)}' for each in ends)}."
    word = words[0] if len(set(words)) == 1 else "mixed"
    return Finding(view.title(comparison), word, _upper(sentence), figure, "", text, TONES.get(word, ""))


def _gains(view: View, comparison: Comparison, cells: list[Outcome]) -> Finding:
    """With − without intermediate task. The whole matrix is searched, so q decides, not p."""
    judged = [each for each in cells if is_judged(each) and each.q <= SIGNIFICANT]
    gains = sorted(
        (each for each in judged if each.low > 0), key=lambda each: (view.is_retrieval(each.target), -each.low)
    )
    losses = [each for each in judged if each.high < 0]
    title, pairs = view.title(comparison), plural(len(cells), "pair")
    text = f"{len(gains)} gain and {len(losses)} lose of {pairs} of intermediate and target task (q ≤ .05). "
    text += _best_mean(view, comparison)
    unjudged = sum(not is_judged(each) for each in cells)
    if unjudged:
        text += f"{plural(unjudged, 'pair')} not judged: fewer than {MIN_SEEDS} seeds. "
    if unjudged == len(cells):
        return Finding(title, NOT_JUDGED, f"{_upper(title)} is not judged: fewer than {MIN_SEEDS} seeds.", text=text)
    if not gains:
        sentence = f"{title}: of {pairs} of intermediate and target task none shows a gain."
        return Finding(title, "no gain shown", _upper(sentence), text=text)
    best = gains[0]
    named = [f"{each.intermediate} → {each.target} {effect(each)}" for each in gains[:SHOWN]]
    sentence = f"{title}: {len(gains)} of {pairs} of intermediate and target task gain, best supported {named[0]}."
    text += f"Best supported, and so flattered: {'; '.join(named)}."
    shown = f"{interval(best)} {best.intermediate} → {best.target}"
    return Finding(title, "gain", _upper(sentence), signed(best.difference), shown, text, "up")


def _best_mean(view: View, comparison: Comparison) -> str:
    means = [each for each in view.of(comparison) if not math.isnan(each.low)]
    if not means:
        return ""
    best = max(means, key=lambda each: each.low)
    return f"{_upper(view.averaged())}, the best supported is {best.intermediate}: {effect(best)}. "


def _word(outcome: Outcome) -> str:
    return verdict(outcome) if is_judged(outcome) else NOT_JUDGED


def _restraint(outcome: Outcome) -> str:
    """What the figures do not allow one to say."""
    if outcome.scope == "artefact":
        return "One seed: the interval speaks of these very models, not of the ways of training them."
    if not is_judged(outcome):
        return f"Fewer than {MIN_SEEDS} seeds: too few for a verdict."
    if verdict(outcome) is Verdict.NOT_SHOWN:
        return "An interval that holds 0 shows neither a difference nor that there is none."
    return ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _certainty(view: View) -> Iterator[str]:
    run = [outcome for outcome in view.outcomes if outcome.was_run]
    yield (
        "Brackets are 95 % intervals of a difference in points. They count the luck of the random seeds and of the "
        "test examples together; examples that translate each other or share a text are one draw, not many."
    )
    if any(outcome.scope == "artefact" for outcome in run):
        yield "Where a system has one seed, the interval counts only examples and speaks of these models alone."
    flags = {flag for outcome in run for flag in outcome.flags}
    if Flag.ONE_INTERMEDIATE in flags:
        yield "All seeds build on one training per intermediate task: the luck of that training is not counted."
    if flags & {Flag.COLLAPSED, Flag.DIVERGED}:
        yield "Some trainings collapsed or diverged; they are counted like all others and listed below."
    missing = len(view.outcomes) - len(run)
    if missing:
        yield f"{missing} of {len(view.outcomes)} differences could not be formed, because cells were not run."
