"""Which layer retrieves best? Every layer under three poolings, by cosine and by ratio margin (k = 4).

python experiments/layers.py --task mini_tatoeba --backbone mini
python experiments/layers.py --task tatoeba --backbone FacebookAI/xlm-roberta-large --languages de sw --data ../hub

Accuracy in percent, the mean over languages. It is there to understand a model: a layer that was chosen on a test set
is no result on that test set. The layer that a study pools is marked with *.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xstilts.spec import Backbone

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print the table, and return the exit code: 0 done, 2 bad input, 130 interrupted."""
    options = _parser().parse_args(arguments)
    from xstilts.command import finish

    return finish(lambda: _show(options))


def _show(options: argparse.Namespace) -> None:
    from xstilts.backbone import resolve
    from xstilts.data import Sources, load_examples
    from xstilts.engine.device import choose
    from xstilts.engine.representations import survey
    from xstilts.formats import POOLINGS
    from xstilts.inspection import check_length
    from xstilts.report.words import aligned
    from xstilts.spec import unique
    from xstilts.tasks import load_task

    backbone, task = resolve(options.backbone), load_task(options.task, "--task")
    layer_of_study, study = _declared(options.study or ("mini" if options.backbone == "mini" else None), backbone)
    check_length(options.max_length, backbone)
    device, _ = choose(options.device)
    languages = unique(options.languages or task.languages("test"))
    examples = load_examples(task, "test", languages, Sources(options.data))
    found = defaultdict(list)
    for cell in survey(backbone, task, examples, options.max_length, device):
        found["cosine", cell.pooling, cell.layer].append(cell.cosine)
        found["margin", cell.pooling, cell.layer].append(cell.margin)
    columns = [["", "layer", *(f"{layer}{'*' * (layer == layer_of_study)}" for layer in range(backbone.layers + 1))]]
    for score in ("cosine", "margin"):
        for place, pooling in enumerate(POOLINGS):
            means = [
                sum(row) / len(row) for row in (found[score, pooling, layer] for layer in range(backbone.layers + 1))
            ]
            columns.append(["" if place else score, pooling, *(f"{mean:.1f}" for mean in means)])
    counted = f"{len(languages)} language{'s' * (len(languages) != 1)}"
    print(f"{task.name}, {counted}: {' '.join(languages)}; {backbone.name}")
    print("\n".join(aligned(list(zip(*columns, strict=True)))))
    print(f"A layer chosen on a test set is no result on it. * the layer of {study}")


def _declared(study: str | None, backbone: Backbone) -> tuple[int, str]:
    """The layer that a study pools, and whose layer that is."""
    from xstilts.config import load_study
    from xstilts.errors import fail
    from xstilts.plan import declared_layer

    layer = None
    if study is not None:
        loaded = load_study(study, ROOT / "experiments" / "studies", ROOT / "adapter_configs")
        layer = loaded.study.retrieval_layer
    if layer is None:
        return declared_layer(backbone.layers), "studies that name none"
    if not 0 <= layer <= backbone.layers:
        raise fail("--study", f"pools layer {layer}, and the backbone has {backbone.layers}", study)
    return layer, f"study {study}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="tatoeba", help="a task of format retrieval (default: tatoeba)")
    parser.add_argument("--backbone", default="mini", help="mini, hub id, or directory (default: mini)")
    parser.add_argument("--study", help="whose layer is marked (default: mini with the backbone mini, else none)")
    parser.add_argument("--data", type=Path, help="root of a local hub mirror; default: the hub")
    parser.add_argument("--languages", nargs="+", metavar="LANG", help="default: all that the task has")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a sentence (default: 128)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, mps … (default: cpu)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
