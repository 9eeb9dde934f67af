"""How several verdicts are summed up in one word, and a finding in one line."""

import pytest

from xstilts.report.findings import GAIN, NEUTRAL, Effect, Finding, _summary
from xstilts.report.words import Verdict

HIGHER, LOWER, NOT_SHOWN, NOT_JUDGED = Verdict.HIGHER, Verdict.LOWER, Verdict.NOT_SHOWN, Verdict.NOT_JUDGED


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([HIGHER, HIGHER], "higher"),
        ([HIGHER, NOT_SHOWN, HIGHER], "higher with 2 of 3"),
        ([LOWER, NOT_JUDGED], "lower with 1 of 2"),
        ([HIGHER, LOWER, NOT_SHOWN], "mixed"),
        ([NOT_JUDGED, NOT_JUDGED], "not judged"),
        ([NOT_JUDGED, NOT_SHOWN], "no difference shown"),
    ],
)
def test_verdicts_with_several_intermediate_tasks(words, expected):
    assert _summary(words) == expected


@pytest.mark.parametrize(
    ("rises", "falls", "gain", "neutral"),
    [
        (True, False, "gain", "higher"),
        (False, True, "loss", "lower"),
        (True, True, "mixed", "mixed"),
        (False, False, "no gain shown", "no difference shown"),
    ],
)
def test_what_was_found_in_a_matrix(rises, falls, gain, neutral):
    assert (GAIN.word(rises, falls), NEUTRAL.word(rises, falls)) == (gain, neutral)


def test_figures_in_one_line():
    ends = (Effect("−1.0", "[−2.0, 0.0]", "one"), Effect("+2.0", "[1.0, 3.0]"))
    assert Finding("t", "v", "s", ends).figures == "−1.0 [−2.0, 0.0] one … +2.0 [1.0, 3.0]"
    assert Finding("t", "v", "s").figures == "–"
