"""The command line as a user meets it: the whole way on a few examples, and every kind of bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
STUDY = """
name = "tiny"
title = "Tiny"
seeds = [1]
intermediates = ["mini_squad1"]
targets = ["mini_xquad", "mini_tatoeba"]
languages = ["en", "sw"]
recipe = { common = { epochs = 2, batch = 8, lr = 1e-3, max_length = 64, train_examples = 64, dev_examples = 16 } }
system = [
  { name = "full", label = "full", mode = "fullft", adapter = "full", start = "warm", recipe = { lr = 1e-4 } },
  { name = "direct", label = "direct", mode = "adapter", adapter = "lora_r8", start = "cold" },
  { name = "stack", label = "stack", mode = "adapter", adapter = "lora_r8", start = "stack" },
]
comparison = [{ name = "gain", candidate = "stack", reference = "direct" }]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(STUDY)
    return path


def command(study, store, *more):
    where = ["--store", str(store), "--out", str(store.parent / "report"), "--device", "cpu", "--workers", "1"]
    return [sys.executable, "experiments/run.py", "--study", str(study), *where, *more]


def run(study, store, *more):
    return subprocess.run(command(study, store, *more), capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """A store with the study done once, and what was printed."""
    store = tmp_path_factory.mktemp("run") / "store"
    return store, run(study, store)


def artefacts(store):
    """Everything a run decides: weights and predictions by step."""
    kinds = ("encoder.safetensors", "head.safetensors", "predictions.parquet")
    return {path.relative_to(store): path.read_bytes() for path in store.glob("steps/*/*") if path.name in kinds}


def test_one_command_gives_a_report(finished):
    store, shown = finished
    assert shown.returncode == 0, shown.stderr
    report = store.parent / "report" / "report.html"
    assert shown.stdout.rstrip().endswith(f"report: {report}")
    assert report.is_file() and (store.parent / "report" / "comparisons.json").is_file()
    steps = [path for path in (store / "steps").iterdir()]
    assert len(steps) == 5 + 6 and not list((store / "partial").iterdir())


def test_predictions_have_one_row_per_example(finished):
    store, _ = finished
    manifest = json.loads((store / "studies" / "tiny@mini.json").read_text())
    cells = [cell for cell in manifest["cells"] if cell["target"] == "mini_xquad"]
    for cell in cells:
        table = pq.read_table(store / "steps" / cell["predict"] / "predictions.parquet")
        assert table.column_names == ["item_id", "cluster", "language", "gold", "pred", "stats"]
        assert set(table["language"].to_pylist()) == {"en", "sw"}
        english, swahili = (
            [row["item_id"] for row in table.to_pylist() if row["language"] == language] for language in ("en", "sw")
        )
        assert english == swahili and len(english) == len(set(english)) > 0


def test_a_second_run_does_no_work(finished, study):
    store, _ = finished
    before = artefacts(store)
    remembered = list((store / "cache" / "baselines").glob("*.json"))
    assert len(remembered) == 1  # of retrieval; span tasks have no baselines
    stamps = [path.stat().st_mtime_ns for path in remembered]
    shown = run(study, store)
    assert shown.returncode == 0 and ", 0 to run," in shown.stdout
    assert artefacts(store) == before
    assert [path.stat().st_mtime_ns for path in remembered] == stamps


def test_a_dry_run_says_what_is_done_and_what_is_shared(finished, study, tmp_path):
    shown = run(study, finished[0], "--dry-run").stdout
    assert "11 steps (5 trainings): 11 done, 0 partial, 0 to do" in shown
    assert "2 of 7 trainings saved by sharing" in shown
    fresh = run(study, tmp_path / "none", "--dry-run", "--mode", "adapter").stdout
    assert "0 done, 0 partial, 7 to do" in fresh
    assert not (tmp_path / "none").exists()


def test_a_dry_run_without_data_says_what_to_do(study, tmp_path):
    (tmp_path / "hub" / "org" / "name").mkdir(parents=True)
    where = ["--data", str(tmp_path / "hub"), "--study", "real_sample", "--dry-run"]
    shown = run(study, tmp_path / "store", *where)
    assert shown.returncode == 1
    assert "85 steps (42 trainings): 0 done, 0 partial, 0 to do, 85 with no data" in shown.stdout
    assert "train squad1 · full cold · seed 1" in shown.stdout and "mirror rajpurkar/squad" in shown.stdout
    assert "the mirror has no such data set; given 'google/xtreme'" in shown.stdout
    command = "experiments/fetch.py --tasks udpos_pud sib200 xquad tatoeba squad1 --out NEW_DIRECTORY"
    assert command in " ".join(shown.stdout.split())
    again = run(study, tmp_path / "store", *where[:-1])
    assert again.returncode == 2 and "Traceback" not in again.stderr
    assert "experiments/fetch.py" in again.stderr and not (tmp_path / "store").exists()


def test_two_processes_and_a_kill_give_the_same_bits(finished, study, tmp_path):
    """One is killed in the middle, two others then share what is left."""
    store = tmp_path / "store"
    first = subprocess.Popen(command(study, store), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(store.glob("steps/*"))) < 2 and first.poll() is None:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    pair = [
        subprocess.Popen(command(study, store), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in pair] == [(b"", 0)] * 2
    assert artefacts(store) == artefacts(finished[0])


def test_an_interrupt_keeps_what_is_done(study, tmp_path):
    process = subprocess.Popen(
        command(study, tmp_path / "store"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )
    while not list(tmp_path.glob("store/steps/*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode == 130
    assert told.strip() == "interrupted; finished steps are kept, run the same command to go on"
    assert list(tmp_path.glob("store/steps/*/files.json"))


def corrupt(store):
    """Flip a byte of the intermediate LoRA's weights."""
    manifest = json.loads((store / "studies" / "tiny@mini.json").read_text())
    key = next(cell["intermediate_train"] for cell in manifest["cells"] if cell["system"] == "stack")
    path = store / "steps" / key / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    cell = next(cell for cell in manifest["cells"] if cell["system"] == "stack" and cell["target"] == "mini_xquad")
    for step in (cell["train"], cell["predict"]):
        (store / "steps" / step).rename(store / step)


def test_a_corrupted_artefact_is_told_and_not_used(study, tmp_path, finished):
    store = tmp_path / "store"
    subprocess.run(["cp", "-r", finished[0], store], check=True)
    corrupt(store)
    shown = run(study, store, "--mode", "adapter")
    assert shown.returncode == 1
    assert "encoder.safetensors differs from what was published" in shown.stdout
    assert "1 steps did not run" in shown.stdout and "Traceback" not in shown.stdout + shown.stderr


BAD = {
    "unknown study": (["--study", "mimi"], "did you mean 'mini'"),
    "unknown backbone": (["--backbone", "no/such/place"], "backbone"),
    "data without the task": (["--study", "real_sample", "--data", "tests"], "google/xtreme"),
    "unknown device": (["--device", "cuda:99"], "--device: cannot be used here"),
    "no language": (["--lang", "DE"], "--lang: not an ISO 639 code in lower case"),
    "no workers": (["--workers", "0"], "--workers: must be at least 1"),
    "store is a file": (["--store", "pyproject.toml"], "the file system refuses"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_message(name, study, tmp_path):
    arguments, expected = BAD[name]
    shown = run(study, tmp_path / "store", *arguments)
    assert shown.returncode == 2
    assert expected in shown.stderr and shown.stderr.startswith("error: ")
    assert "Traceback" not in shown.stderr
    assert not list(tmp_path.glob("store/steps/*"))


def test_intermediates_can_be_trained_on_the_users_translations(study, tmp_path):
    from xstilts.data import Sources, load_examples
    from xstilts.tasks import load_task

    task = load_task("mini_squad1")
    path = tmp_path / "files" / "translated" / "mini_squad1" / "de" / "train.jsonl"
    path.parent.mkdir(parents=True)
    rows = load_examples(task, "train", ("en",), Sources())

    def line(row):
        answers = {"texts": row.gold.texts, "starts": row.gold.starts}
        text = {"question": row.fields.question.upper(), "context": row.fields.context, "answers": answers}
        return json.dumps({"item_id": row.item_id, **text})

    path.write_text("\n".join(map(line, rows[:-1])))
    german = ["--files", str(tmp_path / "files"), "--lang", "de", "--mode", "adapter"]
    refused = run(study, tmp_path / "store", *german)
    assert refused.returncode == 2
    assert rows[-1].item_id in refused.stderr and "Traceback" not in refused.stderr

    path.write_text("\n".join(map(line, rows)))
    shown = run(study, tmp_path / "store", *german)
    assert shown.returncode == 0, shown.stderr
    assert "train mini_squad1@de · lora_r8 cold" in shown.stdout
    manifest = json.loads((tmp_path / "store" / "studies" / "tiny_de@mini.json").read_text())
    assert manifest["study"]["intermediate_language"] == "de"
    assert "translations into de" in (tmp_path / "report" / "report.md").read_text()


def test_a_mixture_with_masked_language_modelling_runs_to_its_report(study, tmp_path):
    mixed = tmp_path / "mixed.toml"
    mixture = '[[mixture]]\nname = "qa+mlm"\ntasks = ["mini_squad1", "mini_mlm"]\n'
    mixed.write_text(STUDY.replace('intermediates = ["mini_squad1"]', 'intermediates = ["qa+mlm"]') + mixture)
    shown = run(mixed, tmp_path / "store", "--mode", "adapter")
    assert shown.returncode == 0, shown.stderr
    assert "train mini_squad1+mini_mlm · lora_r8 cold" in shown.stdout
    assert "qa+mlm (mini_squad1 + mini_mlm, proportional sampling)" in (tmp_path / "report" / "report.md").read_text()
