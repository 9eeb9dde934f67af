"""Every check of an Example, through the public door, on a task that generates the damage itself."""

from dataclasses import replace

import pytest

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, Example, GeneratedData, Passage, Sentence, Task, TextPair, Words

CONTEXT = "Die Oper liegt an der Förde."
GOOD = {
    "classification": Example("1", "en", "c", TextPair("a", "b"), "yes"),
    "tagging": Example("1", "en", "c", Words(("Hunde", "bellen")), ("yes", "no")),
    "span": Example("1", "en", "c", Passage("Wo?", CONTEXT), Answers(("an der Förde",), (15,))),
    "choice": Example("1", "en", "c", Choices("", ("x", "y")), 1),
}


def problems(form, *examples):
    data = GeneratedData({"test": ("en",)}, lambda split, language: examples)
    task = Task("damaged", 1, form, "accuracy", data, ("yes", "no"))
    try:
        assert load_examples(task, "test", ("en",), Sources()) == examples
    except XstiltsError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("form", GOOD)
def test_good_rows_pass(form):
    assert problems(form, GOOD[form]) == []


def test_unanswerable_question_passes():
    assert problems("span", replace(GOOD["span"], gold=Answers())) == []


DAMAGE = [
    ("classification", {"gold": None}, "gold: has no gold"),
    ("classification", {"gold": "maybe"}, "gold: label outside the label space; given 'maybe' (allowed: no, yes)"),
    ("classification", {"gold": 2}, "gold: the file does not name the class of this number; given '2'"),
    ("classification", {"fields": TextPair(" \n")}, "first: is empty"),
    ("classification", {"fields": TextPair("a", "")}, "second: is empty"),
    ("classification", {"fields": TextPair("a\0b")}, "first: contains a NUL character; given 'a\\x00b'"),
    ("classification", {"fields": TextPair(17)}, "first: not a text; given '17'"),
    ("tagging", {"gold": None}, "gold: has no gold"),
    ("tagging", {"gold": ("yes",)}, "gold: 1 tags for 2 words"),
    ("tagging", {"gold": ("yes", "yess")}, "did you mean 'yes'?"),
    ("tagging", {"fields": Words(("Hunde", "")), "gold": ("yes", "no")}, "words: is empty"),
    ("tagging", {"fields": Words(()), "gold": ()}, "words: is empty"),
    ("span", {"gold": None}, "gold: has no gold"),
    ("span", {"gold": Answers(("an der",), (14,))}, "the context has ' an de' at 14, not the answer; given 'an der'"),
    ("span", {"gold": Answers(("an der",), (99,))}, "the context has '' at 99, not the answer; given 'an der'"),
    ("span", {"gold": Answers(("an der",), (-1,))}, "at -1, not the answer"),
    ("span", {"gold": Answers(("an der",), ())}, "0 offsets for 1 answers"),
    ("span", {"gold": Answers(("",), (3,))}, "gold: an answer is empty"),
    ("span", {"fields": Passage("", CONTEXT)}, "question: is empty"),
    ("span", {"fields": Passage("Wo?", ""), "gold": Answers()}, "context: is empty"),
    ("span", {"fields": Passage("Wo?", 17)}, "context: not a text; given '17'"),
    ("span", {"fields": Passage(17, CONTEXT)}, "question: not a text; given '17'"),
    ("classification", {"gold": ["yes"]}, "gold: label outside the label space; given \"['yes']\""),
    ("classification", {"gold": 1.5}, "gold: label outside the label space; given '1.5'"),
    ("classification", {"fields": TextPair("a \ud83d b")}, "first: contains a lone surrogate, half of a character"),
    ("classification", {"item_id": 17}, "item_id: not a text; given '17'"),
    ("classification", {"item_id": ["17"]}, "item_id: not a text"),
    ("classification", {"item_id": ""}, "item_id: is empty"),
    ("classification", {"cluster": None}, "cluster: not a text; given 'None'"),
    ("classification", {"cluster": "\udc00"}, "cluster: contains a lone surrogate"),
    ("tagging", {"fields": Words(("Hunde", None))}, "words: not a text; given 'None'"),
    ("tagging", {"gold": ("yes", ["no"])}, "gold: label outside the label space"),
    ("span", {"gold": Answers(("an der",), ("15",))}, "gold: not an answer and its offset; given \"('an der', '15')\""),
    ("span", {"gold": Answers((None,), (15,))}, "gold: not an answer and its offset"),
    ("choice", {"fields": Choices(None, ("x", "y"))}, "prompt: not a text; given 'None'"),
    ("choice", {"gold": None}, "gold: has no gold"),
    ("choice", {"gold": 2}, "gold: not the index of an option; given '2' (allowed: 0, 1)"),
    ("choice", {"gold": "1"}, "gold: not the index of an option"),
    ("choice", {"fields": Choices("", ("x", ""))}, "options: is empty"),
]


