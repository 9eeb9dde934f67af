"""Exact search in blocks: time and memory, beside one plain matrix product in numpy.

    python benchmarks/retrieval.py                                            # some minutes, 9 GB on disk
    python benchmarks/retrieval.py --candidates 20000 --plain 5000 --languages 3 --repeats 1      # a smoke test

Every run is a process of its own, so that peak memory is its own; it has the engine that a study would use, FAISS where
it is installed and numpy otherwise. Vectors are random, of hidden size 768, on disk in single or half precision:

    pool         1,000 queries among a million candidates, the best 20 of each (Mewsli-X)
    blocks       the same among fewer candidates, of which numpy can hold all scores at once
    plain        on those: normalise, one matrix product, one ``argpartition``, one sort
    languages    1,000 queries among 1,000 candidates, 36 times, the nearest by cosine and by ratio margin (Tatoeba)
    predict      what the step ``Predict`` does after its encoder, in a ranking task with as many queries and candidates
                 as ``pool``, but vectors of size 1,024: write them to a file as they come, and search it

The ratio of ``blocks`` to ``plain`` is what exactness and bounded memory cost. Memory is resident memory, pages of the
mapped file included, which the system takes back when it needs them; ``predict`` maps none, and its peak includes the
examples.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from xstilts.batches import IGNORED, Batch, Packed
from xstilts.engine import inference
from xstilts.formats import load_format
from xstilts.search import default_engine, nearest, nearest_by_margin, top_k
from xstilts.spec import Example, GeneratedData, Sentence, Task

HIDDEN, QUERIES, BEST = 768, 1000, 20
PREDICTED = 1024  # hidden size of XLM-R Large
WORDS = 1000  # a sentence is two of them
WRITE_BLOCK = 10_000

Run = dict[str, Any]


def write(path: Path, count: int, kind: str) -> None:
    """Write random vectors to disk, a block at a time."""
    stored = np.lib.format.open_memmap(path, "w+", np.dtype(kind), (count, HIDDEN))
    random = np.random.default_rng(0)
    for start in range(0, count, WRITE_BLOCK):
        stored[start : start + WRITE_BLOCK] = random.standard_normal((min(WRITE_BLOCK, count - start), HIDDEN), "f4")
    stored.flush()


def plain(queries: Any, candidates: Any) -> Any:
    """What one would write in four lines."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, candidates))
    scores = one @ other.T
    best = np.argpartition(scores, -BEST, axis=1)[:, -BEST:]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)


