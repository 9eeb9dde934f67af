"""A flaw of a row is told with the file, the row and the file's own columns, whatever the task makes of them."""

import pytest

from xstilts.data import load_examples
from xstilts.data.columns import Reading, Spot, origin
from xstilts.data.sources import repositories
from xstilts.data.table import read_rows
from xstilts.errors import XstiltsError
from xstilts.spec import Choices, HubData, Passage, Sentence, TextPair, Words
from xstilts.tasks import load_task, task_names

NLI = {"first": "premise", "second": "hypothesis", "gold": "label"}
SPAN = {"item_id": "id", "question": "question", "context": "context", "gold": "answers.text answers.answer_start"}
COPA = {"item_id": "idx", "options 0": "choice1", "options 1": "choice2"}
COSMOSQA = {
    "item_id": "id",
    "prompt": "context question",
    "gold": "label",
    **{f"options {number}": f"answer{number}" for number in range(4)},
}
HELLASWAG = {
    "item_id": "",
    "prompt": "ctx_a",
    "gold": "label",
    **{f"options {number}": "ctx_b endings" for number in range(4)},
}
PANX = {"item_id": "", "words": "tokens", "gold": "ner_tags"}
UDPOS = {"item_id": "", "words": "tokens", "gold": "pos_tags"}
ENGLISH = ("query item_id", "query gold", "query text", "candidate item_id")
# task → part of the Example → the columns that it is made from in every row of the fixture; "query text" is the text of
# a query, "options 0" the first option. Texts that a row lacks and clusters are left out.
ORIGINS = {
    "anli_plus": {"item_id": "", **NLI},
    "bucc_gold": {
        "query item_id": "",
        "query gold": "",
        "candidate item_id": "",
        "query text": "target_sentence",
        "candidate text": "source_sentence",
    },
    "copa": {**COPA, "prompt": "premise", "gold": "question label"},
    "cosmosqa": COSMOSQA,
    "cosmosqa_offline": COSMOSQA,
    "csqa": {
        "item_id": "id",
        "prompt": "question",
        "gold": "choices.label answerKey",
        **{f"options {number}": "choices.text" for number in range(5)},
    },
    "hellaswag": HELLASWAG,
    "hellaswag_offline": HELLASWAG,
    "mlqa": {**SPAN, "gold": "answers.text"},  # an answer that is elsewhere in the context is found there
    "mnli": {"item_id": "idx", **NLI},
    "mnli_offline": {"item_id": "idx", **NLI},
    "panx": PANX,
    "panx_r": PANX,
    "pawsx": {"item_id": "id", "first": "sentence1", "second": "sentence2", "gold": "label"},
    "qqp": {"item_id": "idx", "first": "question1", "second": "question2", "gold": "label"},
    "sib200": {"item_id": "index_id", "first": "text", "gold": "category"},
    "siqa": {
        "item_id": "",
        "prompt": "context question",
        "gold": "label",
        **{f"options {number}": f"answer{letter}" for number, letter in enumerate("ABC")},
    },
    "squad1": SPAN,
    "squad2": SPAN,
    "tatoeba": {
        **dict.fromkeys(ENGLISH, "target_sentence"),
        "candidate text": "source_sentence",
    },
    "tatoeba_r": {
        **dict.fromkeys(ENGLISH, "target_sentence|sentence2"),
        "candidate text": "source_sentence|sentence1",
    },
    "tydiqa": {**SPAN, "gold": "answers.text"},
    "udpos_hub": UDPOS,
    "udpos_pud": UDPOS,
    "xcopa": {**COPA, "prompt": "premise|idx premise", "gold": "question label|label"},  # of COPA's rows | of XCOPA's
    "xnli": {"item_id": "", **NLI},
    "xquad": SPAN,
    "xquad_r": SPAN,
}
TEXTS = {
    TextPair: ("first", "second"),
    Words: ("words",),
    Passage: ("question", "context"),
    Choices: ("prompt", "options"),
    Sentence: ("text",),
}


def test_every_task_of_the_hub_is_here():
    assert sorted(ORIGINS) == sorted(name for name in task_names() if isinstance(load_task(name).data, HubData))
    assert len(ORIGINS) == 28


def rows_of(task, sources):
    """(reading, row, its number, Examples) of every row of a fixture."""
    for part in task.data.parts:
        repository = repositories(sources, [part])[part.repo, part.revision]
        reading = Reading(task.data.read, part, part.columns or task.data.columns)
        files = repository.data_files(part.config, part.hub_split)
        rows = (row for file in files for _, row in read_rows(file, reading.columns))
        for number, row in enumerate(rows):
            yield reading, row, number, reading(row, number)


