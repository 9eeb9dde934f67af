"""docs/add_a_task.md does what it says: its files are written, its commands run.

All in this process, and the task's folder is put on the package's path: to load torch anew for each command, or to copy
the package, would take most of the time and show no more.
"""

import contextlib
import importlib.util
import io
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from xstilts import tasks

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "add_a_task.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [shlex.split(line) for line in re.findall(r"^    python (.+)$", GUIDE, flags=re.MULTILINE)]
TASK = "src/xstilts/tasks/lost_and_found.py"
FIXTURE = "tests/tasks/fixtures/lost_and_found.json"


def script(path):
    """A file of the repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CATALOGUE = script(ROOT / "tests" / "tasks" / "test_catalogue.py")
HELPERS = script(ROOT / "tests" / "tasks" / "conftest.py")
from_fixture = HELPERS.from_fixture  # so that it is a fixture here, too


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The guide's files in their places, in a directory of their own; the package finds the task there."""
    root = tmp_path_factory.mktemp("project")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "__path__", [*tasks.__path__, str((root / TASK).parent)])
        yield root
    sys.modules.pop("xstilts.tasks.lost_and_found", None)
    if hasattr(tasks, "lost_and_found"):
        del tasks.lost_and_found


@pytest.fixture(scope="module")
def done(project):
    """What each command printed, by the name of its program; they run in the order of the guide."""

    def run(program, *arguments):
        with contextlib.chdir(project), contextlib.redirect_stdout(io.StringIO()) as printed:
            if program == "make_mirror.py":
                runpy.run_path(program)
            elif ">" in arguments:
                script(ROOT / program).main()
            else:
                assert script(ROOT / program).main(list(arguments)) == 0
        return printed.getvalue()

    more = {"experiments/run.py": ("--workers", "1", "--device", "cpu", "--store", "store", "--out", "report")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(sys, "argv", ["list_tasks.py"])
        return {program: run(program, *arguments, *more.get(program, ())) for program, *arguments in COMMANDS}


def test_the_guide_holds_what_is_checked_here():
    assert list(FILES) == ["make_mirror.py", TASK, "lost_and_found.toml", FIXTURE]
    programs = [arguments[0] for arguments in COMMANDS]
    assert programs == [
        "make_mirror.py",
        "experiments/inspect_task.py",
        "experiments/run.py",
        "experiments/list_tasks.py",
    ]


def test_the_task_is_one_file_and_nothing_else(project):
    added = {path.relative_to(project).as_posix() for path in (project / "src").rglob("*.py")}
    assert added == {TASK}
    assert not (ROOT / TASK).exists()
    assert tasks.load_task("lost_and_found").name in tasks.task_names()


def test_the_task_is_inspected(done):
    shown = done["experiments/inspect_task.py"]
    assert shown.startswith("lost_and_found, test, sw: classification, scored by accuracy")
    assert "Nimepoteza pete sokoni." in shown or "Nimepoteza kofia" in shown
    assert re.search(r"^examples +8$", shown, flags=re.MULTILINE)
    assert re.search(
        r"^clusters +4 \(thing and place, shared by all languages\), the largest of 2$", shown, re.MULTILINE
    )
    assert re.search(r"^lost +4 +50\.00 %", shown, flags=re.MULTILINE)


def test_the_task_is_trained_and_scored_in_every_language(project, done):
    assert done["experiments/run.py"].rstrip().endswith("report.html")
    steps = [json.loads(path.read_text()) for path in (project / "store" / "steps").glob("*/step.json")]
    trained = [path for path in (project / "store" / "steps").glob("*/head.safetensors")]
    assert len(steps) == 5 and len(trained) == 3  # mini_qqp, the task twice, and two predictions
    rows = [line.split(",") for line in (project / "report" / "scores.csv").read_text(encoding="utf-8").splitlines()]
    where = rows[0].index("language")
    assert {row[where] for row in rows[1:]} == {"en", "de", "sw"}


def test_a_shipped_task_loads_from_its_fixture(project, from_fixture, monkeypatch):
    """By what ``tests/tasks`` does with every task: its helpers write the fixture's files, and the task reads them."""
    monkeypatch.setattr(HELPERS, "FIXTURES", (project / FIXTURE).parent)
    CATALOGUE.test_declaration("lost_and_found")
    CATALOGUE.test_loads_from_its_fixture("lost_and_found", from_fixture)


def test_the_catalogue_that_a_shipped_task_changes_is_what_the_guide_says(project, done, monkeypatch):
    """Its count fails, and its page has the task once the command of the guide made it anew."""
    assert "REAL_TASKS" in GUIDE
    monkeypatch.setattr(CATALOGUE, "REAL", (*CATALOGUE.REAL, "lost_and_found"))
    with pytest.raises(AssertionError):
        CATALOGUE.test_tasks_are_counted()
    monkeypatch.setattr(CATALOGUE, "REAL_TASKS", CATALOGUE.REAL_TASKS + 1)
    CATALOGUE.test_tasks_are_counted()
    assert COMMANDS[-1][-2:] == [">", "docs/tasks.md"]
    (line,) = [line for line in done["experiments/list_tasks.py"].splitlines() if "`lost_and_found`" in line]
    assert "| 32 | 8 | 24 | 3 | `example-org/lost_and_found` |" in line
