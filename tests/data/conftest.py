"""A small mirror of the hub, written by the library that writes the hub's own files, and tasks that read it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, Sequence, Value

from xstilts.data import Sources
from xstilts.spec import Example, HubData, Part, Task, TextPair, Words
from xstilts.tasks import load_task

TOPICS = Features({"id": Value("int64"), "text": Value("string"), "label": ClassLabel(names=["sport", "art"])})


class Mirror:
    """The data set ``org/topics`` in a mirror; its header lists what was written."""

    def __init__(self, root):
        self.root = root
        self.repo = root / "org" / "topics"
        self.sources = Sources(root)
        self.configs = {}

    def write(self, config, split="test", rows=3, features=TOPICS):
        """Write one split; ``rows`` is a number of sound rows, or the rows."""
        if isinstance(rows, int):
            rows = [{"id": number, "text": f"text {number}", "label": number % 2} for number in range(rows)]
        path = self.repo / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: [row[name] for row in rows] for name in features}
        datasets.Dataset.from_dict(columns, features=features).to_parquet(path)
        self.configs.setdefault(config, []).append(split)
        self.write_header()
        return path

    def write_header(self, more=""):
        lines = ["---", more, "configs:"]
        for config, splits in self.configs.items():
            lines += [f"- config_name: {config}", "  data_files:"]
            lines += [f"  - split: {split}\n    path: {config}/{split}-*" for split in splits]
        (self.repo / "README.md").write_text("\n".join([*lines, "---", "# A data set"]))


@pytest.fixture
def mirror(tmp_path):
    datasets.disable_progress_bars()
    return Mirror(tmp_path / "mirror")


@pytest.fixture
def part():
    """Makes the declaration of one test set of ``org/topics``, whose configs are named by language."""

    def make(language="en", rows=None, repo="org/topics", split="test"):
        return Part(split, language, repo, language, split, "0123abc", rows)

    return make


@pytest.fixture
def topics(part):
    """Makes a classification task over test sets of ``org/topics``; the text "drop me" is a declared drop."""

    def read(row, part, number):
        if row["text"] == "drop me":
            return ()
        return (Example(str(row["id"]), part.language, str(row["id"]), TextPair(row["text"]), row["label"]),)

    def make(*parts, labels=("sport", "art"), columns=("id", "text", "label")):
        data = HubData(parts or (part("en"), part("de")), columns, read)
        return Task("topics", 1, "classification", "accuracy", data, labels)

    return make


@pytest.fixture
def tags(part):
    """A tagging task over ``org/topics``, and the features of its files."""

    def read(row, part, number):
        return (Example(str(number), part.language, "c", Words(tuple(row["words"])), tuple(row["tags"])),)

    features = Features({"words": Sequence(Value("string")), "tags": Sequence(ClassLabel(names=["NOUN", "VERB", "X"]))})
    data = HubData((part("en"),), ("words", "tags"), read)
    return Task("tags", 1, "tagging", "tagging", data, ("NOUN", "VERB")), features


# -------------------------------------------------------------------------------------------------------------- hub

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub():
    """A running hub of our own; see ``tests/hub_server.py``."""
    spec = importlib.util.spec_from_file_location("hub_server", ROOT / "tests" / "hub_server.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield from module.serve()


@pytest.fixture
def against_hub(hub, tmp_path):
    """Starts a Python process that takes ``hub`` for the hub, with a cache of its own below ``tmp_path/home``.

    The real client reads its settings when it is imported, so a process of its own is the only way to it.
    """

    def start(*command, offline=False):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        settings |= {"NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": str(int(offline))}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=inherited | settings, **pipes)

    return start


@pytest.fixture
def sib200(hub, tmp_path):
    """Serves sib200's repository with every split that the task reads, whole, and one that it does not read."""
    declared = load_task("sib200").data.parts
    folder = tmp_path / "source"
    splits = {(part.config, part.hub_split): part.rows for part in declared} | {("xxx_Latn", "test"): 1}
    for (config, split), rows in splits.items():
        (folder / config).mkdir(parents=True, exist_ok=True)
        texts = [f"a {split} sentence in {config}"] * rows
        columns = {"index_id": list(range(rows)), "category": ["travel"] * rows, "text": texts}
        pq.write_table(pa.table(columns), folder / config / f"{split}-00000-of-00001.parquet")
    lines = ["---", "license: cc-by-sa-4.0", "configs:"]
    for config in dict.fromkeys(config for config, _ in splits):
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {s}\n    path: {config}/{s}-*" for c, s in splits if c == config]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# SIB"]))
    return hub.add("dataset", declared[0].repo, folder, commit=declared[0].revision)
