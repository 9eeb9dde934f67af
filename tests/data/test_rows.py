from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.data import fingerprint, subset
from xstilts.spec import Answers, Choices, Example, Passage, Sentence, TextPair, Words

ROWS = (
    Example("1", "en", "c", TextPair("a", None), "yes"),
    Example("2", "de", "c", TextPair("ä", "b"), "no"),
    Example("3", "en", "d", Words(("Hund", "犬")), ("NOUN", "NOUN")),
    Example("4", "en", "d", Passage("Wo?", "Hier."), Answers(("Hier",), (0,))),
    Example("5", "en", "d", Passage("Wo?", "Hier."), Answers()),
    Example("6", "en", "d", Choices("p", ("x", "y")), 1),
    Example("7", "en", "d", Sentence("text", "candidate"), None),
)


def test_fingerprint_is_pinned():
    assert fingerprint(ROWS) == "13c2bf8204a9155ff7a39c6bae29c5b0034ff1527c4958a76914a5b826c48a0c"


CHANGES = [
    *({"item_id": "9"}, {"language": "fr"}, {"cluster": "9"}, {"gold": None}, {"gold": "9"}, {"gold": 9}),
    *({"gold": ("yes",)}, {"gold": Answers()}, {"fields": TextPair("a", "")}, {"fields": TextPair("a ", None)}),
    *({"fields": Words(("a",))}, {"fields": Passage("a", "")}, {"fields": Sentence("a", "query")}),
    *({"fields": Sentence("a", "candidate")}, {"fields": Choices("a", ())}, {"fields": Words(("a", "b"))}),
]


def test_every_change_changes_the_fingerprint():
    found = {fingerprint(ROWS), fingerprint(ROWS[1:]), fingerprint(ROWS[::-1]), fingerprint(())}
    found |= {fingerprint((replace(ROWS[0], **change), *ROWS[1:])) for change in CHANGES}
    assert len(found) == 4 + len(CHANGES)


def numbered(n):
    return tuple(Example(f"id-{i}", "en", "c", TextPair("a"), "yes") for i in range(n))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 70), st.integers(0, 70), st.randoms(use_true_random=False))
def test_subsets_are_nested_and_do_not_depend_on_the_order(n, small, large, random):
    small, large = sorted((small, large))
    examples = numbered(n)
    shuffled = random.sample(examples, n)
    assert len(subset(examples, small)) == min(small, n)
    assert set(subset(examples, small)) <= set(subset(examples, large))
    assert set(subset(examples, small)) == set(subset(shuffled, small))
    assert list(subset(examples, large)) == [each for each in examples if each in subset(examples, large)]


def test_a_subset_is_not_simply_the_beginning():
    assert subset(numbered(100), 10) != numbered(100)[:10]


def test_a_subset_of_queries_keeps_all_candidates():
    candidates = [Example(f"c{i}", "en", "c", Sentence("text", "candidate"), None) for i in range(5)]
    queries = [Example(f"q{i}", "en", "c", Sentence("text", "query"), "c0") for i in range(20)]
    found = subset([*queries, *candidates], 4)
    assert list(found[4:]) == candidates and set(found[:4]) <= set(queries)
    assert set(found) < set(subset([*candidates, *queries], 9))


@pytest.mark.parametrize("n", [7, 8])
def test_subset_of_all(n):
    assert subset(ROWS, n) == ROWS
