"""Write a task's training rows for you to translate; docs/translations.md tells the rest of the way.

python experiments/export_rows.py --task mini_squad2 --out files
python experiments/export_rows.py --task mnli --data /path/to/hub-mirror --out files
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, write, and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _export(options))


def _export(options: argparse.Namespace) -> None:
    from xstilts.data import Sources
    from xstilts.data.export import export_rows
    from xstilts.tasks import load_task

    subsets = frozenset({options.task}) if options.subset else frozenset()
    sources = Sources(options.data, options.files, subsets)
    path, count = export_rows(load_task(options.task, "--task"), sources, options.out)
    print(f"{path}: {count:,} rows")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="a task of pairs, choices or passages with training rows")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="writes DIR/translated/TASK/en/train.jsonl"
    )
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--files", type=Path, help="directory of files that only you can supply")
    parser.add_argument("--subset", action="store_true", help="the data may hold fewer rows than the task declares")
    return parser


if __name__ == "__main__":
    sys.exit(main())
