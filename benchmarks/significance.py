"""Comparison of two systems on a parallel test set: the closed form and our bootstrap beside other people's algorithms.

    python benchmarks/significance.py                                     # 5 seeds × 2 × 15 languages × 5,010 examples
    python benchmarks/significance.py --examples 300 --languages 2 --resamples 200 --repeats 1        # a smoke test

Correct answers are made up, three examples to a cluster. What is timed, in turns, in one process:

    closed form            15 languages and their mean, from the examples (``two_way``)
    multi-bootstrap        the mean, seeds and clusters resampled together (``multi_bootstrap``)
    bootstrap-t            the mean, clusters resampled, 2,000 times, for few clusters (``bootstrap_t``)
    plan                   the detectable effect, and the number of seeds that settles one point (``power``)
    scipy.bootstrap        all languages, the difference of means over seeds, examples resampled, percentiles
    MultiBERTs             one language: seeds and examples drawn, a score computed per seed and resample
    deep-significance: permutation / bootstrap     one language and one seed: labels of pairs swapped / resampled
    deep-significance: ASO                         scores of 5 against 5 runs, 1,000 bootstrap samples

The last three are written here after their descriptions (Sellam et al. 2022, arXiv 2106.16163, §3; Ulmer et al. 2022,
arXiv 2204.06815), in loops over Python and numpy as those packages do; they do less than ours: not all the languages,
or not both seeds and examples. Where that many resamples would take minutes fewer are drawn and the time is multiplied;
``drawn`` in the record says how many. Ratios are medians over rounds of the other time over that of the closed form.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from xstilts.significance.bootstrap_t import Cell, bootstrap_t
from xstilts.significance.multi_bootstrap import Sums, multi_bootstrap
from xstilts.significance.power import minimum_detectable, seeds_to_settle
from xstilts.significance.two_way import Linear, combine, linearise, two_way
from xstilts.significance.variance import noise

Floats = NDArray[np.float64]
Run = dict[str, Any]

SEEDS = 5
FEW = 100  # resamples of what is slow
ASO_SAMPLES = 1000


class Bench:
    """One made-up experiment and everything that is done with it.

    Attributes:
        right: 0 or 1 ``(systems, seeds, languages, examples)``.
    """

    def __init__(self, examples: int, languages: int, resamples: int) -> None:
        rng = np.random.default_rng(0)
        hard = rng.beta(4, 2, (languages, examples)) * 0.9
        self.right = (
            rng.random((2, SEEDS, languages, examples)) < hard + 0.02 * np.arange(2)[:, None, None, None]
        ) * 1.0
        self.whole = np.ones((SEEDS, examples))
        self.clusters = np.arange(examples) // 3
        self.weights = [1 / languages] * languages
        self.resamples = resamples

    def cells(self, system: int) -> list[Linear]:
        """Languages of a system, linearised."""
        return [linearise(scores, self.whole, self.clusters) for scores in self.right[system].swapaxes(0, 1)]

    def closed_form(self) -> int:
        """Every language and the mean."""
        parts = self.cells(1), self.cells(0)
        for candidate, reference in zip(*parts, strict=True):
            two_way(candidate, reference)
        two_way(combine(parts[0], self.weights), combine(parts[1], self.weights))
        return 0

    def our_bootstrap(self) -> int:
        """Seeds and clusters."""
        sides = [[Sums(s, self.whole, self.clusters) for s in self.right[m].swapaxes(0, 1)] for m in (1, 0)]
        multi_bootstrap((sides[0], sides[1]), self.weights, resamples=self.resamples)
        return self.resamples

    def our_bootstrap_t(self) -> int:
        """Clusters, studentised."""
        sides = [
            [Cell(s, self.whole, self.clusters, self.weights[0]) for s in self.right[m].swapaxes(0, 1)] for m in (1, 0)
        ]
        resamples = min(2000, self.resamples)
        bootstrap_t(sides[0], sides[1], resamples=resamples)
        return resamples

    def plan(self) -> int:
        """From variance components to a plan."""
        ahead = noise(combine(self.cells(1), self.weights), combine(self.cells(0), self.weights))
        minimum_detectable(ahead)
        seeds_to_settle(ahead, 1.0)
        return 0

    def scipy_bootstrap(self) -> int:
        """Examples only."""
        gains = (self.right[1] - self.right[0]).mean(axis=0)
        scipy.stats.bootstrap(
            (gains,), np.mean, axis=-1, n_resamples=self.resamples, method="percentile", batch=50, rng=0
        )
        return self.resamples

    def multiberts(self) -> int:
        """Seeds and examples of one language; a score per system, seed and resample."""
        rng, few = np.random.default_rng(0), min(FEW, self.resamples)
        answers = self.right[:, :, 0]
        for _ in range(few):
            drawn = rng.choice(answers.shape[-1], answers.shape[-1])
            for system in answers:
                np.mean([np.mean(system[seed][drawn]) for seed in rng.choice(SEEDS, SEEDS)])
        return few

    def deep_permutation(self) -> int:
        """Pairs of one language and seed swapped at random, each by itself."""
        rng, few = np.random.default_rng(0), min(FEW, self.resamples)
        a, b = self.right[1, 0, 0].tolist(), self.right[0, 0, 0].tolist()
        for _ in range(few):
            swaps = rng.random(len(a)) < 0.5
            mixed = [(y, x) if swap else (x, y) for x, y, swap in zip(a, b, swaps, strict=True)]
            np.mean([x for x, _ in mixed]) - np.mean([y for _, y in mixed])
        return few

    def deep_bootstrap(self) -> int:
        """Both systems' examples of one language and seed resampled, each by itself."""
        rng = np.random.default_rng(0)
        a, b = self.right[1, 0, 0], self.right[0, 0, 0]
        for _ in range(self.resamples):
            rng.choice(a, len(a)).mean() - rng.choice(b, len(b)).mean()
        return self.resamples

    def deep_aso(self) -> int:
        """Almost stochastic order of the runs' means: the violation ratio, its deviation by bootstrap, its bound."""
        rng, few = np.random.default_rng(0), min(FEW, self.resamples)
        a, b = self.right[1].mean(axis=(1, 2)), self.right[0].mean(axis=(1, 2))
        ratios = [violation(rng.choice(a, SEEDS), rng.choice(b, SEEDS)) for _ in range(few)]
        violation(a, b) - np.std(ratios) * norm.ppf(0.05)
        return few


