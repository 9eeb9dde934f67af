import math

import pytest

from xstilts.compare import Flag, Outcome
from xstilts.report import words
from xstilts.report.words import Verdict, verdict


def outcome(low, high, flags=(), **values):
    values = {"difference": (low + high) / 2, "low": low, "high": high, "flags": flags, **values}
    return Outcome("c", "a", "b", "system", None, "t", "all", **values)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 3.0, Verdict.HIGHER),
        (-3.0, -0.1, Verdict.LOWER),
        (-0.1, 3.0, Verdict.NOT_SHOWN),
        (0.0, 3.0, Verdict.NOT_SHOWN),
        (-3.0, 0.0, Verdict.NOT_SHOWN),
        (math.nan, math.nan, Verdict.UNKNOWN),
    ],
)
def test_a_verdict_follows_from_the_interval(low, high, expected):
    assert verdict(outcome(low, high)) is expected


def test_some_outcomes_have_no_verdict():
    assert verdict(outcome(math.nan, math.nan, (Flag.NOT_RUN,))) is Verdict.NOT_RUN
    assert verdict(outcome(0.0, 0.0, (Flag.SAME_PREDICTIONS,))) is Verdict.SAME


@pytest.mark.parametrize(
    "values", [{"candidate_seeds": 2, "reference_seeds": 3}, {"candidate_seeds": 2}, {"scope": "artefact"}]
)
def test_too_few_seeds_are_not_judged(values):
    for low, high in ((1.0, 2.0), (-2.0, -1.0), (-1.0, 1.0)):
        assert verdict(outcome(low, high, **values)) is Verdict.NOT_JUDGED
        assert words.corrected(outcome(low, high, q=0.001, **values)) is Verdict.NOT_JUDGED


def test_no_variance_is_told_from_no_estimate():
    seen = outcome(math.nan, math.nan, difference=0.0, se=0.0)
    assert verdict(seen) is Verdict.NO_VARIANCE
    assert words.effect(seen) == "0.0\u00a0[not\u00a0estimable]"


def test_of_several_outcomes_only_q_names_a_side():
    assert words.corrected(outcome(1.0, 2.0, q=0.05)) is Verdict.HIGHER
    assert words.corrected(outcome(-2.0, -1.0, q=0.01)) is Verdict.LOWER
    assert words.corrected(outcome(1.0, 2.0, q=0.051)) is Verdict.NOT_SHOWN
    assert words.corrected(outcome(0.0, 0.0, (Flag.SAME_PREDICTIONS,))) is Verdict.SAME


def test_an_interval_of_the_models_alone_is_marked():
    assert words.interval(outcome(-1.0, 2.0, scope="artefact")) == "[−1.0,\u00a02.0]†"


def test_no_word_claims_equality():
    assert not any("equal" in word or "same as" in word for word in Verdict)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.25, "+1.2"),
        (-12.34, "−12.3"),
        (0.0, "0.0"),
        (-0.001, "0.0"),
        (0.04, "+0.04"),
        (-0.049, "−0.05"),
        (math.nan, "–"),
    ],
)
def test_signed(value, text):
    assert words.signed(value) == text


def test_intervals_and_effects_do_not_break_over_lines():
    assert words.effect(outcome(-0.02, 3.0)) == "+1.5\u00a0[−0.02,\u00a03.0]"
    assert words.interval(outcome(math.nan, math.nan)) == "–"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < .001"), (0.0204, "p = .020"), (1.0, "p = 1.000"), (math.nan, "–")]
)
def test_probability(p, text):
    assert words.probability(p).replace("\u00a0", " ") == text


def test_stars():
    assert [words.stars(q) for q in (0.0001, 0.01, 0.05, 0.051, math.nan)] == ["***", "**", "*", "", ""]


def test_quantities_and_durations():
    assert [words.quantity(value, "B") for value in (12, 13_600_000, 2.5e9)] == ["12 B", "13.6 MB", "2.5 GB"]
    assert words.quantity(40_000) == "40.0 k"
    assert [words.duration(value) for value in (14.0, 300.0, 7200.0)] == ["14.0 s", "5.0 min", "2.0 h"]


def test_lists():
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert (words.plural(1, "seed"), words.plural(3, "seed")) == ("1 seed", "3 seeds")
