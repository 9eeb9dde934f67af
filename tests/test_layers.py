"""The architecture as tests: who may import whom, and who stays free of torch."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "xstilts"
FILES = sorted(path for path in SOURCE.rglob("*.py"))

LAYERS = (
    {"errors", "spec"},
    {"study", "catalogue", "files", "command"},
    {"hub", "key", "memo", "store", "schema", "batches", "search", "published", "fusion"}
    | {"metrics", "significance", "methods", "mini"},
    {"lineage", "tasks", "data", "formats", "merges", "backbone", "estimands", "results", "baselines"},
    {"config", "compare", "composition", "bundle"},
    {"claims"},
    {"plan", "report", "exchange", "engine", "inspection"},
    {"doctor"},
    {"intake", "manifest", "inventory", "evaluation"},
    {"perform"},
    {"execute"},
    {"session"},
)
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}


def unit(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def units_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imported(path)]
    return {part[1] for part in parts if part[0] == "xstilts" and len(part) > 1 and part[1] in LAYER}


def test_every_file_has_a_layer():
    assert {unit(path) for path in FILES} - {"__init__"} == set(LAYER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path):
    me = unit(path)
    if me == "__init__":
        return
    for other in units_imported(path) - {me}:
        assert LAYER[other] < LAYER[me], f"{path} imports {other}"
    assert not {name.split(".")[0] for name in imported(path)} & {"experiments", "analysis", "tests", "benchmarks"}


def loads_torch(statement: str) -> bool:
    program = f"import sys; {statement}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return shown.stdout.strip().splitlines()[-1] == "True"


NEEDS_TORCH = {"batches", "formats", "engine", "inspection"}
TORCH_FREE = sorted(set(LAYER) - NEEDS_TORCH)


@pytest.mark.parametrize("name", TORCH_FREE)
def test_planning_and_reporting_never_import_torch(name):
    assert not loads_torch(f"import xstilts.{name}")


HELPED = (
    *("doctor", "evaluate", "export_module", "export_rows", "fetch", "inspect_task", "layers", "list_compositions"),
    *("list_tasks", "run"),
)


@pytest.mark.parametrize(
    "script",
    [
        "analysis/report.py",
        *(f"experiments/{name}.py" for name in HELPED),
    ],
)
def test_help_is_fast_and_never_imports_torch(script):
    program = "import sys, runpy\nsys.argv = ['x', '--help']\n"
    program += f"try:\n    runpy.run_path({script!r}, run_name='__main__')\n"
    program += "except SystemExit:\n    print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.splitlines()[-1] == "False"
    began = time.perf_counter()
    subprocess.run([sys.executable, script, "--help"], capture_output=True, check=True, cwd=ROOT)
    assert time.perf_counter() - began < 2.0  # 0.5 s on a quiet machine; the bound leaves room for a busy one
