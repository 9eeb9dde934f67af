"""What each comparison showed, in a sentence, in figures and in what those figures do not allow one to say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from xstilts.compare import MIN_SEEDS, Flag, Outcome
from xstilts.estimands import ALL_TARGETS, WITHOUT_RETRIEVAL
from xstilts.report.view import View
from xstilts.report.words import (
    ABSENT,
    MODELS_ONLY,
    Verdict,
    composed,
    corrected,
    effect,
    interval,
    listing,
    plural,
    points,
    probability,
    signed,
    spelled,
    together,
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

    def called(self, word: Verdict) -> str:
        """What a verdict is called."""
        return {Verdict.HIGHER: self.up, Verdict.LOWER: self.down, Verdict.NOT_SHOWN: self.neither}.get(word, word)

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
        details: what was found with each intermediate, on average and on every target; empty without intermediates.
        tone: ``up``, ``down`` or empty.
    """

    title: str
    verdict: str
    sentence: str
    effects: tuple[Effect, ...] = ()
    text: str = ""
    tone: Literal["up", "down", ""] = ""
    details: tuple[str, ...] = ()

    @property
    def figures(self) -> str:
        """The differences with their intervals in one line; a dash where nothing was run."""
        return " … ".join(" ".join(filter(None, each)) for each in self.effects) or ABSENT


def finding(view: View, comparison: Comparison) -> Finding:
    """Say what a comparison showed on the estimand that the report speaks of first."""
    outcomes = view.of(comparison)
    run = [outcome for outcome in outcomes if outcome.was_run]
    pairs = [each for target in view.manifest.study.targets for each in view.of(comparison, target) if each.was_run]
    if pairs and outcomes[0].contrast == "intermediate" and (len(outcomes) > 1 or not run):
        return _searched(view, comparison, pairs, run or pairs)
    if not run:
        title = view.title(comparison)
        sentence = f"{title} cannot be told yet: predictions for its {view.suite} are missing from the store."
        return Finding(title, Verdict.NOT_RUN, _upper(sentence))
    if len(outcomes) == 1:
        return _single(view, comparison, run[0])
    return _at_each_intermediate(view, comparison, run)


def _single(view: View, comparison: Comparison, outcome: Outcome) -> Finding:
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    word, where = verdict(outcome), _with(outcome)
    if word is Verdict.NOT_JUDGED:
        sentence = _unjudged(f"{ours} against {theirs}{where}", [outcome])
    elif word in TONES:
        size = points(abs(outcome.difference))
        sentence = f"{ours} scores {size} points {word} than {theirs} {interval(outcome)}{where}, {view.averaged()}."
    else:
        sentence = f"Between {ours} and {theirs}{where}: {word}, {effect(outcome)}, {view.averaged()}."
    text = f"{points(outcome.candidate_score)} against {points(outcome.reference_score)}, {view.averaged()}; "
    text += " ".join([f"{probability(outcome.p)}.", *_restraints([outcome])])
    shown = (Effect(signed(outcome.difference), interval(outcome)),)
    wording = GAIN if view.is_gain(comparison) else NEUTRAL
    details = tuple(_details(view, comparison, wording)) if outcome.contrast == "intermediate" else ()
    return Finding(
        view.title(comparison), wording.called(word), _upper(sentence), shown, text, TONES.get(word, ""), details
    )


def _with(outcome: Outcome) -> str:
    """The intermediates of the two sides, as an insertion; empty without."""
    if outcome.intermediate is None:
        return ""
    if outcome.contrast == "intermediate":
        return f", with {spelled(outcome.intermediate)} against none"
    if outcome.contrast == "system":
        return f", both with {spelled(outcome.intermediate)}"
    return f", with {spelled(outcome.intermediate)} against {spelled(str(outcome.reference_intermediate))}"


def _at_each_intermediate(view: View, comparison: Comparison, run: list[Outcome]) -> Finding:
    """The two systems once for each of several intermediates, on both sides or on one: q decides, not p."""
    ours, theirs = view.label(comparison.candidate), view.label(comparison.reference)
    how, preposition = _met(run)
    words = [corrected(each) for each in run]
    tally = listing(f"{word} {preposition} {words.count(word)}" for word in dict.fromkeys(words))
    sentence = f"{ours} against {theirs}, {how}: {tally} of {len(run)} (q ≤ .05)."
    if set(words) == {Verdict.NOT_JUDGED}:
        sentence = _unjudged(f"{ours} against {theirs}, {how},", run)
    text = " ".join([f"{_upper(view.averaged())}.", *_span(run), *_restraints(run)])
    word = _summary(words, preposition)
    details = tuple(_details(view, comparison, NEUTRAL))
    return Finding(view.title(comparison), word, _upper(sentence), _ends(run), text, TONES.get(word, ""), details)