class Sums(torch.nn.Module):
    """In the place of an encoder: the vector of a sentence is the sum of those of its two words."""

    def __init__(self) -> None:
        super().__init__()
        vectors = torch.randn(2, WORDS, PREDICTED, generator=torch.Generator().manual_seed(0))
        self.vectors = torch.nn.Parameter(vectors, requires_grad=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """``(rows, 1, hidden)``."""
        return (self.vectors[0][batch.ids[:, 0]] + self.vectors[1][batch.ids[:, 1]])[:, None]


def predict(folder: Path, count: int) -> Run:
    """Queries are copies of candidates; whether each finds its own is checked."""
    numbers = np.concatenate([np.arange(count), np.linspace(0, count - 1, QUERIES).astype(int)])
    ids = np.column_stack(np.divmod(numbers, WORDS)).astype(np.int32).ravel()
    ends, none = np.arange(len(numbers) + 1), np.zeros(len(numbers) + 1, np.int64)
    target = np.full(len(numbers), IGNORED, np.int32)
    examples_of = np.arange(len(numbers), dtype=np.int32)
    features = Packed(examples_of, ends, 2 * ends, ids, ends, target, none, np.empty((0, 3), np.int32))
    examples = [
        Example(str(number), "en", str(number), Sentence("", "candidate" if place < count else "query"), None)
        for place, number in enumerate(numbers.tolist())
    ]
    task = Task("pool", 1, "ranking", "map20", GeneratedData({}, lambda split, language: ()))
    form = load_format(task.format)
    began, before = time.perf_counter(), peak()
    with inference.reduced(Sums(), form, features, "fp32", folder) as vectors:
        found = form.join(task, examples, features, vectors)
    seconds, added = time.perf_counter() - began, peak() - before
    itself = (isinstance(best, tuple) and best[0] == f"{numbers[query]}|en" for query, best in found.items())
    assert all(itself), "a query did not find itself"
    return {"seconds": seconds, "added_bytes": added, "peak_bytes": peak()}


def work(what: str, path: Path, languages: int, candidates: int) -> Run:
    """Do one piece of work in this process; return seconds, and the peak memory that it added."""
    if what == "predict":
        return predict(path.parent, candidates)
    stored = np.load(path, mmap_mode="r")
    queries = np.random.default_rng(1).standard_normal((QUERIES, HIDDEN), "f4")
    held = stored if what in ("pool", "blocks") else np.asarray(stored, np.float32)
    began, before = time.perf_counter(), peak()
    if what == "languages":
        for _ in range(languages):
            nearest(queries, held[:QUERIES])
            nearest_by_margin(queries, held[:QUERIES])
    elif what == "plain":
        plain(queries, held)
    else:
        top_k(queries, held, BEST)
    return {"seconds": time.perf_counter() - began, "added_bytes": peak() - before, "peak_bytes": peak()}


def peak() -> int:
    """Most resident memory so far, in bytes. Linux' ``ru_maxrss`` would begin with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(options: argparse.Namespace, folder: Path) -> list[Run]:
    """Run everything in processes of their own; the order turns from round to round."""
    files = {kind: folder / f"{kind}.npy" for kind in ("float32", "float16")}
    small = folder / "small.npy"
    for kind, path in files.items():
        write(path, options.candidates, kind)
    write(small, max(options.plain, QUERIES), "float32")
    jobs = [("pool", "float32"), ("pool", "float16"), ("blocks", ""), ("plain", ""), ("languages", ""), ("predict", "")]
    runs = []
    for number in range(options.repeats):
        for what, kind in jobs[number % len(jobs) :] + jobs[: number % len(jobs)]:
            path = files[kind] if kind else small
            sizes = ["--languages", str(options.languages), "--candidates", str(options.candidates)]
            command = [sys.executable, __file__, "--work", what, str(path), *sizes]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append({"what": f"{what} {kind}".strip(), "round": number, **json.loads(printed)})
    return runs


def show(console: Console, options: argparse.Namespace, runs: list[Run]) -> None:
    """Print medians, and the ratio within a round."""
    sizes = {
        "pool": f"{QUERIES:,} × {options.candidates:,}",
        "blocks": f"{QUERIES:,} × {options.plain:,}",
        "plain": f"{QUERIES:,} × {options.plain:,}",
        "languages": f"{options.languages} × {QUERIES:,} × {QUERIES:,}",
        "predict": f"{QUERIES:,} × {options.candidates:,}",
    }
    table = Table("", "queries × candidates", "seconds", "peak memory", "of which search", box=None)
    for what in dict.fromkeys(run["what"] for run in runs):
        own = [run for run in runs if run["what"] == what]
        seconds, whole, added = (
            statistics.median(run[name] for run in own) for name in ("seconds", "peak_bytes", "added_bytes")
        )
        gib = (f"{size / 2**30:.2f} GiB" for size in (whole, added))
        table.add_row(what, sizes[what.split()[0]], f"{seconds:.1f}", *gib)
    console.print(table)
    by_round = {(run["what"], run["round"]): run["seconds"] for run in runs}
    ratios = [by_round["blocks", number] / by_round["plain", number] for number in range(options.repeats)]
    console.print(
        f"blocks / plain: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; engine {default_engine().__name__}"
    )


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--plain", type=int, default=100_000, help="candidates that are compared with one product")
    parser.add_argument("--languages", type=int, default=36)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the vectors are written; default: a temporary directory")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work[0], Path(options.work[1]), options.languages, options.candidates)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = measure(options, Path(folder))
    show(Console(soft_wrap=True), options, runs)
    if options.out:
        sizes = {name: getattr(options, name) for name in ("candidates", "plain", "languages")}
        machine = {"cpus": os.cpu_count(), "numpy": np.__version__, "engine": default_engine().__name__}
        options.out.write_text(json.dumps({"sizes": sizes, "machine": machine, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
