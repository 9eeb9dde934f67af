"""The benchmarks run, on sizes that are too small to say anything."""

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


def test_the_loader_is_measured_beside_the_library(tmp_path):
    out = tmp_path / "data.json"
    command = [sys.executable, "benchmarks/data.py", "--rows", "60", "--rounds", "1", "--out", str(out)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert shown.returncode == 0, shown.stderr
    content = json.loads(out.read_text())
    assert [(run["tool"], run["when"]) for run in content["runs"]] == [
        (tool, when) for tool in ("xstilts", "datasets", "datasets x2") for when in ("first", "again")
    ]
    assert len({run["tokens"] for run in content["runs"]}) == 1
    assert set(content["ratios_of_lowest"]) == {
        f"{when}: {tool} / xstilts" for when in ("first", "again") for tool in ("datasets", "datasets x2")
    }
    assert "seconds per 100,000 rows" in shown.stdout


def test_search_is_measured_beside_a_plain_product(tmp_path):
    out = tmp_path / "retrieval.json"
    sizes = ("--candidates", "2000", "--plain", "1000", "--languages", "1", "--repeats", "1", "--folder", str(tmp_path))
    command = [sys.executable, "benchmarks/retrieval.py", *sizes, "--out", str(out)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert shown.returncode == 0, shown.stderr
    runs = json.loads(out.read_text())["runs"]
    assert [run["what"] for run in runs] == ["pool float32", "pool float16", "blocks", "plain", "languages", "predict"]
    assert all(run["seconds"] > 0 and run["peak_bytes"] < 2**30 for run in runs)
    assert "blocks / plain" in shown.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["retrieval.json"], "the vectors are gone"


def test_significance_is_measured_beside_other_algorithms(tmp_path):
    out = tmp_path / "significance.json"
    sizes = ("--examples", "300", "--languages", "2", "--resamples", "100", "--repeats", "1")
    command = [sys.executable, "benchmarks/significance.py", *sizes, "--out", str(out)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert shown.returncode == 0, shown.stderr
    content = json.loads(out.read_text())
    assert len(content["runs"]) == 9 and len(content["ratios"]) == 8
    assert all(run["seconds"] > 0 for run in content["runs"])
    assert "deep-significance: ASO / closed form" in content["ratios"] and "MultiBERTs" in shown.stdout