def _met(run: list[Outcome]) -> tuple[str, str]:
    """Which intermediates meet which, in words, and the preposition that one of them is named with."""
    ours = {str(each.intermediate) for each in run}
    theirs = {str(each.reference_intermediate) for each in run}
    if run[0].contrast == "system":
        return "each with the same intermediate task", "with"
    if len(ours) == 1:
        return f"with {together(*ours)} against each of {len(theirs)}", "against"
    if len(theirs) == 1:
        return f"with each of {len(ours)} against {together(*theirs)}", "with"
    return "with different intermediate tasks", "in"


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
    names = {str(each.intermediate) for each in cells}
    noun = f"{plural(len(cells), 'pair')} of intermediate and target task"
    if len(names) == 1:
        noun = f"{plural(len(cells), 'target task')} with {spelled(*names)}"
    count = f"{len(better)} of {noun} {wording.rises} and {len(worse)} {wording.falls}"
    told = f"; best supported {listing(f'{_name(each)} {effect(each)}' for each in first)}" if first else ""
    remarks = [f"{count} (q ≤ .05).", *(_selected(view, better, worse, means) if first else _span(means))]
    word = wording.word(bool(better), bool(worse))
    return Finding(
        title,
        word,
        _upper(f"{title}: {count}{told}. {_certain(view, wording, view.of(comparison))}"),
        tuple(_effect(each, f", strongest of {len(cells)}") for each in first) or _ends(means),
        " ".join([*remarks, *_restraints(cells)]),
        TONES.get(word, ""),
        tuple(_details(view, comparison, wording)),
    )


def _certain(view: View, wording: Wording, means: Iterable[Outcome]) -> str:
    """With which intermediates a mean over targets is known to be another one, and with which it is not."""
    groups: dict[str, list[str]] = {}
    for each in means:
        shown = f" ({effect(each)})" if corrected(each) in TONES else ""
        groups.setdefault(wording.called(corrected(each)), []).append(composed(each) + shown)
    told = "; ".join(f"{word} with {listing(names)}" for word, names in groups.items())
    return f"{_upper(view.averaged())}: {told} (q ≤ .05)."


def _details(view: View, comparison: Comparison, wording: Wording) -> Iterator[str]:
    """A line for each intermediate: its mean over targets, then every target, each with its interval."""
    targets = view.manifest.study.targets
    for number, mean in enumerate(view.of(comparison)):
        groups: dict[str, list[str]] = {}
        for target in targets:
            each = view.of(comparison, target)[number]
            shown = f"{target} {effect(each)}" if each.was_run else target
            groups.setdefault(wording.called(corrected(each)), []).append(shown)
        rest = "; ".join(f"{word} on {listing(shown)}" for word, shown in groups.items())
        average = f"{effect(mean)} on average" if mean.was_run else "on average"
        yield f"{composed(mean)}: {wording.called(corrected(mean))} {average}; {rest}"


# ---------------------------------------------------------------------------------------------- parts of a finding


def _unjudged(what: str, outcomes: list[Outcome]) -> str:
    shown = " … ".join(effect(each) for each in _extremes(outcomes))
    return f"{what} is not judged with so few seeds: {shown}."


def _summary(words: Sequence[Verdict], preposition: str = "with") -> str:
    """One word for several verdicts."""
    if len(set(words)) == 1:
        return words[0]
    sides = [side for side in (Verdict.HIGHER, Verdict.LOWER) if side in words]
    if len(sides) == 1:
        return f"{sides[0]} {preposition} {words.count(sides[0])} of {len(words)}"
    return MIXED if sides else Verdict.NOT_SHOWN


def _supported(view: View, cells: list[Outcome], word: Verdict) -> list[Outcome]:
    """Outcomes of one verdict, those of retrieval last, then by how far the interval is from 0."""
    found = [each for each in cells if corrected(each) is word]
    return sorted(found, key=lambda each: (view.is_retrieval(each.target), -max(each.low, -each.high)))


def _selected(view: View, better: list[Outcome], worse: list[Outcome], means: list[Outcome]) -> Iterator[str]:
    yield f"Best supported: {'; '.join(f'{_name(each)} {effect(each)}' for each in better[:SHOWN] + worse[:SHOWN])}."
    with_interval = [each for each in means if not math.isnan(each.low)]
    if len(with_interval) == 1:
        yield f"{_upper(view.averaged())}: {effect(with_interval[0])}."
    elif with_interval:
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
    return composed(outcome) if pooled else f"{composed(outcome)} → {outcome.target}"


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
    if any(each.contrast == "intermediates" for each in outcomes):
        yield "Systems and intermediates differ at once: the difference is that of both."
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
