"""docs/add_a_task.md does what it says: its files are written, its commands run, in a copy of the package."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "add_a_task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python (.+)$", GUIDE, flags=re.MULTILINE)]
TASK = "src/xstilts/tasks/lost_and_found.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what the commands need, with the guide's files in their places."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("src/xstilts", "experiments", "adapter_configs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def done(project):
    """What each command printed, by the name of its program; they run in the order of the guide."""

    def run(arguments):
        environment = {**os.environ, "PYTHONPATH": str(project / "src"), "HF_HUB_OFFLINE": "1"}
        more = ["--workers", "1", "--device", "cpu"] if "experiments/run.py" in arguments else []
        command = [sys.executable, *arguments, *more]
        return subprocess.run(command, capture_output=True, text=True, cwd=project, env=environment, timeout=300)

    return {arguments[0]: run(arguments) for arguments in COMMANDS}


def test_the_guide_holds_what_is_checked_here():
    assert list(FILES) == [
        "make_mirror.py",
        TASK,
        "lost_and_found.toml",
        "tests/tasks/fixtures/lost_and_found.json",
    ]
    programs = [arguments[0] for arguments in COMMANDS]
    assert programs == ["make_mirror.py", "experiments/inspect_task.py", "experiments/run.py"]


def test_the_task_is_one_file_and_nothing_else(project):
    added = {
        path.relative_to(project).as_posix()
        for path in (project / "src").rglob("*.py")
        if not (ROOT / path.relative_to(project)).exists()
    }
    assert added == {TASK}


def test_every_command_succeeds(done):
    for shown in done.values():
        assert shown.returncode == 0, shown.stderr


def test_the_task_is_inspected(done):
    shown = done["experiments/inspect_task.py"].stdout
    assert shown.startswith("lost_and_found, test, sw: classification, scored by accuracy")
    assert "Nimepoteza pete sokoni." in shown or "Nimepoteza kofia" in shown
    assert re.search(r"^examples +8$", shown, flags=re.MULTILINE)
    assert re.search(
        r"^clusters +4 \(thing and place, shared by all languages\), the largest of 2$", shown, re.MULTILINE
    )
    assert re.search(r"^lost +4 +50\.00 %", shown, flags=re.MULTILINE)


def test_the_task_is_trained_and_scored_in_every_language(project, done):
    assert done["experiments/run.py"].stdout.rstrip().endswith("report.html")
    steps = [json.loads(path.read_text()) for path in (project / "store" / "steps").glob("*/step.json")]
    trained = [path for path in (project / "store" / "steps").glob("*/head.safetensors")]
    assert len(steps) == 5 and len(trained) == 3  # mini_qqp, the task twice, and two predictions
    (scores,) = (project / "report").glob("*/scores.csv")
    rows = [line.split(",") for line in scores.read_text(encoding="utf-8").splitlines()]
    where = rows[0].index("language")
    assert {row[where] for row in rows[1:]} == {"en", "de", "sw"}


def test_a_shipped_task_loads_from_its_fixture(project, tmp_path):
    """Through the machinery of ``tests/tasks``: its conftest writes the fixture's files, and the task reads them."""
    shutil.copytree(
        ROOT / "tests" / "tasks", tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__", "fixtures")
    )
    fixture = "tests/tasks/fixtures/lost_and_found.json"
    (tmp_path / "tasks" / "fixtures").mkdir()
    (tmp_path / "tasks" / "fixtures" / "lost_and_found.json").write_text(FILES[fixture], encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    chosen = [
        "-o",
        "addopts=--import-mode=importlib",
        str(tmp_path / "tasks" / "test_catalogue.py"),
        "-k",
        "lost_and_found",
    ]
    shown = subprocess.run(
        [*command, *chosen], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
    )
    assert shown.returncode == 0, shown.stdout
    assert re.search(r"\b[1-9]\d* passed", shown.stdout)
