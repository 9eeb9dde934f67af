"""A small study with every way of composing, run from the command line to its report."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from xstilts import bundle

ROOT = Path(__file__).parents[1]
STUDY = """
name = "composed"
title = "Composed"
seeds = [1]
intermediates = ["mini_squad1", "mini_mnli", "both", "one_after_the_other"]
targets = ["mini_xnli"]
languages = ["en", "sw"]
recipe = { common = { epochs = 1, batch = 8, lr = 1e-3, max_length = 64, train_examples = 32, dev_examples = 16 } }

[[mixture]]
name = "both"
tasks = ["mini_squad1", "mini_mnli"]

[[chain]]
name = "one_after_the_other"
tasks = ["mini_squad1", "mini_mnli"]
"""
SINGLES = 'intermediates = ["mini_squad1", "mini_mnli"]'
SYSTEMS = {
    "full": f'mode = "fullft", adapter = "full", start = "warm", {SINGLES}',
    "full_soup": f'mode = "fullft", adapter = "full", start = "merge", merge = {{ into = "warm" }}, {SINGLES}',
    "direct": 'mode = "adapter", adapter = "lora_r8", start = "cold"',
    "stack": 'mode = "adapter", adapter = "lora_r8", start = "stack"',
    "fuse": f'mode = "adapter", adapter = "pfeiffer_r16", start = "fuse", {SINGLES}',
    "fuse_alone": f'mode = "adapter", adapter = "pfeiffer_r16", start = "fuse", fuse = {{ on_top = false }}, {SINGLES}',
    "svd": 'mode = "adapter", adapter = "lora_r8", start = "merge", '
    f'merge = {{ kind = "svd", into = "warm" }}, {SINGLES}',
    "ties": f'mode = "adapter", adapter = "lora_r8", start = "merge", merge = {{ kind = "ties" }}, {SINGLES}',
    "dare": 'mode = "adapter", adapter = "lora_r8", start = "merge", '
    f"merge = {{ kind = \"dare\", options = {{ drop = 0.5 }} }}, {SINGLES}",
    "arithmetic": 'mode = "adapter", adapter = "lora_r8", start = "merge", '
    f'merge = {{ into = "direct", weights = [0.5, -0.5] }}, {SINGLES}',
    "nearest": 'mode = "adapter", adapter = "pfeiffer_r16", start = "merge", '
    f'merge = {{ kind = "select", decide = "text" }}, {SINGLES}',
    "tried": 'mode = "adapter", adapter = "ia3", start = "merge", '
    f'merge = {{ kind = "select", decide = "few_shot", into = "warm", proxy = {{ train_examples = 8 }} }}, {SINGLES}',
    "learned": 'mode = "adapter", adapter = "lora_r8", start = "merge", '
    f'merge = {{ decide = "learned", into = "direct" }}, {SINGLES}',
    "dora": 'mode = "adapter", adapter = "dora_r8", start = "warm", intermediates = ["mini_squad1"]',
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("composed")
    systems = ",\n".join(f'{{ name = "{name}", label = "{name}", {text} }}' for name, text in SYSTEMS.items())
    pairs = ",\n".join(f'{{ name = "{n} − direct", candidate = "{n}", reference = "direct" }}' for n in SYSTEMS
                       if n != "direct")  # fmt: skip
    top, tables = STUDY.split("[[mixture]]")
    (root / "composed.toml").write_text(
        f"{top}\nsystem = [\n{systems}\n]\ncomparison = [\n{pairs}\n]\n[[mixture]]{tables}"
    )
    return root, run(root)


def run(root):
    where = ["--store", str(root / "store"), "--out", str(root / "report"), "--device", "cpu", "--workers", "1"]
    command = [sys.executable, "experiments/run.py", "--study", str(root / "composed.toml"), *where]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)


def test_every_way_of_composing_runs_to_the_report(finished):
    root, shown = finished
    assert shown.returncode == 0, shown.stdout + shown.stderr
    with (root / "report" / "compositions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["system"] for row in rows} == set(SYSTEMS) and len(SYSTEMS) == 14
    assert all(float(row["score"]) > 0 and float(row["stored_per_target"]) > 0 for row in rows)


def test_a_second_run_has_nothing_to_do(finished):
    root, _ = finished
    again = run(root)
    assert again.returncode == 0 and " 0 to run" in again.stdout


def test_every_module_in_the_store_is_a_sound_bundle(finished):
    root, _ = finished
    kinds = {"train": 0, "combine": 0}
    for directory in (root / "store" / "steps").iterdir():
        kind = json.loads((directory / "result.json").read_text())["kind"]
        if kind in kinds and (directory / "encoder.safetensors").exists():
            kinds[kind] += 1
            manifest = bundle.verify(directory)
            assert manifest.key == directory.name
            if kind == "train":
                assert all(measure.low <= measure.value <= measure.high for measure in manifest.metrics if measure.low)
                assert manifest.metrics
            card = (directory / "README.md").read_text(encoding="utf-8")
            assert card.startswith("---\n") and "mini" in card
    assert kinds["combine"] == 8 and kinds["train"] > 15
