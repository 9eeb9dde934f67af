"""Loading, tokenising and bucketing of sentence pairs: our loader beside ``datasets``.

    python benchmarks/data.py                                          # 100,000 rows, the shipped tokenizer
    python benchmarks/data.py --backbone DIR --rounds 9                # another tokenizer
    python benchmarks/data.py --rows 300 --rounds 1                    # a smoke test

The rows are made up and written as Parquet in the schema of MNLI (premise, hypothesis, label, idx; word counts like
MNLI's, words drawn by Zipf's law from the ASCII words of the vocabulary). Every run is a process of its own
(``data_worker.py``); imports and the loading of the tokenizer are not counted. The tools take turns within a round,
each round begins with empty caches, and each tool runs twice: ``first``, and ``again`` with what it cached. Tools:

    xstilts        ``load_examples`` (with its checks), ``encode_cached``, ``epoch_batches``
    datasets       ``load_dataset("parquet")``, ``map(tokenise, batched=True)``, ``LengthGroupedSampler``
    datasets x2    the same with ``num_proc=2``

Shown is wall-clock time for 100,000 rows. Where the machine is busy, compare the lowest values, which others disturbed
least, and the processor time of a process and its children.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

TOOLS = ("xstilts", "datasets", "datasets x2")
TIMES = ("first", "again")
STAGES = ("load", "tokenise", "bucket", "total")
WORKER = Path(__file__).with_name("data_worker.py")
UNIT = 100_000  # rows

Run = dict[str, Any]  # what the worker prints, and the number of the round


def write_rows(path: Path, backbone: str, rows: int) -> None:
    """Write made-up sentence pairs as Parquet."""
    from datasets import ClassLabel, Dataset, Features, Value, disable_progress_bars

    from xstilts.backbone import load_tokenizer, resolve

    disable_progress_bars()
    random = np.random.default_rng(0)
    pieces = sorted(load_tokenizer(resolve(backbone)).get_vocab())
    words = np.array([piece[1:] for piece in pieces if piece[0] == "▁" and piece[1:].isascii() and piece[1:].isalpha()])
    random.shuffle(words)
    chances = 1 / np.arange(1, len(words) + 1)

    def texts(mean: float, deviation: float) -> list[str]:
        shape = (mean / deviation) ** 2
        counts = np.maximum(random.gamma(shape, mean / shape, rows).astype(int), 1)
        drawn = words[random.choice(len(words), counts.sum(), p=chances / chances.sum())]
        return [" ".join(part) for part in np.split(drawn, np.cumsum(counts)[:-1])]

    columns = {
        "premise": texts(20, 14),
        "hypothesis": texts(10, 4),
        "label": random.integers(0, 3, rows).tolist(),
        "idx": list(range(rows)),
    }
    schema = {"premise": Value("string"), "hypothesis": Value("string")}
    schema |= {"label": ClassLabel(names=["entailment", "neutral", "contradiction"]), "idx": Value("int32")}
    path.parent.mkdir(parents=True)
    Dataset.from_dict(columns, features=Features(schema)).to_parquet(path)


def work(job: dict[str, Any]) -> Run:
    """Run a worker and return what it measured; leave if it fails."""
    done = subprocess.run([sys.executable, WORKER, json.dumps(job)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job}: failed\n{done.stderr[-3000:]}")
    found: Run = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(settings: dict[str, Any], rounds: int, directory: Path, console: Console) -> list[Run]:
    """Run every tool twice per round; the order turns from round to round."""
    runs: list[Run] = []
    for number in range(rounds):
        start = number % len(TOOLS)
        for tool in TOOLS[start:] + TOOLS[:start]:
            with tempfile.TemporaryDirectory(dir=directory) as cache:
                for when in TIMES:
                    run = work({"tool": tool, "cache": cache, "settings": settings})
                    runs.append(run | {"tool": tool, "when": when, "round": number})
                    console.print(f"round {number + 1}: {tool}, {when}: {run['seconds']['total']:.2f} s")
    if len({run["tokens"] for run in runs}) != 1:
        sys.exit("the tools made different numbers of tokens")
    return runs


def ratios(runs: list[Run]) -> dict[str, list[float]]:
    """Time of the other tool over ours, one value per round: above 1 we are faster."""
    found: dict[str, list[float]] = {}
    rounds = sorted({run["round"] for run in runs})
    for kind in ("seconds", "processor_seconds"):
        spent = {(run["tool"], run["when"], run["round"]): run[kind]["total"] for run in runs}
        for when in TIMES:
            for tool in TOOLS[1:]:
                name = f"{when}{', processor' if kind == 'processor_seconds' else ''}: {tool} / xstilts"
                found[name] = [spent[tool, when, number] / spent["xstilts", when, number] for number in rounds]
    return found


def of_lowest(runs: list[Run]) -> dict[str, float]:
    """Lowest time of the other tool over our lowest."""
    lowest = {
        (tool, when): min(run["seconds"]["total"] for run in runs if (run["tool"], run["when"]) == (tool, when))
        for tool in TOOLS
        for when in TIMES
    }
    return {
        f"{when}: {tool} / xstilts": lowest[tool, when] / lowest["xstilts", when]
        for when in TIMES
        for tool in TOOLS[1:]
    }


def show(runs: list[Run], rows: int, console: Console) -> None:
    """Print seconds per 100,000 rows (lowest, and median of the total), and the ratios."""
    table = Table("run", "tool", *STAGES, "total, median", "processor", box=None, pad_edge=False)
    for when in TIMES:
        for tool in TOOLS:
            same = [run for run in runs if (run["tool"], run["when"]) == (tool, when)]
            lowest = [min(run["seconds"][stage] for run in same) for stage in STAGES]
            middle = statistics.median(run["seconds"]["total"] for run in same)
            processor = min(run["processor_seconds"]["total"] for run in same)
            shown = (*lowest, middle, processor)
            table.add_row(when, tool, *(f"{value * UNIT / rows:.2f}" for value in shown))
    console.print(f"seconds per {UNIT:,} rows, lowest of the rounds")
    console.print(table)
    table = Table("time ratio", "of the lowest", "median", "lowest", "highest", box=None, pad_edge=False)
    lowest_of = of_lowest(runs)
    for name, values in ratios(runs).items():
        best = f"{lowest_of[name]:.2f}" if name in lowest_of else ""
        table.add_row(name, best, *(f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))))
    console.print(table)


def main() -> None:
    """Measure, print the tables and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"rows": UNIT, "rounds": 5, "max-length": 128, "batch": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--backbone", default="mini", help="whose tokenizer; default: mini")
    parser.add_argument("--out", type=Path, default=Path("data.json"), help="default: data.json")
    settings = vars(parser.parse_args())
    rounds, out = settings.pop("rounds"), settings.pop("out")
    console = Console()
    with tempfile.TemporaryDirectory() as directory:
        settings["file"] = str(Path(directory) / "mirror" / "bench" / "pairs" / "data" / "train-00000-of-00001.parquet")
        write_rows(Path(settings["file"]), settings["backbone"], settings["rows"])
        runs = measure(settings, rounds, Path(directory), console)
    show(runs, settings["rows"], console)
    del settings["file"]
    numbers = {"settings": settings, "runs": runs, "ratios": ratios(runs), "ratios_of_lowest": of_lowest(runs)}
    out.write_text(json.dumps(numbers, indent=1) + "\n")
    console.print(f"numbers: {out}")


if __name__ == "__main__":
    main()
