"""Write the report of a study from the store alone; nothing is trained or predicted, and torch is not needed.

python analysis/report.py                        the embedded study
python analysis/report.py --study real_sample --store store --out report
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = Path(__file__).resolve().parent / "claims.toml"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, write the report, and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _write(options))


def _write(options: argparse.Namespace) -> None:
    from xstilts import report

    written = report.write(options.store, options.study, options.out, options.backbone, options.claims)
    print(written.headline)
    print(f"report: {written.path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="mini", help="name of a study that was run (default: mini)")
    parser.add_argument("--backbone", help="only where the store holds the study with several backbones")
    parser.add_argument("--store", type=Path, default=ROOT / "store", help="where finished steps are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "report", help="directory of the report")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help="claims that get verdicts (default: those shipped)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
