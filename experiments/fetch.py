"""Build a local mirror of the hub, for machines without a network; it is read with --data DIR.

python experiments/fetch.py --tasks xnli mnli --out mirror
python experiments/fetch.py --backbone FacebookAI/xlm-roberta-base --out mirror

A run that was interrupted is completed by the same command. A directory with files that it did not
put there is left as it is. Of files that only you can supply it says what to put where, and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TO_SUPPLY = 1  # exit code


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, fetch, and return the exit code.

    Returns:
        0 if all is there, 1 if only what the user has to supply is not, 2 if something could not be had, 130 if it was
        interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.tasks and not options.backbone:
        parser.error("name --tasks or a --backbone")
    from xstilts.command import finish

    return finish(lambda: _fetch(options), "interrupted; run the same command to go on")


def _fetch(options: argparse.Namespace) -> int:
    from xstilts.backbone import FILES
    from xstilts.command import BAD_INPUT, DONE
    from xstilts.data.fetch import fetch_files, fetch_tasks, to_supply
    from xstilts.errors import Problem, XstiltsError
    from xstilts.tasks import load_task

    def tell(line: str) -> None:
        print(line, flush=True)

    supply: tuple[Problem, ...] = ()
    try:
        tasks = [load_task(name, "--tasks") for name in options.tasks]
        supply = to_supply(tasks)
        problems = list(fetch_tasks(tasks, options.out, tell))
        if options.backbone:
            repo, _, revision = options.backbone.partition("@")
            lacking = fetch_files(repo, revision or None, FILES, options.out, tell)
            if not lacking:
                tell(f"the backbone is read with --backbone {options.out / repo}")
            problems += lacking
    except XstiltsError as error:
        problems = list(error.problems)
    for problem in (*problems, *supply):
        print(f"error: {problem}", file=sys.stderr)
    return BAD_INPUT if problems else TO_SUPPLY if supply else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[], help="names of tasks: all their splits and languages")
    parser.add_argument("--backbone", help="hub id of an XLM-R (org/name[@revision])")
    parser.add_argument("--out", type=Path, required=True, help="root of the mirror: new, or made by this command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
