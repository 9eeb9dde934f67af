"""The hub through its real client, on a server of our own: what works, and every way in which it does not."""

import hashlib
import json
import shutil
import socket

import pytest

COMMIT = "c0ffee" * 6 + "abcd"
# Loads what is asked for, one after the other, and prints a JSON list of what came of each.
PROGRAM = f"""
import json, sys, time
time.sleep = lambda seconds: None  # the client waits between its attempts
from xstilts.backbone import resolve
from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Example, HubData, Part, Task, TextPair

def read(row, part, number):
    return (Example(str(row["id"]), part.language, "c", TextPair(row["text"]), row["label"]),)

def load(kind, name):
    if kind == "model":
        return resolve(name).fingerprint
    repo, _, revision = name.partition("@")
    parts = tuple(Part("test", each, repo, each, "test", revision or {COMMIT!r}) for each in ("en", "de"))
    data = HubData(parts, ("id", "text", "label"), read)
    task = Task("topics", 1, "classification", "accuracy", data, ("sport", "art"))
    return len(load_examples(task, "test", ("en", "de"), Sources()))

results = []
for kind, name in json.loads(sys.argv[1]):
    try:
        results.append(load(kind, name))
    except XstiltsError as error:
        results.append(str(error))
print(json.dumps(results))
"""


@pytest.fixture
def load(against_hub):
    def run(*wanted, offline=False):
        process = against_hub("-c", PROGRAM, json.dumps(wanted), offline=offline)
        shown, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in errors and "Fetching" not in errors, errors
        return json.loads(shown)

    return run


@pytest.fixture
def topics_on_hub(hub, mirror):
    """Serves ``org/<name>`` with two languages that are asked for, and one that is not."""

    def add(name="topics", fault=""):
        for config in ("en", "de", "fr"):
            if config not in mirror.configs:
                mirror.write(config, rows=400)
        return hub.add("dataset", f"org/{name}", mirror.repo, fault=fault)

    return add


@pytest.fixture
def tiny_on_hub(hub, backbone, tmp_path):
    """Serves the tiny XLM-R as ``org/<name>``, with a file that nobody should ask for."""

    def add(name="tiny", fault=""):
        folder = tmp_path / "tiny"
        if not folder.is_dir():
            shutil.copytree(backbone.path, folder)
            (folder / "pytorch_model.bin").write_bytes(b"a pickle")
        return hub.add("model", f"org/{name}", folder, fault=fault)

    return add


def cached(tmp_path):
    """Whole files of the client's cache that a run could read."""
    return [path for path in (tmp_path / "home").glob("hub/*--org--*/snapshots/*/**/*") if path.is_file()]


def test_a_backbone_and_a_task_arrive_and_are_there_without_a_network(
    hub, load, topics_on_hub, tiny_on_hub, backbone, tmp_path
):
    topics_on_hub()
    tiny_on_hub()
    wanted = [("model", "org/tiny"), ("model", f"org/tiny@{COMMIT}"), ("dataset", "org/topics")]
    expected = [backbone.fingerprint, backbone.fingerprint, 800]
    assert load(*wanted) == expected
    names = {path.name for path in cached(tmp_path)}
    assert names == {
        *("config.json", "model.safetensors", "tokenizer.json", "README.md"),
        "test-00000-of-00001.parquet",
    }
    assert not hub.asked_for("GET", "fr/test-00000-of-00001.parquet")
    hub.asked.clear()
    assert load(*wanted, offline=True) == expected
    assert not hub.asked


FAULTS = [
    ("gated", "the repository is gated; accept its terms"),
    ("gated_401", "the repository is gated; accept its terms"),
    ("private", "no such repository, or a private one"),
    ("broken", "the hub answers 500 Internal Server Error"),
    ("down", "the hub answers 500 Internal Server Error"),
    ("cut", "IncompleteRead"),
    ("altered", "is not what the hub says it is (wrong checksum) and is deleted; run again"),
    ("altered_small", "is not what the hub says it is (wrong checksum) and is deleted; run again"),
    ("longer", "the download had not the announced number of bytes"),
]


