"""docs/translations.md does what it says: rows are exported, translated by its program, and trained on."""

import importlib.util
import json
import re
import runpy
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from xstilts.data import Sources, load_training
from xstilts.data.export import export_rows, rows
from xstilts.data.translation import translatable
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, Example, GeneratedData, Passage, Task, TextPair
from xstilts.tasks import load_task, task_names

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "translations.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python (.+)$", GUIDE, flags=re.MULTILINE)]


def program(name):
    """The command line of ``experiments/<name>.py``: (arguments) → exit code."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


# ------------------------------------------------------------------------------------------------------- the guide


def test_the_guide_is_followed_to_the_plan(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    export, translate, run = COMMANDS
    assert export[0] == "experiments/export_rows.py" and program("export_rows")(export[1:]) == 0
    assert capsys.readouterr().out == "files/translated/mini_squad2/en/train.jsonl: 3,000 rows\n"
    runpy.run_path(*translate)
    task = load_task("mini_squad2")
    english = load_training(task, None, Sources(files=Path("files")))
    german = load_training(task, "de", Sources(files=Path("files")))
    assert [each.item_id for each in german] == [each.item_id for each in english]
    assert {each.language for each in german} == {"de"}
    assert sum(bool(each.gold.texts) for each in german) == sum(bool(each.gold.texts) for each in english) == 2000
    assert not any("[" in each.fields.context or " and " in each.fields.context for each in german)
    moved = [now for now, then in zip(german, english, strict=True) if now.gold.starts != then.gold.starts]
    assert len(moved) > 10, "some answers stand elsewhere than in English"
    assert run[0] == "experiments/run.py" and program("run")([*run[1:], "--store", "store", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^to do .* train mini_squad2@de .* translated/mini_squad2/de/$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in task_names() if name.startswith("mini_")])
def test_the_guide_says_which_tasks_are_translated(name):
    task = load_task(name)
    told = task.format in re.findall(r"^\| (\w+) \|", GUIDE, flags=re.MULTILINE)
    assert told == translatable(task)


# --------------------------------------------------------------------------------------------------------- the rows

TOYS = {
    "classification": [
        Example("a", "en", "1", TextPair("A dog\u2028runs.", "A \"dog\"\nsleeps."), "no"),
        Example("b", "en", "2", TextPair("Snow falls."), "yes"),
    ],
    "choice": [
        Example("a", "en", "1", Choices("", ("Yes.", "No.", "ü")), 1),
        Example("b", "en", "2", Choices("Ö?", ("1", "2", "3")), 0),
    ],
    "span": [
        Example("a", "en", "1", Passage("Where?", "On the 🛶 fjord, a fjord."), Answers(("fjord", "fjord."), (9, 18))),
        Example("b", "en", "1", Passage("When?", "On the fjord."), Answers()),
    ],
}  # fmt: skip
FIELDS = {
    "classification": {"item_id", "first", "second"},
    "choice": {"item_id", "prompt", "options"},
    "span": {"item_id", "question", "context", "answers"},
}


def toy(form):
    data = GeneratedData({"train": ("en",)}, lambda split, language: TOYS[form])
    return Task("toy", 1, form, "accuracy", data, ("yes", "no"), no_answer=True)


@pytest.mark.parametrize("form", TOYS)
def test_what_is_exported_is_read_back_as_a_translation(form, tmp_path):
    path, count = export_rows(toy(form), Sources(), tmp_path)
    assert (path, count) == (tmp_path / "translated" / "toy" / "en" / "train.jsonl", 2)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [set(json.loads(line)) for line in lines[:-1]] == [FIELDS[form]] * 2 and lines[-1] == ""
    path.parent.rename(path.parents[1] / "sw")
    translated = load_training(toy(form), "sw", Sources(files=tmp_path))
    assert list(translated) == [replace(each, language="sw") for each in TOYS[form]]


def test_single_texts_have_no_second_field():
    assert rows(TOYS["classification"][1:]) == [{"item_id": "b", "first": "Snow falls."}]


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    first, _ = export_rows(toy("choice"), Sources(), tmp_path)
    content = first.read_bytes()
    first.write_text("old")
    again, _ = export_rows(toy("choice"), Sources(), tmp_path)
    assert again.read_bytes() == content
    assert [path.name for path in again.parent.iterdir()] == ["train.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--task mini_ccg", "task mini_ccg: rows of this format are not translated; with --lang they stay"),
        ("--task mlm", "task mlm: rows of this format are not translated"),
        ("--task mini_tatoeba", "task mini_tatoeba: rows of this format are not translated"),
        ("--task mini_mnly", "--task: unknown task; given 'mini_mnly', did you mean 'mini_mnli'?"),
        ("--task mnli --data nowhere", "data: the mirror is not a directory; given 'nowhere'"),
    ],
)
def test_bad_input_is_one_message_and_no_file(tmp_path, capsys, line, message):
    assert program("export_rows")([*line.split(), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"error: {message}") and shown.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_task_without_training_rows_is_refused(tmp_path):
    untrained = replace(toy("choice"), data=GeneratedData({"test": ("en",)}, lambda split, language: []))
    with pytest.raises(XstiltsError, match="task toy: has no training rows to translate"):
        export_rows(untrained, Sources(), tmp_path)


def test_a_disk_that_refuses_is_one_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XstiltsError, match=r"the file system refuses: not a directory|file exists"):
        export_rows(toy("choice"), Sources(), tmp_path / "file")
