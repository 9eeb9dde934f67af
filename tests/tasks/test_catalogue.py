"""Every task of the catalogue: counted, declared in full, and loaded from rows in the schema of its source."""

import subprocess
import sys
from pathlib import Path

import pytest

from xstilts.data import load_examples
from xstilts.errors import XstiltsError
from xstilts.formats import load_format
from xstilts.metrics import load_metric
from xstilts.spec import GeneratedData, HubData, UserData, is_candidate
from xstilts.tasks import load_task, task_names

ROOT = Path(__file__).parents[2]
GENERATED = 17
REAL = tuple(name for name in task_names() if not isinstance(load_task(name).data, GeneratedData))
REAL_TASKS = 36


def test_tasks_are_counted():
    assert len(REAL) == REAL_TASKS
    assert len(task_names()) == GENERATED + REAL_TASKS


@pytest.mark.parametrize("name", REAL)
def test_declaration(name):
    task = load_task(name)
    assert task.name == name
    assert task.licence
    assert task.citation
    assert load_metric(task.metric).name == task.metric
    assert load_format(task.format).name == task.format
    assert len(set(task.data.parts)) == len(task.data.parts)
    assert set(task.overlaps) <= set(task_names())
    if isinstance(task.data, HubData):
        assert all(len(part.revision) == 40 for part in task.data.parts), "a commit hash, not a branch"
    else:
        assert isinstance(task.data, UserData)
        assert task.data.obtain
    for split in ("train", "dev"):
        english = set(task.languages(split)) <= {"en", "mul"}
        assert english or task.format == "mining", "labels are English only; a threshold is chosen in each language"


@pytest.mark.parametrize("name", REAL)
def test_loads_from_its_fixture(name, from_fixture):
    whole = load_task(name)
    task, sources = from_fixture(name)
    for split in ("train", "dev", "test"):
        assert bool(task.languages(split)) == bool(whole.languages(split)), f"the fixture has no {split}"
        if task.languages(split):
            examples = load_examples(task, split, task.languages(split), sources)
            asked = {example.language for example in examples if not is_candidate(example)}
            assert asked == set(task.languages(split))


@pytest.mark.parametrize(
    ("name", "split", "path"),
    [
        ("bucc_mining", "test", "bucc2018/de-en/de-en.training.gold"),
        ("ccg", "train", "ccg/AUTO/02/wsj_0200.auto"),
        ("ccg_pmb", "train", "ccg_pmb/train.conll"),
        ("mewsli_x", "test", "mewsli_x/wikinews_mentions-test.jsonl"),
        ("mlm", "train", "mlm/de.txt"),
        ("udpos", "train", "ud-treebanks-v2.5/UD_English-EWT/en_ewt-ud-train.conllu"),
    ],
)
def test_a_line_of_a_users_file_that_is_not_utf8_is_named(name, split, path, from_fixture):
    task, sources = from_fixture(name)
    file = sources.files / path
    content = file.read_bytes()
    file.write_bytes(content + b"caf\xe9\n")
    with pytest.raises(XstiltsError) as caught:
        load_examples(task, split, task.languages(split)[:1], sources)
    expected = f"{file.name}, line {len(content.splitlines()) + 1}: is not UTF-8 text"
    assert any(expected in str(problem) for problem in caught.value.problems)


def test_the_page_of_the_catalogue_is_current():
    shown = subprocess.run(
        [sys.executable, "experiments/list_tasks.py"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8") == shown.stdout
    (tydiqa,) = [line for line in shown.stdout.splitlines() if line.startswith("| `tydiqa`")]
    assert "| 49,881 | 49,881 | 5,077 | 9 |" in tydiqa, "one test file of nine languages, counted once"
    (mewsli_x,) = [line for line in shown.stdout.splitlines() if line.startswith("| `mewsli_x`")]
    assert "| 1,018,517 | 11 |" in mewsli_x, "examples, which the languages of one file do not share"
