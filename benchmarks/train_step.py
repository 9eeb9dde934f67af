"""One training step of full fine-tuning, a bottleneck adapter and LoRA: our loop beside Hugging Face's trainers.

    python benchmarks/train_step.py                                  # the shape of XLM-R base; random weights
    python benchmarks/train_step.py --layers 2 --hidden 64 --vocab 2000 --steps 4 --repeats 1      # a smoke test

Every run is a process of its own (``train_step_worker.py``), so that peak memory is its own, and trains two epochs over
the same sentences (gamma lengths, mean 40 and standard deviation 25 tokens): the first warms up, the second is timed,
so that all have done the same work whatever the order of their batches. The variants take turns within a round and are
compared within it; a machine that is busy for a while slows all of them. Tools:

    xstilts      ``loop.py`` on the model of ``compose.py``, as a study uses them
    hf           ``transformers.Trainer`` (LoRA: on peft's model) or ``adapters.AdapterTrainer``, default settings
    hf-tuned     the same with fused AdamW, batches of similar length, and bf16 where the loop uses it

Padding is what was computed on over what was there; ``tokens/s`` counts what was computed on, so it compares the steps
themselves, and ``examples/s`` the steps with their batches. (The library groups by length within ``steps / 4`` batches:
give it more than a few steps.) Peak memory is allocated memory on a GPU, and resident memory of the process on a CPU,
libraries included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

METHODS = ("full", "bottleneck", "lora")
TOOLS = ("xstilts", "hf", "hf-tuned")
WORKER = Path(__file__).with_name("train_step_worker.py")
MIB = 2**20

Run = dict[str, Any]  # what the worker prints, and the number of the round


def work(job: dict[str, Any]) -> str:
    """Run a worker and return what it printed; leave if it fails."""
    done = subprocess.run([sys.executable, WORKER, json.dumps(job)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job}: failed\n{done.stderr[-3000:]}")
    return done.stdout


def measure(settings: dict[str, Any], methods: list[str], repeats: int, console: Console) -> list[Run]:
    """Run every variant once per round; the order turns from round to round."""
    variants = list(itertools.product(methods, TOOLS))
    runs = []
    for number in range(repeats):
        start = number % len(variants)
        for method, tool in variants[start:] + variants[:start]:
            printed = work({"method": method, "tool": tool, "settings": settings})
            run = json.loads(printed.splitlines()[-1]) | {"round": number}
            console.print(f"round {number + 1}: {method}, {tool}: {run['examples_per_second']:.1f} examples/s")
            runs.append(run)
    return runs


def ratios(runs: list[Run]) -> dict[str, list[float]]:
    """Speed ratios of the report, one value per round."""
    speed = {(run["method"], run["tool"], run["round"]): run["examples_per_second"] for run in runs}
    rounds = sorted({run["round"] for run in runs})
    methods = list(dict.fromkeys(run["method"] for run in runs))
    pairs = {f"{name}: xstilts / {tool}": ((name, "xstilts"), (name, tool)) for name in methods for tool in TOOLS[1:]}
    if "full" in methods:
        modules = [name for name in methods if name != "full"]
        pairs |= {f"{tool}: {name} / full": ((name, tool), ("full", tool)) for name in modules for tool in TOOLS}
    return {
        name: [speed[(*above, number)] / speed[(*below, number)] for number in rounds]
        for name, (above, below) in pairs.items()
    }


def show(runs: list[Run], console: Console) -> None:
    """Print medians over the rounds, and the ratios."""
    columns = ("method", "tool", "examples/s", "tokens/s", "padding", "peak MiB", "trainable", "fused AdamW")
    table = Table(*columns, box=None, pad_edge=False)
    for method, tool in dict.fromkeys((run["method"], run["tool"]) for run in runs):
        same = [run for run in runs if (run["method"], run["tool"]) == (method, tool)]
        table.add_row(
            method,
            tool,
            f"{statistics.median(run['examples_per_second'] for run in same):.1f}",
            f"{statistics.median(run['computed_tokens_per_second'] for run in same):,.0f}",
            f"{same[0]['padding_factor']:.2f}",
            f"{statistics.median(run['peak_memory_bytes'] for run in same) / MIB:,.0f}",
            f"{same[0]['trainable_parameters']:,}",
            "yes" if same[0]["fused_optimizer"] else "no",
        )
    console.print(table)
    table = Table("speed ratio", "median", "lowest", "highest", box=None, pad_edge=False)
    for name, values in ratios(runs).items():
        table.add_row(name, *(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))))
    console.print(table)


def main() -> None:
    """Measure, print the tables and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {"layers": 12, "hidden": 768, "vocab": 250_002, "batch": 16, "steps": 20, "repeats": 5}
    for name, default in {**numbers, "threads": os.cpu_count() or 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--device", default="cpu", help="a torch device name; default: cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--out", type=Path, default=Path("train_step.json"), help="default: train_step.json")
    settings = vars(parser.parse_args())
    methods, repeats, out = settings.pop("methods"), settings.pop("repeats"), settings.pop("out")
    console = Console()
    with tempfile.TemporaryDirectory() as backbone:
        settings["backbone"] = backbone
        work({"settings": settings})
        runs = measure(settings, methods, repeats, console)
    show(runs, console)
    del settings["backbone"]
    out.write_text(json.dumps({"settings": settings, "runs": runs, "ratios": ratios(runs)}, indent=1) + "\n")
    console.print(f"numbers: {out}")


if __name__ == "__main__":
    main()
