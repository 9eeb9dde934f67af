"""Look at a published module before it is used: does it fit the backbone, is it what it says, is it safe?

python experiments/doctor.py path/to/module --backbone mini
python experiments/doctor.py AdapterHub/xlm-roberta-base-en-wiki_pfeiffer --backbone FacebookAI/xlm-roberta-base
python experiments/doctor.py path/to/module --backbone mini --json

What is looked at, and what the verdicts mean: docs/published_adapters.md.
"""

from __future__ import annotations

import argparse
import json
import sys

UNFIT = 1


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, examine, print; 0: usable, 1: unsafe or refused, 2: bad input, 130: interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _examine(options))


def _examine(options: argparse.Namespace) -> int:
    from xstilts.backbone import resolve
    from xstilts.doctor import examine
    from xstilts.doctor.shown import plain, show

    diagnosis = examine(options.source, resolve(options.backbone))
    if options.json:
        print(json.dumps(plain(diagnosis), ensure_ascii=False, indent=1))
    else:
        from rich.console import Console

        show(diagnosis, Console())
    return UNFIT if diagnosis.barred else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a directory, or a hub id org/name or org/name@revision")
    parser.add_argument("--backbone", default="mini", help="it is to be used with: mini, a hub id or a directory")
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
