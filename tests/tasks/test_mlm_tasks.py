"""Text for masked language modelling: the user's, and that of the miniature."""

import pytest

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.mini.draw import is_held_out as is_held_out_fact
from xstilts.mini.facts import FACT_TYPES
from xstilts.mini.languages import CODES
from xstilts.spec import TextPair, UserPart
from xstilts.tasks import load_task, mini_mlm
from xstilts.tasks.mlm import HELD_OUT, is_held_out, read


def test_lines_are_examples_and_blank_ones_are_not(examples_of):
    train = {example.item_id: example.fields for example in examples_of("mlm", "train")}
    assert train == {
        "de.txt:1": TextPair("Das Haus Nummer 1 liegt am Meer."),
        "de.txt:4": TextPair("Das Haus Nummer 2 liegt am Meer."),
        "en/houses.txt:1": TextPair("House number 1 is by the sea."),
        "en/houses.txt:4": TextPair("House number 2 is by the sea."),
    }


def test_held_out_lines_are_dev(examples_of):
    dev = examples_of("mlm", "dev")
    assert {example.item_id for example in dev} == {"de.txt:2", "en/houses.txt:3"}
    assert {(example.language, example.gold) for example in dev} == {("mul", None)}
    assert load_task("mlm").languages("test") == ()


def test_one_line_in_a_hundred_is_held_out_and_its_copies_too(tmp_path):
    file = tmp_path / "mlm" / "mlm" / "x.txt"
    file.parent.mkdir(parents=True)
    lines = [f"line {number}" for number in range(5000)]
    file.write_text("\n".join([*lines, *lines]))
    found = {split: list(read(file, UserPart(split, "mul", ""))) for split in ("train", "dev")}
    texts = {split: {example.fields.first for example in rows} for split, rows in found.items()}
    assert not texts["train"] & texts["dev"]
    assert len(found["train"]) + len(found["dev"]) == 10_000
    assert 0.7 < len(texts["dev"]) / 5000 * HELD_OUT < 1.3
    assert found["train"][0].item_id == "x.txt:1"


def test_no_files_and_no_utf8_are_told(tmp_path):
    task = load_task("mlm")
    with pytest.raises(XstiltsError, match="one sentence or paragraph per line"):
        load_examples(task, "train", ("mul",), Sources(None, None))
    (tmp_path / "mlm").mkdir()
    (tmp_path / "mlm" / "latin.txt").write_bytes("a\n\nb\ncaf\u00e9\n".encode("latin-1"))
    with pytest.raises(XstiltsError, match=r"latin\.txt, line 4: is not UTF-8 text"):
        load_examples(task, "train", ("mul",), Sources(None, tmp_path))


def test_the_miniature_speaks_many_languages_and_keeps_test_facts_out(monkeypatch):
    drawn = []
    write = mini_mlm.write
    monkeypatch.setattr(
        mini_mlm, "write", lambda record, language: drawn.append((record, language)) or write(record, language)
    )
    task = load_task("mini_mlm")
    train, dev = (mini_mlm.examples(split, "mul") for split in ("train", "dev"))
    assert (len(train), len(dev)) == (2000, 200)
    assert task.languages("train") == task.languages("dev") == ("mul",) and task.languages("test") == ()
    assert {len(record) for record, _ in drawn} == {1, 2, 3, 4} and len(FACT_TYPES) >= 4
    assert not any(is_held_out_fact(shown.fact.key) for record, _ in drawn for shown in record)
    languages = [language for _, language in drawn]
    assert set(languages) < set(CODES) and languages.count("en") > 2 * languages.count("qu") > 0
    assert mini_mlm.examples("dev", "mul") == dev
    assert is_held_out("House number 93 is by the sea.")
