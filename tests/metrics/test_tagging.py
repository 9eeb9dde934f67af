"""Chunk F1 against a brute force that shares no code with it; against seqeval itself in ``tests/oracles``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts.metrics import load_metric
from xstilts.metrics.tagging import METRIC, chunks

POS = ("ADJ", "ADP", "CCONJ", "DET", "INTJ", "NOUN", "PROPN", "PUNCT", "VERB", "X")
IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def pairs(alphabet):
    words = st.integers(0, 9)
    return words.flatmap(lambda n: st.tuples(*[st.lists(st.sampled_from(alphabet), min_size=n, max_size=n)] * 2))


def spans_by_force(tags, is_chunk):
    """All (type, first, last) of which ``is_chunk`` holds and that cannot be made longer on either side."""
    spans = [(i, j) for i in range(len(tags)) for j in range(i, len(tags)) if is_chunk(tags, i, j)]
    return {
        (tags[i].split("-")[-1], i, j)
        for i, j in spans
        if not any(a <= i and j <= b and (a, b) != (i, j) for a, b in spans)
    }


def is_run(tags, i, j):
    return len(set(tags[i : j + 1])) == 1


def is_iob_chunk(tags, i, j):
    kinds = {tag[2:] for tag in tags[i : j + 1]}
    if "O" in tags[i : j + 1] or len(kinds) > 1 or any(tag.startswith("B") for tag in tags[i + 1 : j + 1]):
        return False
    return tags[i].startswith("B") or i == 0 or tags[i - 1][2:] != tags[i][2:]


@settings(max_examples=1000, deadline=None)
@given(pairs(POS))
def test_parts_of_speech_are_runs_of_equal_tags(pair):
    for tags in pair:
        assert chunks(tags) == spans_by_force(tags, is_run)


@settings(max_examples=1000, deadline=None)
@given(pairs(IOB))
def test_entities_are_what_iob2_says(pair):
    for tags in pair:
        assert chunks(tags) == spans_by_force(tags, is_iob_chunk)


@settings(max_examples=1000, deadline=None)
@given(pairs(IOB))
def test_counts(pair):
    gold, pred = pair
    expected = [spans_by_force(tags, is_iob_chunk) for tags in pair]
    right = sum(a == b for a, b in zip(gold, pred, strict=True))
    counts = (len(expected[0] & expected[1]), len(expected[1]), len(expected[0]), right, len(gold))
    assert METRIC.stats(gold, pred, "en") == tuple(map(float, counts))


def test_one_wrong_tag_costs_a_part_of_speech_chunk_twice():
    gold = ["DET", "NOUN", "NOUN", "VERB", "PROPN", "PROPN", "PROPN", "PUNCT"]
    pred = ["DET", "NOUN", "VERB", "VERB", "PROPN", "PROPN", "NOUN", "PUNCT"]
    sums = METRIC.stats(gold, pred, "en")
    assert round(METRIC.ratios[0].of(sums), 1) == 36.4
    assert METRIC.ratios[1].of(sums) == 75.0


def test_iobes_and_neighbours_of_one_type():
    assert chunks(["B-PER", "E-PER", "S-PER", "S-LOC", "O", "B-LOC", "B-LOC"]) == {
        ("PER", 0, 1),
        ("PER", 2, 2),
        ("LOC", 3, 3),
        ("LOC", 5, 5),
        ("LOC", 6, 6),
    }


def test_tags_that_start_like_a_single_stay_single_as_in_seqeval():
    assert chunks(["SCONJ", "SCONJ", "SYM", "NOUN"]) == {
        ("SCONJ", 0, 0),
        ("SCONJ", 1, 1),
        ("SYM", 2, 2),
        ("NOUN", 3, 3),
    }


def test_coordinating_and_subordinating_conjunctions_are_two_types():
    assert METRIC.stats(["CCONJ"], ["SCONJ"], "en") == (0.0, 1.0, 1.0, 0.0, 1.0)


def test_nothing_to_find_and_nothing_found():
    assert METRIC.stats([], [], "en") == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert METRIC.stats(["O"], ["O"], "en") == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_token_accuracy_counts_the_same_and_puts_accuracy_first():
    accuracy = load_metric("token_accuracy")
    rows = [METRIC.stats(gold, pred, "en") for gold, pred in ((("N", "V"), ("N", "N")), (("N",), ("N",)))]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert accuracy.stats is METRIC.stats
    assert accuracy.score(sums) == pytest.approx(100 * 2 / 3)
    assert [ratio.name for ratio in accuracy.ratios] == ["token_accuracy", "f1"]
