"""The benchmark runs, on a model that is too small to say anything."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZES = {"layers": 2, "hidden": 64, "vocab": 2000, "steps": 4, "repeats": 1, "threads": 1, "methods": "bottleneck"}
SMALL = [part for name, value in SIZES.items() for part in (f"--{name}", str(value))]


def test_the_training_step_is_measured_beside_both_settings_of_the_library(tmp_path):
    out = tmp_path / "train_step.json"
    command = [sys.executable, "benchmarks/train_step.py", *SMALL, "--out", str(out)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert shown.returncode == 0, shown.stderr
    content = json.loads(out.read_text())
    runs = content["runs"]
    assert {run["tool"] for run in runs} == {"xstilts", "hf", "hf-tuned"}
    assert len({run["trainable_parameters"] for run in runs}) == 1
    assert "bottleneck: xstilts / hf-tuned" in shown.stdout
