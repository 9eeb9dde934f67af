"""Look at a task as the model sees it: tokens, gold in place, lengths, truncation, unknown tokens, offsets.

python experiments/inspect_task.py mini_xquad --lang th                  offline
python experiments/inspect_task.py xnli --lang sw --split test
python experiments/inspect_task.py xquad --lang zh --max-length 384 --data /path/to/hub-mirror
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print, and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _show(options))


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console

    from xstilts.data import Sources
    from xstilts.inspection import Request, look, show

    subsets = frozenset({options.task}) if options.subset else frozenset()
    request = Request(
        task=options.task,
        split=options.split,
        language=options.lang,
        sources=Sources(options.data, options.files, subsets),
        backbone=options.backbone,
        max_length=options.max_length,
        rows=options.rows,
    )
    show(look(request), Console(soft_wrap=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="name of a task")
    parser.add_argument("--lang", help="language (default: the first that the split has)")
    parser.add_argument(
        "--split", choices=("train", "dev", "test"), help="default: test, or dev where there is no test"
    )
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--files", type=Path, help="directory of files that only you can supply")
    parser.add_argument("--backbone", default="mini", help="whose tokenizer: mini, a hub id or a directory")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a row (default: 128)")
    parser.add_argument("--rows", type=int, default=3, help="examples to show (default: 3)")
    parser.add_argument("--subset", action="store_true", help="the data may hold fewer rows than the task declares")
    return parser


if __name__ == "__main__":
    sys.exit(main())