def spots(example):
    """(name in ``ORIGINS``, spot) of the parts of an Example that have a value."""
    role = f"{example.fields.role} " if isinstance(example.fields, Sentence) else ""
    yield f"{role}item_id", Spot("item_id")
    if example.gold is not None:
        yield f"{role}gold", Spot("gold")
    for part in TEXTS[type(example.fields)]:
        value = getattr(example.fields, part)
        if part == "options":
            yield from ((f"options {number}", Spot(part, number)) for number in range(len(value)))
        elif value is not None:
            yield f"{role}{part}", Spot(part)


@pytest.mark.parametrize("name", ORIGINS)
def test_every_part_of_every_example_is_traced_to_its_columns(name, from_fixture):
    found = {}
    for reading, row, number, examples in rows_of(*from_fixture(name)):
        for index, example in enumerate(examples):
            for part, spot in spots(example):
                found.setdefault(part, set()).add(" ".join(origin(reading, row, number, index, spot)))
    assert found == {part: set(columns.split("|")) for part, columns in ORIGINS[name].items()}


# -------------------------------------------------------------------------------------------------------- messages


def change(config, split, number, **values):
    """Damage that puts other values into a row of a fixture."""

    def damage(content):
        (file,) = (file for file in content["hub"] if (file["config"], file["split"]) == (config, split))
        file["rows"][number] |= values

    return damage


def answers(*pairs):
    return {"text": [text for text, _ in pairs], "answer_start": [start for _, start in pairs]}


TWO_IDS = {"id": "56beb4343aeaaa14008c925b"}
EMPTY_OPTION = {"choices": {"label": ["A", "B", "C", "D", "E"], "text": ["a", "b", "", "d", "e"]}}
ANSWERS = "columns 'answers.text', 'answers.answer_start' (gold)"
# task, split, config and split on the hub, row, its new values → what is told.
DAMAGE = [
    ("sib200", "test", "zho_Hans/test", 0, {"category": "news"}, "column 'category' (gold): label outside the label"),
    ("sib200", "test", "eng_Latn/test", 0, {"text": " "}, "column 'text' (first): is empty"),
    ("xnli", "dev", "en/validation", 0, {"label": -1}, "column 'label' (gold): the file does not name the class"),
    ("xnli", "dev", "en/validation", 0, {"hypothesis": "\0"}, "column 'hypothesis' (second): contains a NUL"),
    ("udpos_hub", "test", "udpos.German/test", 0, {"pos_tags": [1]}, "column 'pos_tags' (gold): 1 tags for 5 words"),
    ("udpos_hub", "test", "udpos.English/test", 1, {"tokens": [""]}, "column 'tokens' (words): is empty"),
    ("panx", "test", "sw/test", 0, {"tokens": [], "ner_tags": []}, "column 'tokens' (words): is empty"),
    ("xquad", "test", "xquad.en/validation", 1, {"answers": answers(("Two", 4))}, f"{ANSWERS}: the context has 'men'"),
    ("xquad", "test", "xquad.en/validation", 1, {"answers": answers()}, "column 'answers.text' (gold): has no gold"),
    ("xquad", "test", "xquad.en/validation", 2, {"question": " "}, "column 'question': is empty"),
    ("xquad", "test", "xquad.en/validation", 1, TWO_IDS, "column 'id' (item_id): given twice; given '56beb4343aeaaa1"),
    ("mlqa", "test", "MLQA.de.de/test", 0, {"answers": answers(("x", 0))}, f"{ANSWERS}: the context has"),
    ("siqa", "train", "default/train", 1, {"label": "4"}, "column 'label' (gold): not the index of an option"),
    ("siqa", "train", "default/train", 1, {"answerB": ""}, "column 'answerB' (options): is empty"),
    ("siqa", "train", "default/train", 0, {"question": "\0"}, "columns 'context', 'question' (prompt): contains a NUL"),
    ("xcopa", "test", "et/test", 0, {"label": 2}, "column 'label' (gold): not the index of an option; given '2'"),
    ("csqa", "train", "default/train", 0, EMPTY_OPTION, "column 'choices.text' (options): is empty"),
    ("tatoeba", "test", "tatoeba.deu/validation", 1, {"source_sentence": "\n"}, "column 'source_sentence' (text): is"),
    ("tatoeba", "test", "tatoeba.deu/validation", 1, {"target_sentence": "\n"}, "column 'target_sentence' (text): is"),
]


@pytest.mark.parametrize(("name", "split", "file", "number", "values", "message"), DAMAGE)
def test_a_flaw_names_the_files_columns(from_fixture, name, split, file, number, values, message):
    task, sources = from_fixture(name, change(*file.split("/"), number, **values))
    with pytest.raises(XstiltsError) as caught:
        load_examples(task, split, task.languages(split), sources)
    (told,) = map(str, caught.value.problems)
    assert f"/{file}-00000-of-00001.parquet: row {number}: {message}" in told