@pytest.mark.parametrize(("form", "change", "message"), DAMAGE)
def test_damaged_row_is_named(form, change, message):
    found = problems(form, replace(GOOD[form], item_id="0"), replace(GOOD[form], **change))
    assert len(found) == 1
    assert found[0].startswith("damaged/test/en: example 2: ")
    assert message in found[0]


@pytest.mark.parametrize("text", ["a\r\nb", "\ufeffa", "\U0001f600", "a\u0301", "x" * 100_000])
def test_texts_that_stay_as_they_are(text):
    assert problems("classification", replace(GOOD["classification"], fields=TextPair(text))) == []


def test_item_given_twice():
    row = GOOD["classification"]
    assert problems("classification", row, row) == ["damaged/test/en: example 2: item_id: given twice; given '1'"]


def pair(item, gold):
    return (
        Example(item, "de", item, Sentence("english", "query"), gold),
        Example(item, "de", item, Sentence("deutsch", "candidate"), None),
    )


def test_retrieval_pairs():
    assert problems("retrieval", *pair("1", "1"), *pair("2", "2")) == []
    assert "item_id: given twice" in problems("retrieval", *pair("1", "1"), *pair("1", "1"))[0]
    assert problems("retrieval", *pair("1", "9")) == [
        "damaged/test/en: example 1: gold: no candidate of this language has this item_id; given '9'"
    ]


def test_ranked_answers_may_lie_in_any_language():
    query, candidate = pair("1", ("1|fr", "2|de"))
    pool = [candidate, replace(candidate, language="fr"), replace(candidate, item_id="2")]
    assert problems("ranking", query, *pool) == []
    assert problems("ranking", query, *pool[:2]) == [
        "damaged/test/en: example 1: gold: no candidate has this key; given '2|de'"
    ]
    assert problems("ranking", replace(query, gold=()), candidate) == []


def test_a_mined_sentence_may_have_any_number_of_translations():
    query, candidate = pair("1", ())
    assert problems("mining", query, candidate) == []
    assert problems("mining", replace(query, gold=("1",)), candidate) == []
    assert "no candidate of this language" in problems("mining", replace(query, gold=("1", "7")), candidate)[0]


def test_retrieval_is_trained_on_pairs_whose_gold_is_no_label():
    row = Example("1", "en", "c", TextPair("who?", "me."), "7")
    assert problems("ranking", row) == []
    assert "second: is empty" in problems("ranking", replace(row, fields=TextPair("who?", "")))[0]


def test_equal_problems_are_told_once_and_many_are_cut():
    bad = [replace(GOOD["classification"], item_id=str(i), gold="maybe") for i in range(1000)]
    assert problems("classification", *bad)[0].startswith(
        "damaged/test/en: example 1: gold: label outside the label space (and in 999 more examples); given 'maybe'"
    )
    bad = [replace(row, gold=f"label {i}") for i, row in enumerate(bad)]
    found = problems("classification", *bad)
    assert len(found) == 31
    assert found[-1] == "data: and 970 more problems like these"


def test_generated_task_without_rows():
    assert problems("classification") == ["damaged/test/en: no examples"]


# --------------------------------------------------------------------------------------------------------- parallel


ALTHOUGH = "although the languages are translations of each other"


def parallel_problems(items, split="test", subsets=frozenset()):
    def examples(split, language):
        return tuple(replace(GOOD["classification"], item_id=item, language=language) for item in items[language])

    task = Task("p", 1, "classification", "accuracy", GeneratedData({split: tuple(items)}, examples), ("yes", "no"))
    try:
        load_examples(replace(task, parallel=True), split, tuple(items), Sources(subsets=subsets))
    except XstiltsError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_parallel_languages_have_the_same_items():
    assert parallel_problems({"en": "123", "de": "321", "sw": "123"}) == []
    assert parallel_problems({"en": "12345678", "de": "1", "sw": "12345679"}) == [
        f"task p: de: lacks items of 'en', {ALTHOUGH}: 7 items; given '2, 3, 4, 5, 6, …'",
        f"task p: sw: lacks items of 'en', {ALTHOUGH}: 1 items; given '8'",
        f"task p: sw: has items that 'en' lacks, {ALTHOUGH}: 1 items; given '9'",
    ]


def test_where_items_may_differ():
    """In training rows; and a file that is damaged anyway is told as such alone."""
    different = {"en": "123", "de": "12"}
    assert parallel_problems(different, split="train") == []
    told = parallel_problems(different, subsets=frozenset({"p"}))
    assert told == [f"task p: de: lacks items of 'en', {ALTHOUGH}: 1 items; given '3'"]
    assert parallel_problems({"en": "123", "de": "11"}) == ["p/test/de: example 2: item_id: given twice; given '1'"]
