"""Build a local mirror of the hub, for machines without a network; it is read with --data DIR.

python experiments/fetch.py --tasks xnli mnli --out mirror
python experiments/fetch.py --backbone FacebookAI/xlm-roberta-base --out mirror

A run that was interrupted is completed by the same command. A directory with files that it did not
put there is left as it is. For files that only you can supply it says what to put where.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, fetch, and return the exit code: 0 all is there, 2 something is not, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.tasks and not options.backbone:
        parser.error("name --tasks or a --backbone")
    from xstilts.command import finish

    return finish(lambda: _fetch(options), "interrupted; run the same command to go on")


def _fetch(options: argparse.Namespace) -> int:
    from xstilts.backbone import FILES
    from xstilts.command import BAD_INPUT, DONE
    from xstilts.data.fetch import fetch_files, fetch_tasks
    from xstilts.errors import XstiltsError
    from xstilts.tasks import load_task

    def tell(line: str) -> None:
        print(line, flush=True)

    try:
        tasks = [load_task(name, "--tasks") for name in options.tasks]
        problems = list(fetch_tasks(tasks, options.out, tell))
        if options.backbone:
            repo, _, revision = options.backbone.partition("@")
            problems += fetch_files(repo, revision or None, FILES, options.out, tell)
            tell(f"the backbone is read with --backbone {options.out / repo}")
    except XstiltsError as error:
        problems = list(error.problems)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return BAD_INPUT if problems else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[], help="names of tasks: all their splits and languages")
    parser.add_argument("--backbone", help="hub id of an XLM-R (org/name[@revision])")
    parser.add_argument("--out", type=Path, required=True, help="root of the mirror: new, or made by this command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
