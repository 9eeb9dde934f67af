"""Every task of real data on a few rows of our own, in the schema of its source: ``fixtures/<task>.json``.

    {"hub": [{"repo": "org/name", "config": "c", "split": "train", "columns": {…}, "rows": [{…}, …]}, …],
     "user": {"path/below/the/users/files.txt": "content", …}}

A column is a type name (``"string"``, ``"int64"``), ``{"class": [names]}``, ``{"list": column}`` or
``{"struct": {name: column}}``. A hub file may give ``"path"``, the name of the file as the hub has it, and then
``"text"`` instead of columns and rows. Languages and splits that a fixture leaves out are left out of the task.
"""

import json
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Features, Sequence, Value

from xstilts.data import Sources, load_examples
from xstilts.data.layout import read_repository
from xstilts.errors import XstiltsError
from xstilts.spec import HubData
from xstilts.tasks import load_task

FIXTURES = Path(__file__).parent / "fixtures"


def feature(column):
    if isinstance(column, str):
        return Value(column)
    ((kind, inner),) = column.items()
    if kind == "class":
        return ClassLabel(names=inner)
    if kind == "list":
        return Sequence(feature(inner))
    return {name: feature(each) for name, each in inner.items()}


def write_hub_file(root, file):
    """Write one file of a repository as the hub holds it."""
    default = f"{file['config']}/{file['split']}-00000-of-00001.parquet"
    path = root / file["repo"] / file.get("path", default)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "text" in file:
        path.write_text(file["text"], encoding="utf-8")
        return
    features = Features({name: feature(column) for name, column in file["columns"].items()})
    columns = {name: [row[name] for row in file["rows"]] for name in features}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def write_headers(root, files):
    """Write the README of every repository that names its files itself."""
    named = [file for file in files if "path" in file]
    for repo in {file["repo"] for file in named}:
        lines = ["---", "configs:"]
        for file in named:
            if file["repo"] == repo:
                lines += [f"- config_name: {file['config']}", "  data_files:"]
                lines += [f"  - split: {file['split']}", f"    path: {file['path']}"]
        (root / repo / "README.md").write_text("\n".join([*lines, "---", ""]))


@pytest.fixture
def from_fixture(tmp_path):
    """``from_fixture(task name)`` → the task cut down to what its fixture holds, and the sources that hold it.

    ``from_fixture(task name, damage)``: what ``damage`` leaves of the fixture's content, which it is given.
    """
    datasets.disable_progress_bars()

    def build(name, damage=None):
        content = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
        if damage:
            damage(content)
        sources = Sources(tmp_path / "hub", tmp_path / "files")
        for file in content.get("hub", ()):
            write_hub_file(tmp_path / "hub", file)
        write_headers(tmp_path / "hub", content.get("hub", ()))
        for path, text in content.get("user", {}).items():
            (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "files" / path).write_text(text, encoding="utf-8")
        task = load_task(name)
        there = _in_hub if isinstance(task.data, HubData) else _in_files
        parts = tuple(replace(part, rows=None) for part in task.data.parts if there(part, sources))
        return replace(task, data=replace(task.data, parts=parts)), sources

    return build


def _in_hub(part, sources):
    folder = sources.mirror / part.repo
    try:
        return folder.is_dir() and bool(read_repository(folder).data_files(part.config, part.hub_split))
    except XstiltsError:
        return False


def _in_files(part, sources):
    return any(sources.files.glob(part.pattern))


@pytest.fixture
def examples_of(from_fixture):
    """``examples_of(task name, split)`` → the Examples of its fixture, in every language of the split."""

    def load(name, split):
        task, sources = from_fixture(name)
        return load_examples(task, split, task.languages(split), sources)

    return load
