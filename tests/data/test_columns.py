"""Which columns a part of an Example was made from: on readings whose origins are known, and on all shipped tasks."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from xstilts.data.columns import Reading, Spot, listed, named, origin
from xstilts.spec import Answers, Choices, Example, Part, Passage, TextPair, Words

PART = Part("test", "en", "org/name", "en", "test", "0123abc")
VALUES = st.one_of(
    *(st.text(max_size=3), st.integers(-2, 2), st.booleans(), st.floats(), st.none()),
    st.lists(st.text(max_size=2), max_size=2),
    st.lists(st.integers(0, 1), max_size=2),
)
ROWS = st.lists(VALUES, min_size=1, max_size=5).map(lambda values: {f"c{n}": value for n, value in enumerate(values)})


def example(**parts):
    fields = parts.pop("fields", TextPair("x"))
    return Example(**{"item_id": "i", "language": "en", "cluster": "c", "fields": fields, "gold": None} | parts)


def reading(columns, make):
    return Reading(lambda row, part, number: (example(**make(row)),), PART, columns)


@given(ROWS, st.data())
def test_whatever_the_values_the_columns_that_were_used_are_found(row, data):
    """Equal values in other columns, empty ones and those of any type do not mislead."""
    used = data.draw(st.lists(st.sampled_from(sorted(row)), unique=True))
    made = reading(tuple(row), lambda row: {"gold": tuple((column, repr(row[column])) for column in used)})
    assert origin(made, row, 0, 0, Spot("gold")) == tuple(column for column in row if column in used)
    assert origin(made, row, 0, 0, Spot("first")) == ()


@given(st.data())
def test_one_of_several_values(data):
    texts = data.draw(st.lists(st.text(max_size=2), min_size=1, max_size=5))
    row = {f"c{number}": text for number, text in enumerate(texts)}
    made = reading(tuple(row), lambda row: {"fields": Choices("", tuple(text.strip() for text in row.values()))})
    for number, column in enumerate(row):
        assert origin(made, row, 0, 0, Spot("options", number)) == (column,)
    assert origin(made, row, 0, 0, Spot("options")) == tuple(row)


def test_fields_of_a_struct_and_elements_of_a_list():
    row = {"answers": {"text": ["a", ""], "start": [0, 0]}, "tokens": []}
    columns = ("answers.text", "answers.start", "tokens")

    def make(row):
        answers = Answers(tuple(row["answers"]["text"]), tuple(row["answers"]["start"]))
        return {"gold": answers, "fields": Words(tuple(row["tokens"])), "cluster": row["answers"]["text"][1]}

    made = reading(columns, make)
    assert origin(made, row, 0, 0, Spot("gold")) == ("answers.text", "answers.start")
    assert origin(made, row, 0, 0, Spot("words")) == ("tokens",)
    assert origin(made, row, 0, 0, Spot("cluster")) == ("answers.text",)


@pytest.mark.parametrize("refusal", [KeyError, ValueError, OverflowError, AssertionError])
def test_a_value_that_the_task_looks_up_can_be_no_other(refusal):
    """It is named where the change of no other column shows."""

    def make(row):
        if row["id"] != "known":
            raise refusal
        return {"item_id": row["id"], "fields": TextPair(row["text"])}

    made, row = reading(("id", "text"), make), {"id": "known", "text": "known"}
    assert origin(made, row, 0, 0, Spot("item_id")) == ("id",)
    assert origin(made, row, 0, 0, Spot("first")) == ("text",)


def test_a_changed_row_that_is_dropped_tells_nothing():
    def read(row, part, number):
        return (example(item_id=row["id"], fields=Passage("q", row["text"])),) if row["keep"] == "yes" else ()

    made, row = Reading(read, PART, ("id", "text", "keep")), {"id": "", "text": "yes", "keep": "yes"}
    assert origin(made, row, 0, 0, Spot("item_id")) == ("id",)
    assert origin(made, row, 0, 0, Spot("context")) == ("text",)


def test_the_rows_own_value_stays_as_it_is():
    row = {"tags": [["a"], []], "answers": {"text": ["b"]}}
    made = reading(("tags", "answers.text"), lambda row: {"gold": str(row)})
    assert origin(made, row, 0, 0, Spot("gold")) == ("tags", "answers.text")
    assert row == {"tags": [["a"], []], "answers": {"text": ["b"]}}


def test_names_of_columns_and_parts():
    assert listed(("a",)) == "column 'a'" and listed(("a", "b.c")) == "columns 'a', 'b.c'"
    assert named(Spot("gold"), ("label",)) == "column 'label' (gold)"
    assert named(Spot("options", 1), ("ending", "stem")) == "columns 'ending', 'stem' (options)"
    assert named(Spot("context"), ("context",)) == "column 'context'"
    assert named(Spot("item_id"), ()) == "item_id (made from no column)"