def test_every_fault_is_one_clear_error_and_leaves_nothing_that_a_later_run_would_believe(
    load, topics_on_hub, tiny_on_hub, backbone, tmp_path
):
    served = {}
    for fault, _ in FAULTS:
        served[fault] = topics_on_hub(fault, fault), tiny_on_hub(fault, fault)
    wanted = [(kind, f"org/{fault}") for fault, _ in FAULTS for kind in ("dataset", "model")]
    told = iter(load(*wanted))
    for fault, message in FAULTS:
        for kind, shown in (("dataset", next(told)), ("model", next(told))):
            at = COMMIT if kind == "dataset" else "main"
            lines = shown.splitlines()
            assert lines and all(line.startswith(f"hub: org/{fault} at {at}: ") for line in lines), shown
            assert all(message in line for line in lines), (fault, shown)
            assert "altered" in fault or len(lines) == 1
    for path in cached(tmp_path):  # what has arrived is what the hub promised
        content, stored = path.read_bytes(), path.resolve().name
        assert stored in (hashlib.sha256(content).hexdigest(), git_checksum(content))
    for repositories in served.values():
        for repository in repositories:
            repository.fault = ""
    assert load(*wanted) == [800, backbone.fingerprint] * len(FAULTS)


def git_checksum(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_what_is_not_there_is_named(load, topics_on_hub, tiny_on_hub):
    topics_on_hub()
    tiny_on_hub()
    told = load(
        ("dataset", "org/topics@0123abc"),
        ("model", "org/tiny@v2"),
        ("dataset", "org/nothing"),
        ("model", "org/nothing"),
        ("model", "org/not a name"),
    )
    assert told[0].startswith("hub: org/topics at 0123abc: ") and told[0].endswith("mirror): no such revision")
    assert told[1].startswith("hub: org/tiny at v2: ") and told[1].endswith("directory): no such revision")
    assert all("no such repository, or a private one" in each for each in told[2:4])
    assert told[4].startswith("hub: org/not a name at main: ")
    assert all("\n" not in each for each in told)


def test_without_a_network_what_was_never_downloaded_is_told(hub, load, topics_on_hub, tiny_on_hub, tmp_path):
    topics_on_hub()
    tiny_on_hub()
    wanted = [("dataset", "org/topics"), ("model", "org/tiny")]
    message = "not in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
    assert all(told.endswith(message) for told in load(*wanted, offline=True))
    load(*wanted)
    for path in cached(tmp_path):  # as if the first run had been killed
        if path.suffix in (".safetensors", ".parquet") and path.parent.name != "en":
            path.unlink()
    topics, tiny = load(*wanted, offline=True)
    assert "no file of config 'de', split 'test'" in topics
    assert tiny.startswith("backbone org/tiny: lacks model.safetensors")


def test_no_connection(hub, load):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        hub.address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = load(("dataset", "org/topics"), ("model", "org/tiny"))
    assert all(each.endswith("no connection to the hub") and "\n" not in each for each in told)


def test_a_file_that_went_bad_in_the_cache_is_downloaded_again(load, topics_on_hub, tmp_path):
    topics_on_hub()
    assert load(("dataset", "org/topics")) == [800]
    (damaged,) = (path for path in cached(tmp_path) if path.parent.name == "de")
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.resolve().write_bytes(content)
    told = load(("dataset", "org/topics"), ("dataset", "org/topics"))
    assert told[0].count("wrong checksum") == 2 and told[1] == 800  # both languages have the same content here


STUDY = """
name = "one"
title = "One"
seeds = [1]
targets = ["sib200"]
languages = ["sw", "tr"]
recipe = { common = { epochs = 1, lr = 1e-3, max_length = 48, doc_stride = 8 } }
system = [{ name = "direct", label = "direct", mode = "adapter", adapter = "lora_r8", start = "cold" }]
"""


def test_the_command_line_plans_a_study_of_a_task_and_a_backbone_from_the_hub(
    hub, against_hub, tiny_on_hub, sib200, tmp_path
):
    tiny_on_hub()
    (tmp_path / "one.toml").write_text(STUDY)

    def run(backbone, offline=False):
        where = ["--study", str(tmp_path / "one.toml"), "--store", str(tmp_path / "store"), "--device", "cpu"]
        process = against_hub("experiments/run.py", "--backbone", backbone, *where, "--dry-run", offline=offline)
        return *process.communicate(timeout=60), process.returncode

    shown, errors, code = run("org/tiny")
    assert code == 0, shown + errors
    assert "2 steps (1 trainings): 0 done, 0 partial, 2 to do" in shown
    hub.asked.clear()
    assert run("org/tiny", offline=True)[::2] == (shown, 0)
    assert not hub.asked
    shown, errors, code = run("org/tiny@v2")
    assert (shown, code) == ("", 2)
    assert errors.startswith("error: hub: org/tiny at v2: ") and errors.count("\n") == 1
