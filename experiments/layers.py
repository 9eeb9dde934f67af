"""Which layer retrieves best? Every layer under three poolings, by cosine and by ratio margin (k = 4).

python experiments/layers.py --task mini_tatoeba --backbone mini
python experiments/layers.py --task tatoeba --backbone FacebookAI/xlm-roberta-large --languages de sw --data ../hub

Accuracy in percent, the mean over languages. It is there to understand a model: a layer that was chosen on a test set
is no result on that test set. Studies use the declared layer, marked here with *, unless they name another.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the table, and return the exit code: 0 done, 2 bad input."""
    options = _parser().parse_args(arguments)
    from xstilts.errors import XstiltsError

    try:
        _show(options)
    except XstiltsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from xstilts.backbone import resolve
    from xstilts.data import Sources, load_examples
    from xstilts.engine.representations import survey
    from xstilts.formats import POOLINGS
    from xstilts.plan import declared_layer
    from xstilts.tasks import load_task

    backbone, task = resolve(options.backbone), load_task(options.task, "--task")
    languages = tuple(options.languages or task.languages("test"))
    sources = Sources(options.data, subsets=frozenset({task.name} if options.subset else ()))
    examples = load_examples(task, "test", languages, sources)
    found = defaultdict(list)
    for cell in survey(backbone, task, examples, options.max_length, options.device):
        found[cell.layer, cell.pooling, "cosine"].append(cell.cosine)
        found[cell.layer, cell.pooling, "margin"].append(cell.margin)
    columns = [(pooling, score) for score in ("cosine", "margin") for pooling in POOLINGS]
    table = Table("layer", *(f"{pooling}, {score}" for pooling, score in columns), box=None)
    for layer in range(backbone.layers + 1):
        mark = "*" if layer == declared_layer(backbone.layers) else ""
        rows = [found[layer, pooling, score] for pooling, score in columns]
        table.add_row(f"{layer}{mark}", *(f"{sum(row) / len(row):.1f}" for row in rows))
    console = Console(soft_wrap=True)
    console.print(f"{task.name}, {len(languages)} languages: {' '.join(languages)}; {backbone.name}")
    console.print(table)
    console.print("A layer chosen on a test set is no result on it. * the declared layer")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="tatoeba", help="a task of format retrieval (default: tatoeba)")
    parser.add_argument("--backbone", default="mini", help="mini, hub id, or directory (default: mini)")
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--subset", action="store_true", help="the mirror holds only a part of the task's rows")
    parser.add_argument("--languages", nargs="+", metavar="LANG", help="default: all that the task has")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a sentence (default: 128)")
    parser.add_argument("--device", default="cpu", help="a torch device name (default: cpu)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
