"""Evaluate modules on one test set: finished ones of a store, bundles, published ones; predictions, scores, intervals.

python experiments/evaluate.py mini_xquad store/steps/KEY store/steps/OTHER_KEY --languages de sw
python experiments/evaluate.py xnli path/to/lora --labels entailment neutral contradiction --backbone org/name
python experiments/evaluate.py mini_tatoeba store/steps/KEY --layer 2 --out evaluations/tatoeba

Every module needs a head of the task; for retrieval none is used. It is looked at by the doctor first. What a module of
a store lies on is found beside it. Modules of one shape are computed in one pass; that this changes nothing is checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, evaluate, print; 0: done, 2: bad input, 130: interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    from xstilts.evaluation import evaluate
    from xstilts.evaluation.records import Request
    from xstilts.evaluation.written import lines

    request = Request(
        task=options.task,
        modules=tuple(options.modules),
        backbone=options.backbone,
        device=options.device,
        languages=tuple(options.languages),
        split=options.split,
        labels=tuple(options.labels),
        data=options.data,
        files=options.files,
        max_length=options.max_length,
        doc_stride=options.doc_stride,
        layer=options.layer,
        pooling=options.pooling,
        out=options.out,
    )
    found = evaluate(request)
    for line in lines(found):
        print(line)
    if options.out is not None:
        print(f"written: {options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="a task; experiments/list_tasks.py names them")
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="a directory, or a hub id org/name[@revision]")
    parser.add_argument("--backbone", default="mini", help="that they lie on: mini, a hub id or a directory")
    parser.add_argument("--languages", nargs="+", default=[], metavar="LANG", help="default: all of the split")
    parser.add_argument("--split", choices=("train", "dev", "test"), default="test")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="order of a head's outputs, if it names none",
    )
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--files", type=Path, help="directory of files that only you can supply")
    parser.add_argument("--max-length", type=int, help="tokens; default: as the modules were trained")
    parser.add_argument("--doc-stride", type=int, help="tokens that windows share; default: as they were trained")
    parser.add_argument("--layer", type=int, help="pooled for retrieval; default: as in a study that names none")
    parser.add_argument("--pooling", choices=("mean_no_special", "mean", "cls"), help="for retrieval")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new directory: predictions, scores, account")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps … (default: auto)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
