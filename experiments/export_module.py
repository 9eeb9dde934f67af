"""Hand a module on: convert it for adapters or PEFT, or copy it as a bundle.

python experiments/export_module.py store/steps/KEY --layout peft --out my_lora
python experiments/export_module.py AdapterHub/xlm-roberta-base-en-wiki_pfeiffer --layout adapterhub --out en_wiki
python experiments/export_module.py store/steps/KEY --layout bundle --out for_the_hub

KEY is told by run.py --dry-run, and its first eight letters and a * will do. With --backbone the doctor examines the
module first, and what it calls unsafe is not exported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, export, tell; 0: done, 2: bad input or not convertible, 130: interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _export(options))


def _export(options: argparse.Namespace) -> None:
    from xstilts.backbone import resolve
    from xstilts.doctor import admitted
    from xstilts.exchange.export import export

    if options.backbone is not None:
        admitted(options.module, resolve(options.backbone))
    exported = export(options.module, options.layout, options.out)
    for remark in exported.remarks:
        print(f"{'warning' if remark.serious else 'note'}: {remark.check}: {remark.what}")
    print(f"written to: {exported.directory}")
    print(f"to load it: {exported.load}")
    if exported.model:
        print(f"where model is: {exported.model}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "module", help="a directory (of the store, a bundle, AdapterHub's, PEFT's) or a hub id org/name"
    )
    parser.add_argument("--layout", required=True, choices=("adapterhub", "peft", "bundle"), help="of what is written")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="to be made, or empty")
    parser.add_argument("--backbone", help="examine the module on it first: mini, a hub id or a directory")
    return parser


if __name__ == "__main__":
    sys.exit(main())
