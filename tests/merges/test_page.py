"""docs/composition.md is what its generator gives, and says of every pair whether it is possible."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

from xstilts.merges import load_merge, merge_kinds
from xstilts.methods import load_method, method_kinds
from xstilts.spec import StartName
from xstilts.study import System

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "composition.md"


def table(title):
    """(method, column) → cell of the table below a title, and the reasons that are listed below it."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    head, _, *lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    columns = [cell.strip(" `") for cell in head]
    cells = {
        (row[0].strip(" `"), column): cell.strip()
        for row in lines
        for column, cell in zip(columns[1:], row[1:], strict=True)
    }
    reasons = re.findall(r"^(\d+)\. (.+)$", section, re.MULTILINE)
    assert [int(number) for number, _ in reasons] == list(range(1, len(reasons) + 1))
    assert {number for cell in cells.values() for number in re.findall(r"\((\d+)\)", cell)} == dict(reasons).keys()
    return cells, [reason for _, reason in reasons]


def test_the_page_is_current():
    shown = subprocess.run(
        [sys.executable, "experiments/list_compositions.py"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert PAGE.read_text(encoding="utf-8") == shown.stdout


def test_it_says_of_every_method_how_it_starts():
    cells, reasons = table("Which method starts how")
    assert cells.keys() == {(method, start) for method in method_kinds() for start in get_args(StartName)}
    assert len(cells) == 24
    for (method, start), cell in cells.items():
        reason = load_method(method).refuse(start)
        assert cell == ("yes" if reason is None else f"refused ({reasons.index(reason) + 1})")
    assert all(cells[method, "cold"] == "yes" for method in method_kinds())


def test_it_says_of_every_method_how_it_is_merged():
    cells, reasons = table("Which method is merged how")
    assert cells.keys() == {(method, merge) for method in method_kinds() for merge in merge_kinds()}
    assert len(cells) == 30 and sum(cell.startswith("yes") for cell in cells.values()) == 16
    number = {reason: place for place, reason in enumerate(reasons, start=1)}
    (average,) = [place for reason, place in number.items() if "only be averaged" in reason]
    (one_hot,) = [place for reason, place in number.items() if "weight 1 to one source" in reason]
    assert cells["bottleneck", "linear"] == f"yes; with 1, −½ refused ({average})"
    assert cells["lora", "select"] == f"yes; with ½, ½ or 1, −½ refused ({one_hot})"
    assert cells["lora", "linear"] == cells["full", "ties"] == cells["ia3", "dare"] == "yes"


def test_its_example_is_one():
    example = PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (table,) = tomllib.loads(example)["system"]
    system = System.model_validate(table, strict=False)
    assert load_merge(system.merge.kind).Options.model_validate(system.merge.options)
    assert (ROOT / "adapter_configs" / f"{system.adapter}.toml").exists()
