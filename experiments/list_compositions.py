"""List which modules compose how, as Markdown tables: what docs/composition.md holds.

python experiments/list_compositions.py > docs/composition.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import get_args

from xstilts.merges import load_merge, merge_kinds
from xstilts.methods import load_method, method_kinds
from xstilts.spec import AdapterConfig, StartName, unique

HEAD = """# Composing modules

A *module* is what one training adds to the frozen encoder. What a training starts from, and how several modules become
one, is written in the study; what would be void or mean something else than it says is refused when the study is
planned, before anything trains. Made by `python experiments/list_compositions.py`: the tables are asked of the code.

## Starts

h is a hidden state, a and b are modules that were trained before, t is the one that trains now.

| start | what happens |
|---|---|
| `cold` | t alone, on the backbone. |
| `warm` | t begins as a copy of a and goes on training; one module is stored and served. Both have the same shape. |
| `stack` | a is frozen and t trains on top of it; a chain may have any length, and its order is part of what it is. |
| `fuse` | a, b, … are frozen side by side, and attention over their outputs trains (AdapterFusion, arXiv 2005.00247). |

What a stack is depends on the method:

- Bottlenecks are applied one after the other, h ← t(a(h)) with a(h) = h + up(f(down(h))): the order matters.
- LoRA deltas are added, W x + s_a·B_a A_a x + s_t·B_t A_t x: the order of finished modules does not matter.
- IA3 scales are multiplied, l_a ⊙ l_t ⊙ W x: the order does not matter either.

A fresh module adds nothing, so a stack begins as exactly what lies below.

In the place of one module's output a fusion has Σᵢ αᵢ V zᵢ with αᵢ = softmaxᵢ(Q h · K zᵢ), zᵢ the output of module i;
V begins as the identity and is held near it by a penalty. Q, K and V are square matrices of the hidden size in every
layer: many times the size of a module. A new module may train above the fusion (`on_top`).

## Merges

A merge makes one module out of several without training; it is started from (`into = "warm"`), stacked on (`"stack"`),
or, together with the target's own module, predicted with (`"direct"`):

```toml
[[system]]
name = "lora_merged"
label = "LoRA, intermediates merged"
mode = "adapter"
adapter = "lora_r8"
start = "merge"
merge = { kind = "svd", weights = [0.7, 0.3], into = "warm" }
```

What is merged is the difference Δ that a module makes to the frozen encoder: θ − θ₀ of full fine-tuning, s·BA of LoRA,
l − 1 of IA3. A and B by themselves are never averaged: that would leave cross terms B₁A₂ that no module ever had.

| merge | result | options |
|---|---|---|
| `linear` | Σ wᵢ Δᵢ | |
| `svd` | the best approximation of Σ wᵢ Δᵢ at a rank, for every linear map by itself | `rank`: absent = the largest |
| `ties` | trim each Δᵢ, elect a sign per entry, average what agrees with it | `density`: share kept; `rank`: below |
| `dare` | drop entries of each Δᵢ at random, divide the rest by 1 − p, then `linear` | `drop`: p |
| `select` | one of the sources, as it is: weight 1, all others 0 | |

- `linear`: weights that sum to 1 average (model soups, arXiv 2203.05482), others do task arithmetic, where a negative
  one takes a task away (arXiv 2212.04089). Of LoRA it is exact: factors are written side by side, so that ranks add up.
  Bottlenecks have no Δ, being networks of their own: they are averaged weight by weight (AdapterSoup, arXiv
  2302.07027), which means something only if they began at the same weights, as modules of one seed do here: others
  are refused. Of published ones it is not known what they began as.
- `svd`: the result tells what was cut off. LoRAs of one shape give one of that shape, so training can go on from it.
- `ties` (arXiv 2306.01708): the mean is taken times the sum of the weights' sizes, so weights λ/k for k sources are the
  paper's λ. Of LoRA it works on the written-out s·BA, and the result is cut to a rank: absent = the sum of the ranks.
- `dare` (arXiv 2311.03099): of LoRA entries of A and of B are dropped; the expectation of BA stays what it was.

LoRAs may differ in rank, scaling and targets, IA3s in targets: where a source changes nothing, its Δ is zero. All other
methods need sources of one shape, and so does `select`.

Weights are given, or found (`decide`): `text` takes the source whose training text is nearest to the target's,
`few_shot` the one from which a short training on the target does best; `learned` searches for weights that give
labelled dev rows of the target the lowest loss, without gradients (LoraHub, arXiv 2307.13269). `text` reads up to 500
training texts of each task and no label, however few of the target's rows the recipe trains on. All decisions are made
on English training and dev rows, never on test rows; but the dev rows of `few_shot` and `learned` are those by which
the best weights of every training are chosen: the score or loss that decided is no estimate of what the module will do.

## Language adapters

`language_modules` names a published module for each test language. English's lies at the bottom of every model of the
system, under published task modules too, and each language's own takes its place in prediction. A model that does not
lie on it is refused: `warm` from, or `fuse` over, a published module that was not trained on it here.
"""
WEIGHTS = {"½, ½": (0.5, 0.5), "1, −½": (1.0, -0.5), "1, 0": (1.0, 0.0)}
NEEDED = {"bottleneck": AdapterConfig(kind="bottleneck", options={"where": "output"})}  # has no default


Cells = dict[tuple[str, str], dict[str, str | None]]  # (row, column) → case → why it is refused, None if it is not


def main() -> None:
    """Print the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(HEAD)
    print("## Which method starts how\n")
    print("\n".join(_table(_starts())))
    print("\nModules of one model are of one method. Which bottlenecks go together is checked for each model, too.\n")
    print("## Which method is merged how\n")
    print(f"Two sources of the default shape, with the weights {'; '.join(WEIGHTS)}.\n")
    print("\n".join(_table(_merges())))


def _starts() -> Cells:
    starts = get_args(StartName)
    return {(kind, start): {"": load_method(kind).refuse(start)} for kind in method_kinds() for start in starts}


def _merges() -> Cells:
    return {(method, merge): _weighted(method, merge) for method in method_kinds() for merge in merge_kinds()}


def _weighted(method: str, kind: str) -> dict[str, str | None]:
    merge, sources = load_merge(kind), [NEEDED.get(method, AdapterConfig(kind=method))] * 2
    return {name: merge.refuse(sources, weights, merge.Options()) for name, weights in WEIGHTS.items()}


def _table(cells: Cells) -> Iterator[str]:
    """A row per method, and below it the reasons by number."""
    methods, columns = (unique(name[axis] for name in cells) for axis in (0, 1))
    reasons = unique(reason for cases in cells.values() for reason in cases.values() if reason)
    yield f"| method | {' | '.join(f'`{column}`' for column in columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for method in methods:
        yield f"| `{method}` | {' | '.join(_cell(cells[method, column], reasons) for column in columns)} |"
    yield ""
    yield from (f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))


def _cell(cases: dict[str, str | None], reasons: tuple[str, ...]) -> str:
    """``yes``; ``refused (1)``; or ``yes; with 1, −½ refused (1)``."""
    told = {reason: [case for case in cases if cases[case] == reason] for reason in reasons}
    refused = [(f"refused ({reasons.index(reason) + 1})", found) for reason, found in told.items() if found]
    if None not in cases.values():
        return "; ".join(text for text, _ in refused)
    return "; ".join(("yes", *(f"with {' or '.join(found)} {text}" for text, found in refused)))


if __name__ == "__main__":
    main()
