"""``analysis/report.py`` as a user runs it, and that nothing of this part loads torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = (
    "metrics.accuracy",
    "metrics.squad",
    "metrics.tagging",
    "significance.two_way",
    "schema",
    "results",
    "report",
)


def run(*arguments):
    command = [sys.executable, "analysis/report.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_rebuilds_the_report_from_the_store_alone(planted, tmp_path):
    shown = run("--study", "planted", "--store", planted, "--out", tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == f"report: {tmp_path / 'report.html'}"
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize("arguments", [["--study", "plantd"], ["--study", "planted", "--backbone", "base"]])
def test_bad_input_is_one_message_and_exit_code_2(planted, tmp_path, arguments):
    shown = run(*arguments, "--store", planted, "--out", tmp_path / "out")
    assert shown.returncode == 2
    assert "planted@mini" in shown.stderr and "Traceback" not in shown.stderr
    assert not (tmp_path / "out").exists()


def test_nothing_here_loads_torch():
    imports = "; ".join(f"import xstilts.{name}" for name in MODULES)
    program = f"import sys; {imports}; print({{'torch', 'transformers', 'datasets'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "set()"
