"""Modules side by side in one pass, beside one pass for each.

    python benchmarks/many.py                                            # some minutes
    python benchmarks/many.py --models 2 --rows 20 --rounds 1            # a smoke test

Bottlenecks of the Pfeiffer shape with random weights and heads for three labels, on the shipped small encoder and on a
random one (6 layers of 384 units): ``together`` is what ``engine.many`` does with modules of one shape, ``alone`` is
what it does where the library is not right, with everything else the same. ``shell`` is what it costs to build an
encoder around the tensors of the backbone and attach all modules; both pay it once. The two take turns, and the order
turns from round to round; a ratio is that of the same round. Rows are of random length (gamma, mean 40, at most 128).

With ``--leave-out 3`` the lowest three layers have no adapters (AdapterDrop), and are computed once for all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import XLMRobertaConfig, XLMRobertaModel

from xstilts.backbone import load_encoder, resolve, weights_digest
from xstilts.batches import BOS, EOS, IGNORED, NO_ANCHORS, Feature
from xstilts.engine import many
from xstilts.engine.carrier import Level, Piece, Setting, Whole, carry
from xstilts.engine.device import choose
from xstilts.formats import load_format
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig, Example, GeneratedData, Task, TextPair

LABELS = ("a", "b", "c")
WAYS = ("together", "alone")
LONGEST, MEAN, SPREAD = 128, 40, 25
Run = dict[str, Any]


def encoders(device: str) -> Iterator[tuple[str, XLMRobertaModel]]:
    """The shipped encoder, and a random one of more layers."""
    yield "mini", load_encoder(resolve("mini")).eval().to(device)
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
    config = XLMRobertaConfig(vocab_size=8000, max_position_embeddings=LONGEST + 2, type_vocab_size=1, **sizes)
    yield "6 × 384", XLMRobertaModel(config, add_pooling_layer=False).eval().to(device)


def rows(count: int, vocabulary: int) -> many.Encoded:
    """Random tokens; labels that nobody knows."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.gamma((MEAN / SPREAD) ** 2, SPREAD**2 / MEAN, count), 6, LONGEST).astype(int)
    features = []
    for number, length in enumerate(lengths):
        ids = random.integers(EOS + 2, vocabulary, length).astype(np.int32)
        ids[0], ids[-1] = BOS, EOS
        features.append(Feature(number, (ids,), np.array([IGNORED]), NO_ANCHORS))
    examples = [Example(str(number), "en", str(number), TextPair(""), None) for number in range(count)]
    return many.Encoded(examples, features)


def models(base: XLMRobertaModel, task: Task, count: int, left_out: int) -> list[Whole]:
    """Bottlenecks that are no identities, each with a head."""
    leave_out = {"leave_out": tuple(range(left_out))} if left_out else {}
    method = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 16, **leave_out})
    kind = load_method(method.kind)
    encoder = XLMRobertaModel(base.config, add_pooling_layer=False)
    kind.attach(encoder, "m", kind.Options.model_validate(method.options))
    shapes = {stored: encoder.get_parameter(name).shape for stored, name in kind.names(encoder, "m").items()}
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        tensors = {stored: 0.1 * torch.randn(shape) for stored, shape in shapes.items()}
        head = dict(load_format(task.format).head(task, base.config).named_parameters())
        found.append(Whole(f"model {seed}", (Level((Piece(method, tensors, weights_digest(tensors)),)),), head))
    return found


@contextmanager
def one_by_one() -> Iterator[None]:
    """Let nothing be computed together."""
    real = many.passes
    many.passes = lambda models, layers: [(number,) for number in range(len(models))]
    try:
        yield
    finally:
        many.passes = real


def measure(options: argparse.Namespace) -> list[Run]:
    """Both ways in turn, on both encoders."""
    task = Task("random", 1, "classification", "accuracy", GeneratedData({}, lambda split, language: ()), LABELS)
    device, precision = choose(options.device)
    setting = Setting(task, precision)
    runs: list[Run] = []
    for name, base in encoders(device):
        given = rows(options.rows, base.config.vocab_size)
        own = models(base, task, options.models, options.leave_out)
        began = time.perf_counter()
        carry(dict(enumerate(own)), base, setting)
        shell = time.perf_counter() - began
        many.predict(own, base, setting, many.Encoded(given.examples[:8], given.features[:8]))  # first time is slower
        for number in range(options.rounds):
            said = {}
            for way in WAYS[:: 1 if number % 2 else -1]:
                began = time.perf_counter()
                if way == "alone":
                    with one_by_one():
                        served = many.predict(own, base, setting, given)
                else:
                    served = many.predict(own, base, setting, given)
                seconds = time.perf_counter() - began
                said[way] = [one.predictions for one in served]
                passes = len({one.together for one in served})
                run = {"encoder": name, "way": way, "round": number, "seconds": seconds, "passes": passes}
                runs.append({**run, "shell_seconds": shell})
            same = [one == other for one, other in zip(said["together"], said["alone"], strict=True)]
            assert all(same) or precision != "fp32", "the two ways do not say the same"
    return runs


def ratios(runs: list[Run]) -> dict[str, list[float]]:
    """Encoder → seconds one by one over seconds together, round by round."""
    by = {(run["encoder"], run["way"], run["round"]): run["seconds"] for run in runs}
    found: dict[str, list[float]] = {}
    for encoder, way, number in by:
        if way == "together":
            found.setdefault(encoder, []).append(by[encoder, "alone", number] / by[encoder, way, number])
    return found


def show(console: Console, options: argparse.Namespace, runs: list[Run]) -> None:
    """Print medians, and the ratio within a round."""
    table = Table(
        "encoder", *(f"{way}, s" for way in WAYS), "shell, s", "alone / together", "lowest to highest", box=None
    )
    for encoder, own in ratios(runs).items():
        here = [run for run in runs if run["encoder"] == encoder]
        medians = [statistics.median(run["seconds"] for run in here if run["way"] == way) for way in WAYS]
        cells = [*(f"{median:.2f}" for median in medians), f"{here[0]['shell_seconds']:.3f}"]
        table.add_row(encoder, *cells, f"{statistics.median(own):.2f}", f"{min(own):.2f} to {max(own):.2f}")
    console.print(table)
    console.print(f"{options.models} models, {options.rows:,} rows, {options.rounds} rounds, {options.device}")


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--leave-out", type=int, default=0, help="lowest layers without adapters")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the record")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runs = measure(options)
    show(Console(soft_wrap=True), options, runs)
    if options.out:
        sizes = {name: getattr(options, name) for name in ("models", "rows", "rounds", "leave_out", "threads")}
        record = {"sizes": sizes, "cpus": os.cpu_count(), "runs": runs, "ratios": ratios(runs)}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
