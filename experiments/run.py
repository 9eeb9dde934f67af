"""Run a study: train what is missing, predict what is missing, write the report.

python experiments/run.py --mode adapter              the embedded study: offline, on a CPU, in minutes
python experiments/run.py --mode both --dry-run       every step, and what sharing saves
python experiments/run.py --mode adapter --study xtreme --backbone FacebookAI/xlm-roberta-base
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and return the exit code: 0 done, 1 steps failed, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish
    from xstilts.session import Request, run_study

    request = Request(
        study=options.study,
        mode=options.mode,
        backbone=options.backbone,
        data=options.data,
        files=options.files,
        lang=options.lang,
        store=options.store,
        reports=ROOT / "report",
        out=options.out,
        device=options.device,
        workers=options.workers,
        dry_run=options.dry_run,
        # a study of the user's own may have the name of a shipped one, and is not what was claimed about
        claims=None if options.study.endswith(".toml") else ROOT / "analysis" / "claims.toml",
    )
    return finish(
        lambda: run_study(request, ROOT / "experiments" / "studies", ROOT / "adapter_configs"),
        "interrupted; finished steps are kept, run the same command to go on",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("fullft", "adapter", "both"), default="both", help="which systems to run")
    parser.add_argument(
        "--study", default="mini", help="file stem in experiments/studies, or a TOML file (default: mini)"
    )
    parser.add_argument("--backbone", help="hub id (org/name[@revision]) or directory; default: the study's own")
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--files", type=Path, help="directory of files that only you can supply (CCGbank, BUCC, …)")
    parser.add_argument("--lang", help="train intermediate tasks on your translations in FILES/translated/TASK/LANG")
    parser.add_argument("--store", type=Path, default=ROOT / "store", help="where finished steps are kept")
    parser.add_argument("--out", type=Path, help="where the report is written (default: report/STUDY@BACKBONE)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps … (default: auto)")
    parser.add_argument("--workers", type=int, help="steps side by side; default: CPU cores (at most 4), 1 on a GPU")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print every step, its state and its data; trains nothing, but asks the hub for what is not there",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
