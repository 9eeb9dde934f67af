"""The README is true: its files are there, its tree is whole, its commands are accepted."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (python \S+.*?)(?: {2,}#.*)?$", README, flags=re.MULTILINE)
MAKE = re.findall(r"^    make (\w+)", README, flags=re.MULTILINE)
LINKS = [target for target in re.findall(r"\]\(([^)]+)\)", README) if not target.startswith("http")]


def tree() -> dict[str, str]:
    """Path → comment of every line of the tree."""
    block = re.search(r"```\n(adapter_configs.*?)```", README, flags=re.DOTALL)
    assert block
    found, parent = {}, ""
    for line in block[1].splitlines():
        name, _, comment = line.strip().partition(" ")
        path = f"{parent}{name}" if line.startswith(" ") else name
        if not line.startswith(" "):
            parent = name
        found[path] = comment.strip()
    return found


def test_every_path_of_the_tree_is_there():
    missing = [path for path in tree() if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("folder", ["src/xstilts", "analysis", "experiments"])
def test_the_tree_leaves_nothing_out(folder):
    tracked = {
        path.name for path in (ROOT / folder).iterdir() if path.name not in {"__init__.py", "__pycache__", "py.typed"}
    }
    told = {Path(path).name for path in tree() if path.startswith(f"{folder}/") and path != f"{folder}/"}
    assert told == tracked


def test_every_comment_says_one_thing():
    assert all(comment or path.endswith("/") for path, comment in tree().items())


@pytest.mark.parametrize("target", LINKS)
def test_links_lead_somewhere(target):
    assert (ROOT / target).is_file()


def test_the_two_commands_are_rules():
    assert MAKE == ["study", "test"]
    rules = (ROOT / "Makefile").read_text()
    assert all(f"\n{rule}: " in rules for rule in MAKE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(command):
    """Every option of a command is one that its program has."""
    _, program, *arguments = shlex.split(command)
    usage = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert all(argument in usage.stdout for argument in arguments if argument.startswith("--"))
    studies = [b for a, b in itertools.pairwise(arguments) if a == "--study"]
    assert all((ROOT / "experiments" / "studies" / f"{study}.toml").is_file() for study in studies)


def test_there_are_commands_to_check():
    assert len(COMMANDS) == 12 and len(LINKS) == 8
