"""The user's translations of training rows."""

import json
from dataclasses import replace

import pytest

from xstilts.data import Sources, load_training
from xstilts.data.translation import load_translation
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, Example, GeneratedData, Passage, Task, TextPair, Words

ENGLISH = {
    "classification": (
        Example("a", "en", "1", TextPair("A dog runs.", "A dog sleeps."), "no"),
        Example("b", "en", "1", TextPair("A dog runs.", "An animal runs."), "yes"),
        Example("c", "en", "2", TextPair("Snow falls."), "yes"),
    ),
    "choice": (
        Example("a", "en", "1", Choices("It rained.", ("It was wet.", "It was dry.")), 0),
        Example("b", "en", "2", Choices("", ("Yes.", "No.")), 1),
    ),
    "span": (
        Example("a", "en", "1", Passage("Where?", "It lies on the fjord."), Answers(("on the fjord",), (8,))),
        Example("b", "en", "1", Passage("When?", "It lies on the fjord."), Answers()),
    ),
    "tagging": (Example("a", "en", "1", Words(("Dogs", "bark")), ("yes", "no")),),
}
GERMAN = {
    "classification": [
        {"item_id": "c", "first": "Schnee fällt.", "second": ""},
        {"item_id": "a", "first": "Ein Hund läuft.", "second": "Ein Hund schläft.", "note": None},
        {"item_id": "b", "first": "Ein Hund läuft.", "second": "Ein Tier läuft."},
    ],
    "choice": [
        {"item_id": "a", "prompt": "Es regnete.", "options": ["Es war nass.", "Es war trocken."]},
        {"item_id": "b", "prompt": "", "options": ["Ja.", "Nein."]},
    ],
    "span": [
        {
            "item_id": "a",
            "question": "Wo?",
            "context": "Es liegt an der Förde.",
            "answers": {"texts": ["an der Förde"], "starts": [9]},
        },
        {"item_id": "b", "question": "Wann?", "context": "Es liegt hier.", "answers": {"texts": [], "starts": []}},
    ],
}


@pytest.fixture
def load(tmp_path):
    """``load(format, rows)`` writes the rows as the German translation of ``toy`` and loads it."""

    def run(form, rows, split="train"):
        data = GeneratedData({"train": ("en",)}, lambda split, language: ENGLISH[form])
        task = Task("toy", 1, form, "accuracy", data, ("yes", "no"), no_answer=True)
        path = tmp_path / "translated" / "toy" / "de" / "train.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return load_translation(task, split, "de", Sources(files=tmp_path), ENGLISH[form])

    return run


@pytest.fixture
def told(load):
    def run(form, rows, split="train"):
        with pytest.raises(XstiltsError) as caught:
            load(form, rows, split)
        return [str(problem).partition("train.jsonl: ")[2] for problem in caught.value.problems]

    return run


def test_pairs_keep_order_ids_clusters_and_gold_of_the_published_rows(load):
    assert load("classification", GERMAN["classification"]) == (
        Example("a", "de", "1", TextPair("Ein Hund läuft.", "Ein Hund schläft."), "no"),
        Example("b", "de", "1", TextPair("Ein Hund läuft.", "Ein Tier läuft."), "yes"),
        Example("c", "de", "2", TextPair("Schnee fällt."), "yes"),
    )


def test_choices(load):
    assert load("choice", GERMAN["choice"]) == (
        Example("a", "de", "1", Choices("Es regnete.", ("Es war nass.", "Es war trocken.")), 0),
        Example("b", "de", "2", Choices("", ("Ja.", "Nein.")), 1),
    )


def test_passages_bring_their_answers(load):
    assert load("span", GERMAN["span"]) == (
        Example("a", "de", "1", Passage("Wo?", "Es liegt an der Förde."), Answers(("an der Förde",), (9,))),
        Example("b", "de", "1", Passage("Wann?", "Es liegt hier."), Answers()),
    )


def test_items_must_be_those_of_the_published_rows(told):
    rows = GERMAN["classification"]
    strange = [{**rows[0], "item_id": f"x{number}"} for number in range(7)]
    assert told("classification", [rows[1], rows[1], *strange]) == [
        "2 items are missing; given 'b, c'",
        "7 items are not in the published data; given 'x0, x1, x2, x3, x4, …'",
        "line 2: column 'item_id': given twice; given 'a'",
    ]


