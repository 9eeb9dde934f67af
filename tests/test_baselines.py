import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.baselines import Pool, baselines, shared, trigrams
from xstilts.spec import Answers, Choices, Example, GeneratedData, Passage, Sentence, Task, TextPair, Words


def task(format_name, metric="accuracy"):
    return Task("t", 1, format_name, metric, GeneratedData({}, lambda split, language: ()))


def example(fields, gold, item="1", language="en"):
    return Example(item, language, item, fields, gold)


@given(st.lists(st.text("abc ", max_size=12), min_size=1, max_size=6), st.text("abc ", max_size=12))
def test_the_index_finds_what_comparing_all_finds(texts, text):
    overlaps = [shared(trigrams(text), trigrams(each)) for each in texts]
    assert Pool(texts).closest(text) == overlaps.index(max(overlaps))


def test_pairs_take_the_label_of_training_pairs_with_as_much_overlap():
    same, other = TextPair("a small house", "a small house"), TextPair("a small house", "xyz")
    train = [example(same, "yes"), example(other, "no"), example(other, "no")]
    test = [example(same, "yes"), example(other, "no", "2")]
    found = baselines(task("classification"), train, test)
    assert found == {"majority": {"en": 50.0}, "overlap": {"en": 100.0}}


def test_options_and_candidates_that_share_most_are_taken():
    choice = example(Choices("in Berlin", ("Paris", "Berlin")), 1)
    assert baselines(task("choice"), [choice], [choice])["overlap"] == {"en": 100.0}
    pool = [example(Sentence(text, "candidate"), None, str(n), "de") for n, text in enumerate(("Haus 7", "Hof 12"))]
    queries = [example(Sentence(text, "query"), str(n), str(n), "de") for n, text in enumerate(("house 7", "farm 12"))]
    assert baselines(task("retrieval"), [], [*queries, *pool]) == {"majority": {"de": 50.0}, "overlap": {"de": 100.0}}


def test_tags_are_looked_up_word_by_word():
    train = [example(Words(("a", "dog", "a")), ("DET", "NOUN", "DET"))]
    found = baselines(task("tagging", "tagging"), train, [example(Words(("a", "dog")), ("DET", "NOUN"), language="af")])
    assert found["overlap"] == {"af": 100.0}


@pytest.mark.parametrize("format_name", ["ranking", "mining"])
def test_large_pools_have_none(format_name):
    pool = [example(Sentence("Hof", "candidate"), None), example(Sentence("farm", "query"), ("1",))]
    assert baselines(task(format_name), [], pool) == {}


def test_span_tasks_have_none():
    assert baselines(task("span", "squad"), [], [example(Passage("q", "c"), Answers(("c",), (0,)))]) == {}


@pytest.mark.parametrize("order", [1, -1])
def test_ties_do_not_depend_on_row_order(order):
    train = [example(TextPair("x"), label) for label in ("b", "a")][::order]
    assert baselines(task("classification"), train, [example(TextPair("y"), "a")])["majority"] == {"en": 100.0}
