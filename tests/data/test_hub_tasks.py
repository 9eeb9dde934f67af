"""Every task of the hub through the real client: the fixtures of the tasks, served as repositories by our own hub."""

import hashlib
import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path

import datasets
import pytest

from xstilts.data import Sources, load_examples
from xstilts.data.rows import fingerprint
from xstilts.spec import HubData
from xstilts.tasks import load_task, task_names

TASKS = Path(__file__).parents[1] / "tasks"
SPLITS = ("train", "dev", "test")
# Loads tasks, cut down to the parts that are named, and prints task → split → fingerprint of its Examples, or an error.
PROGRAM = """
import json, sys
from dataclasses import replace
from xstilts.data import Sources, load_examples
from xstilts.data.rows import fingerprint
from xstilts.errors import XstiltsError
from xstilts.spec import Part
from xstilts.tasks import load_task

found = {}
for name, parts in json.load(open(sys.argv[1])).items():
    task = load_task(name)
    task = replace(task, data=replace(task.data, parts=tuple(Part(**part) for part in parts)))
    found[name] = {}
    for split in ("train", "dev", "test"):
        try:
            rows = load_examples(task, split, task.languages(split), Sources())
            found[name][split] = fingerprint(rows)
        except XstiltsError as error:
            found[name][split] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fixtures():
    """The helpers of ``tests/tasks/conftest.py``."""
    spec = importlib.util.spec_from_file_location("task_fixtures", TASKS / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commit_of(*names):
    """A commit for each task and revision: tasks may read other rows of the same repository."""
    return hashlib.sha1("|".join(names).encode()).hexdigest()


def test_every_task_gives_the_same_examples_from_the_hub_as_from_a_mirror(hub, against_hub, fixtures, tmp_path):
    datasets.disable_progress_bars()
    expected, asked = {}, {}
    for name in task_names():
        task = load_task(name)
        if not isinstance(task.data, HubData):
            continue
        files = json.loads((fixtures.FIXTURES / f"{name}.json").read_text(encoding="utf-8"))["hub"]
        sources = Sources(tmp_path / "mirrors" / name)
        for file in files:
            fixtures.write_hub_file(sources.mirror, file)
        fixtures.write_headers(sources.mirror, files)
        there = [part for part in task.data.parts if fixtures._in_hub(part, sources)]
        parts = [replace(part, rows=None, revision=commit_of(name, part.revision)) for part in there]
        for repo, commit in {(part.repo, part.revision) for part in parts}:
            hub.add("dataset", repo, sources.mirror / repo, commit)
        task = replace(task, data=replace(task.data, parts=tuple(parts)))
        rows = {split: load_examples(task, split, task.languages(split), sources) for split in SPLITS}
        assert any(rows.values()) and {part.split for part in task.data.parts} == {part.split for part in parts}
        expected[name] = {split: fingerprint(rows[split]) for split in SPLITS}
        asked[name] = [asdict(part) for part in parts]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    process = against_hub("-c", PROGRAM, str(tmp_path / "asked.json"))
    shown, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(shown) == expected