def changed(form, number, **change):
    rows = list(GERMAN[form])
    rows[number] = {**rows[number], **change}
    return rows


DAMAGE = [
    ("classification", 1, {"first": " "}, "line 2: column 'first': is empty"),
    ("classification", 1, {"second": None}, "line 2: column 'second': no value"),
    ("classification", 1, {"first": "a\0"}, "line 2: column 'first': contains a NUL character"),
    ("classification", 1, {"first": "\ud83d"}, "line 2: column 'first': contains a lone surrogate"),
    ("choice", 0, {"options": ["Nur eine."]}, "line 1: column 'options': 1 options where the published row has 2"),
    ("choice", 0, {"options": "ab"}, "line 1: column 'options': not a list; given 'ab'"),
    ("choice", 0, {"options": ["Ja.", ""]}, "line 1: column 'options': is empty"),
    (
        "span",
        0,
        {"answers": {"texts": ["an der Förde"], "starts": [8]}},
        "line 1: columns 'answers.texts', 'answers.starts' (gold): the context has ' an der Förd' at 8",
    ),
    (
        "span",
        0,
        {"answers": {"texts": ["an der Förde"], "starts": []}},
        "line 1: column 'answers.starts': the published question is",
    ),
    (
        "span",
        1,
        {"answers": {"texts": ["hier"], "starts": [9]}},
        "line 2: column 'answers.texts': the published question is unan",
    ),
    ("span", 0, {"answers": {"texts": "an", "starts": 9}}, "line 1: column 'answers.texts': not a list; given 'an'"),
]


@pytest.mark.parametrize(("form", "number", "change", "message"), DAMAGE)
def test_damaged_rows_are_named(told, form, number, change, message):
    found = told(form, changed(form, number, **change))
    assert len(found) == 1 and found[0].startswith(message)


def test_an_item_that_is_not_a_text(told):
    assert told("choice", changed("choice", 0, item_id=5)) == [
        "1 items are missing; given 'a'",
        "line 1: column 'item_id': not a text; given '5'",
    ]


def test_missing_columns(told):
    rows = [{"item_id": "a", "first": "x"}]
    assert told("classification", rows)[0].startswith("line 1: missing column; given 'second'")
    rows = [{"item_id": "a", "question": "Wo?", "context": "Da.", "answers": ["Da"]}]
    assert [each.partition(", did")[0].partition(" (")[0] for each in told("span", rows)] == [
        "line 1: missing column; given 'answers.texts'",
        "line 1: missing column; given 'answers.starts'",
    ]


def test_what_is_not_translated(load):
    with pytest.raises(XstiltsError, match=r"task toy: rows of this format have no translation.*; given 'tagging'"):
        load("tagging", [])
    with pytest.raises(XstiltsError, match="task toy: only training rows can be translated; given 'dev'"):
        load("choice", [], "dev")


def test_what_to_put_where(load, tmp_path):
    load("choice", GERMAN["choice"])
    data = GeneratedData({"train": ("en",)}, lambda split, language: ENGLISH["span"])
    task = Task("toy", 1, "span", "squad", data, no_answer=True)
    layout = "one JSON object a line, for each of the 2 published rows, with item_id, question, context, answers.texts"
    with pytest.raises(XstiltsError, match=f"--files; it holds translated/toy/sw/train.jsonl: {layout}"):
        load_training(task, "sw", Sources())
    with pytest.raises(XstiltsError, match=f"translated/toy/sw/train.jsonl: is not there; it should hold {layout}"):
        load_training(task, "sw", Sources(files=tmp_path))


def test_a_translation_is_read_once(tmp_path):
    data = GeneratedData({"train": ("en",)}, lambda split, language: ENGLISH["choice"])
    task = Task("toy", 1, "choice", "accuracy", data)
    path = tmp_path / "translated" / "toy" / "de" / "train.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in GERMAN["choice"]))
    first = load_training(task, "de", Sources(files=tmp_path))
    path.write_text("damaged")
    assert load_training(task, "de", Sources(files=tmp_path)) is first
    with pytest.raises(XstiltsError, match="line 1: is not JSON"):
        load_training(replace(task), "de", Sources(files=tmp_path))
