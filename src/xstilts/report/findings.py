"""What each comparison showed, in a sentence, in figures and in what those figures do not allow one to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from xstilts.compare import MIN_SEEDS, Flag, Outcome
from xstilts.estimands import ALL_TARGETS, WITHOUT_RETRIEVAL
from xstilts.report.view import View
from xstilts.report.words import (
    ABSENT,
    MODELS_ONLY,
    Verdict,
    corrected,
    effect,
    interval,
    listing,
    plural,
    points,
    probability,
    signed,
    verdict,
)
from xstilts.study import Comparison

SHOWN = 3  # pairs of either sign that are spelled out
MIXED = "mixed"


class Wording(NamedTuple):
    """How a difference above and below zero is called, and what is done by what has one."""

    up: str
    down: str
    rises: str
    falls: str
    neither: str

    def word(self, rises: bool, falls: bool) -> str:
        """Sum up what was found among several differences."""
        if rises and falls:
            return MIXED
        return self.up if rises else self.down if falls else self.neither


GAIN = Wording("gain", "loss", "gain", "lose", "no gain shown")
NEUTRAL = Wording(Verdict.HIGHER, Verdict.LOWER, "are higher", "are lower", Verdict.NOT_SHOWN)
TONES: dict[str, Literal["up", "down"]] = {
    Verdict.HIGHER: "up",
    Verdict.LOWER: "down",
    GAIN.up: "up",
    GAIN.down: "down",
}


class Effect(NamedTuple):
    """One difference of a finding.

    Attributes:
        figure: the difference.
        range: its interval.
        of: which one of several it is; empty for the only one.
    """

    figure: str
    range: str
    of: str = ""


class Finding(NamedTuple):
    """What one comparison showed.

    Attributes:
        title: what was subtracted from what.
        verdict: one or two words.
        sentence: the result, as it would stand in an abstract.
        effects: the difference; of several the best supported, or the ends. Empty where nothing was run.
        text: what else a reader needs to judge the figures.
        tone: ``up``, ``down`` or empty.
    """

    title: str
    verdict: str
    sentence: str
    effects: tuple[Effect, ...] = ()
    text: str = ""
    tone: Literal["up", "down", ""] = ""

    @property
    def figures(self) -> str:
        """The differences with their intervals in one line; a dash where nothing was run."""
        return " … ".join(" ".join(filter(None, each)) for each in self.effects) or ABSENT


def finding(view: View, comparison: Comparison) -> Finding:
    """Say what a comparison showed on the estimand that the report speaks of first."""
    outcomes = view.of(comparison)
    run = [outcome for outcome in outcomes if outcome.was_run]
    pairs = [each for target in view.manifest.study.targets for each in view.of(comparison, target) if each.was_run]
    if pairs and outcomes[0].contrast == "intermediate":
        return _searched(view, comparison, pairs, run or pairs)
    if not run:
        title = view.title(comparison)
        sentence = f"{title} cannot be told yet: predictions for its {view.suite} are missing from the store."
        return Finding(title, Verdict.NOT_RUN, _upper(sentence))
    if run[0].intermediate is None:
        return _single(view, comparison, run[0])
    return _at_each_intermediate(view, comparison, run)


def _single(view: View, comparison: Comparison, outcome: Outcome) -> Finding:
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    word = verdict(outcome)
    if word is Verdict.NOT_JUDGED:
        sentence = _unjudged(f"{ours} against {theirs}", [outcome])
    elif word in TONES:
        size = points(abs(outcome.difference))
        sentence = f"{ours} scores {size} points {word} than {theirs} {interval(outcome)}, {view.averaged()}."
    else:
        sentence = f"Between {ours} and {theirs}: {word}, {effect(outcome)}, {view.averaged()}."
    text = f"{points(outcome.candidate_score)} against {points(outcome.reference_score)}, {view.averaged()}; "
    text += " ".join([f"{probability(outcome.p)}.", *_restraints([outcome])])
    shown = (Effect(signed(outcome.difference), interval(outcome)),)
    return Finding(view.title(comparison), word, _upper(sentence), shown, text, TONES.get(word, ""))


def _at_each_intermediate(view: View, comparison: Comparison, run: list[Outcome]) -> Finding:
    """The two systems with the same intermediate task on both sides, once for each task: q decides, not p."""
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    words = [corrected(each) for each in run]
    tally = listing(f"{word} with {words.count(word)}" for word in dict.fromkeys(words))
    sentence = f"{ours} against {theirs}, each with the same intermediate task: {tally} of {len(run)} (q ≤ .05)."
    if set(words) == {Verdict.NOT_JUDGED}:
        sentence = _unjudged(f"{ours} against {theirs}, each with the same intermediate task,", run)
    text = " ".join([f"{_upper(view.averaged())}.", *_span(run), *_restraints(run)])
    word = _summary(words)
    return Finding(view.title(comparison), word, _upper(sentence), _ends(run), text, TONES.get(word, ""))


def _searched(view: View, comparison: Comparison, cells: list[Outcome], means: list[Outcome]) -> Finding:
    """With an intermediate task on one side. The whole matrix of ``cells`` is searched, so q decides, not p."""
    wording = GAIN if view.is_gain(comparison) else NEUTRAL
    title = view.title(comparison)
    if not any(each.is_judged for each in cells):
        sentence = _unjudged(title, means)
        text = " ".join([f"{_upper(view.averaged())}.", *_span(means), *_restraints(cells)])
        return Finding(title, Verdict.NOT_JUDGED, _upper(sentence), _ends(means), text)
    better, worse = (_supported(view, cells, word) for word in (Verdict.HIGHER, Verdict.LOWER))
    first = (*better[:1], *worse[:1])
    count = f"{len(better)} of {plural(len(cells), 'pair')} of intermediate and target task {wording.rises}"
    count += f" and {len(worse)} {wording.falls}"
    told = f"; best supported {listing(f'{_name(each)} {effect(each)}' for each in first)}" if first else ""
    remarks = [f"{count} (q ≤ .05).", *(_selected(view, better, worse, means) if first else _span(means))]
    word = wording.word(bool(better), bool(worse))
    return Finding(
        title,
        word,
        _upper(f"{title}: {count}{told}."),
        tuple(_effect(each, f", strongest of {len(cells)}") for each in first) or _ends(means),
        " ".join([*remarks, *_restraints(cells)]),
        TONES.get(word, ""),
    )


# ---------------------------------------------------------------------------------------------- parts of a finding


def _unjudged(what: str, outcomes: list[Outcome]) -> str:
    shown = " … ".join(effect(each) for each in _extremes(outcomes))
    return f"{what} is not judged with so few seeds: {shown}."


def _summary(words: Sequence[Verdict]) -> str:
    """One word for several verdicts."""
    if len(set(words)) == 1:
        return words[0]
    sides = [side for side in (Verdict.HIGHER, Verdict.LOWER) if side in words]
    if len(sides) == 1:
        return f"{sides[0]} with {words.count(sides[0])} of {len(words)}"
    return MIXED if sides else Verdict.NOT_SHOWN


def _supported(view: View, cells: list[Outcome], word: Verdict) -> list[Outcome]:
    """Outcomes of one verdict, those of retrieval last, then by how far the interval is from 0."""
    found = [each for each in cells if corrected(each) is word]
    return sorted(found, key=lambda each: (view.is_retrieval(each.target), -max(each.low, -each.high)))


def _selected(view: View, better: list[Outcome], worse: list[Outcome], means: list[Outcome]) -> Iterator[str]:
    yield f"Best supported: {'; '.join(f'{_name(each)} {effect(each)}' for each in better[:SHOWN] + worse[:SHOWN])}."
    with_interval = [each for each in means if not math.isnan(each.low)]
    if with_interval:
        best = max(with_interval, key=lambda each: each.low)
        yield f"{_upper(view.averaged())}, {_name(best)} comes out best: {effect(best)}."
    yield "The strongest of several are flattered by selection."


def _span(outcomes: list[Outcome]) -> Iterator[str]:
    if len(outcomes) > 1:
        yield f"Shown are the smallest and the largest of {len(outcomes)}; selection exaggerates both."


def _ends(outcomes: list[Outcome]) -> tuple[Effect, ...]:
    return tuple(_effect(each) for each in _extremes(outcomes))


def _extremes(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcomes with the smallest and the largest difference; one if there is only one."""
    ordered = sorted(outcomes, key=lambda each: each.difference)
    return [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered


def _effect(outcome: Outcome, remark: str = "") -> Effect:
    return Effect(signed(outcome.difference), interval(outcome), _name(outcome) + remark)


def _name(outcome: Outcome) -> str:
    """What tells an outcome from others of its comparison."""
    pooled = outcome.target in (WITHOUT_RETRIEVAL, ALL_TARGETS)
    return str(outcome.intermediate) if pooled else f"{outcome.intermediate} → {outcome.target}"


def _restraints(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What the figures do not allow one to say."""
    words = [verdict(each) for each in outcomes]
    unjudged = sum(not each.is_judged for each in outcomes)
    if any(each.scope == "artefact" for each in outcomes):
        yield f"{MODELS_ONLY} One seed: the interval speaks of these very models, not of the ways of training them."
    elif unjudged == len(outcomes):
        yield f"Fewer than {MIN_SEEDS} seeds: too few for a verdict."
    elif unjudged:
        yield f"{unjudged} of {len(outcomes)} not judged: fewer than {MIN_SEEDS} seeds."
    if set(words) == {Verdict.NOT_SHOWN}:
        yield "An interval that holds 0 shows neither a difference nor that there is none."
    if Verdict.NO_VARIANCE in words:
        yield "Where answers never vary, no interval can be estimated, and a difference of 0 is no sign of equality."
    failed = sum(Flag.ONLY_FAILED in each.flags for each in outcomes)
    if failed:
        yield f"{_share(failed, len(outcomes))} a side whose runs all collapsed or diverged."


def _share(count: int, total: int) -> str:
    return "It has" if total == 1 else f"{count} of {total} have"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