def violation(a: Floats, b: Floats, step: float = 0.005) -> float:
    """Share of the squared distance between two quantile functions where the first is below; a sort per quantile."""
    below = whole = 0.0
    for chance in np.arange(step, 1, step):
        places = [min(int(np.ceil(len(each) * chance)) - 1, len(each) - 1) for each in (a, b)]
        gap = np.sort(b)[places[1]] - np.sort(a)[places[0]]
        whole += gap**2 * step
        below += max(gap, 0.0) ** 2 * step
    return float(below / whole) if whole else 0.0


def jobs(bench: Bench) -> dict[str, tuple[Callable[[], int], int]]:
    """What is timed, and the resamples that its time is shown for (0: none are drawn)."""
    many = bench.resamples
    return {
        "closed form": (bench.closed_form, 0),
        "multi-bootstrap": (bench.our_bootstrap, many),
        "bootstrap-t": (bench.our_bootstrap_t, min(2000, many)),
        "plan": (bench.plan, 0),
        "scipy.bootstrap": (bench.scipy_bootstrap, many),
        "MultiBERTs": (bench.multiberts, many),
        "deep-significance: permutation": (bench.deep_permutation, many),
        "deep-significance: bootstrap": (bench.deep_bootstrap, many),
        "deep-significance: ASO": (bench.deep_aso, min(ASO_SAMPLES, many)),
    }


def measure(bench: Bench, repeats: int) -> list[Run]:
    """Time everything, in turns; the first round of the closed form warms up."""
    bench.closed_form()
    runs = []
    for number in range(repeats):
        for what, (job, resamples) in jobs(bench).items():
            began = time.perf_counter()
            drawn = job()
            seconds = (time.perf_counter() - began) * (resamples / drawn if drawn else 1)
            runs.append({"what": what, "round": number, "seconds": seconds, "resamples": resamples, "drawn": drawn})
    return runs


def ratios(runs: list[Run]) -> dict[str, float]:
    """Time of each over that of the closed form in the same round, median."""
    spent = {(run["what"], run["round"]): run["seconds"] for run in runs}
    rounds = sorted({run["round"] for run in runs})
    names = [name for name in dict.fromkeys(run["what"] for run in runs) if name != "closed form"]
    return {
        f"{name} / closed form": statistics.median(spent[name, k] / spent["closed form", k] for k in rounds)
        for name in names
    }


def show(console: Console, runs: list[Run]) -> None:
    """Print lowest and median times, and ratios."""
    table = Table("", "resamples", "lowest, ms", "median, ms", "/ closed form", box=None)
    found = ratios(runs)
    for what in dict.fromkeys(run["what"] for run in runs):
        own = [run for run in runs if run["what"] == what]
        times = [1000 * run["seconds"] for run in own]
        count = f"{own[0]['resamples']:,}" if own[0]["resamples"] else ""
        ratio = f"{found[f'{what} / closed form']:.1f}" if what != "closed form" else ""
        table.add_row(what, count, f"{min(times):,.1f}", f"{statistics.median(times):,.1f}", ratio)
    console.print(table)


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"examples": 5010, "languages": 15, "resamples": 10_000, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default:,}")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    options = parser.parse_args()
    runs = measure(Bench(options.examples, options.languages, options.resamples), options.repeats)
    show(Console(soft_wrap=True), runs)
    if options.out:
        sizes = {name: getattr(options, name) for name in ("examples", "languages", "resamples")}
        machine = {"cpus": os.cpu_count(), "numpy": np.__version__, "scipy": scipy.__version__}
        record = {"sizes": sizes, "machine": machine, "runs": runs, "ratios": ratios(runs)}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
