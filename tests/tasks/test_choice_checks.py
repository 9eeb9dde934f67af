"""What the checks of data ask of options and of numbers that are not counted by truth values."""

from dataclasses import replace

import pytest

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, Example, GeneratedData, Passage, Task

CHOICE = Example("1", "en", "c", Choices("", ("x", "y")), 1)
SPAN = Example("1", "en", "c", Passage("Where?", "On the hill."), Answers(("On", "On"), (0, 0)))


def problems(form, *examples):
    data = GeneratedData({"test": ("en",)}, lambda split, language: examples)
    try:
        load_examples(Task("damaged", 1, form, "accuracy", data), "test", ("en",), Sources())
    except XstiltsError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_all_examples_of_a_split_have_as_many_options_as_the_first():
    three = replace(CHOICE, item_id="2", fields=Choices("", ("x", "y", "z")))
    assert problems("choice", CHOICE, replace(CHOICE, item_id="2")) == []
    assert problems("choice", three, replace(three, item_id="3")) == []
    assert problems("choice", CHOICE, three) == [
        "damaged/test/en: example 2: options: 3 options where the first example of the split has 2"
    ]


@pytest.mark.parametrize("gold", [True, False])
def test_a_truth_value_is_not_the_index_of_an_option(gold):
    (found,) = problems("choice", replace(CHOICE, gold=gold))
    assert f"gold: not the index of an option; given '{gold}'" in found


def test_a_truth_value_is_no_offset():
    assert problems("span", SPAN) == []
    (found,) = problems("span", replace(SPAN, gold=Answers(("On", "On"), (0, False))))
    assert "gold: a truth value is no offset; given 'False'" in found
