"""What is asked, and what came of it: modules, predictions, scores with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xstilts.evaluation.assembly import Candidate, Lengths
from xstilts.metrics import Metric
from xstilts.significance import two_way
from xstilts.spec import Backbone, Example, Gold, Pooling, Split, Task

MEAN = "mean"  # in the place of a language: the mean over all of them


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        modules: directories, or hub ids.
        languages: empty = all that the split has.
        labels: in the order of the outputs, for heads that do not name them.
        max_length: None = what the modules were trained with; so is ``doc_stride``.
        layer: hidden layer that is pooled, for retrieval; None = what a study takes that names none.
        pooling: likewise.
        out: directory to be written; None = nothing is written.
    """

    task: str
    modules: tuple[str, ...]
    backbone: str
    device: str = "auto"
    languages: tuple[str, ...] = ()
    split: Split = "test"
    labels: tuple[str, ...] = ()
    data: Path | None = None
    files: Path | None = None
    max_length: int | None = None
    doc_stride: int | None = None
    layer: int | None = None
    pooling: Pooling | None = None
    out: Path | None = None


class Score(NamedTuple):
    """One ratio of the task's metric for one module, in percent: a row of ``scores.csv``; NaN where there is none.

    Attributes:
        language: or ``MEAN``.
        low: lower end of the 95 % interval.
        examples: that were scored.
    """

    module: str
    language: str
    metric: str
    score: float
    low: float
    high: float
    examples: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """One module and what came of it.

    Attributes:
        name: unique among the modules.
        together: names of the modules that were computed in the same pass, its own included.
        seconds: of that pass.
        remarks: what a reader of its scores should know.
        stats: the metric's statistics of each prediction, by the index of its example.
    """

    name: str
    candidate: Candidate
    together: tuple[str, ...]
    seconds: float
    remarks: tuple[str, ...]
    predictions: Mapping[int, Gold]
    stats: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All modules on one set of rows.

    Attributes:
        languages: of the rows, in their order.
        fingerprint: of the rows.
        truncated: examples that did not fit whole.
        environment: see ``engine.device``.
    """

    request: Request
    task: Task
    metric: Metric
    backbone: Backbone
    languages: tuple[str, ...]
    examples: Sequence[Example]
    fingerprint: str
    lengths: Lengths
    precision: Literal["fp32", "bf16"]
    layer: int | None
    truncated: int
    modules: tuple[Evaluated, ...]
    seconds: float
    environment: Mapping[str, object]

    def scores(self) -> list[Score]:
        """Every ratio of the metric, by module and language; of several languages the mean, too."""
        return [score for module in self.modules for score in _scores(self, module)]


def _scores(evaluation: Evaluation, module: Evaluated) -> list[Score]:
    indices = sorted(module.stats)
    stats = np.array([module.stats[index] for index in indices], np.float64)
    examples = [evaluation.examples[index] for index in indices]
    clusters = np.unique([example.cluster for example in examples], return_inverse=True)[1]
    spoken = np.array([example.language for example in examples])
    found = []
    for ratio in evaluation.metric.ratios:
        numerator, denominator = stats @ np.array(ratio.numerator), stats @ np.array(ratio.denominator)
        parts = [
            two_way.linearise(numerator[None, own], denominator[None, own], clusters[own])
            for own in (spoken == language for language in evaluation.languages)
        ]
        counts = [int((spoken == language).sum()) for language in evaluation.languages]
        rows = list(zip(evaluation.languages, parts, counts, strict=True))
        if len(parts) > 1:
            rows.append((MEAN, two_way.combine(parts, [1 / len(parts)] * len(parts)), len(examples)))
        for language, part, count in rows:
            estimate = two_way.one_sample(part)
            found.append(Score(module.name, language, ratio.name, estimate.score, estimate.low, estimate.high, count))
    return found
