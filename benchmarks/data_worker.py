"""One process of ``data.py``: loads, tokenises and buckets the rows with one tool and prints its times as JSON.

python benchmarks/data_worker.py '{"tool": "datasets", "cache": "DIR", "settings": {…}}'
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = ("entailment", "neutral", "contradiction")
COLUMNS = ("premise", "hypothesis", "label", "idx")


@dataclass(frozen=True)
class Settings:
    """What is measured; see ``data.py --help``.

    Attributes:
        file: the Parquet file, in a mirror of the hub.
    """

    file: str
    backbone: str
    rows: int
    max_length: int
    batch: int


class Clock:
    """Wall-clock and processor time of stages, children included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self.last = self.first = _now()

    def tick(self, stage: str) -> None:
        """Note the end of a stage."""
        now = _now()
        self._note(stage, self.last, now)
        self._note("total", self.first, now)
        self.last = now

    def _note(self, stage: str, began: tuple[float, float], ended: tuple[float, float]) -> None:
        self.seconds[stage], self.processor[stage] = ended[0] - began[0], ended[1] - began[1]


def _now() -> tuple[float, float]:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in used)


def run_xstilts(settings: Settings, cache: str) -> tuple[Clock, int]:
    """Our loader, tokenising and batches; returns the times and the number of tokens."""
    from xstilts.backbone import load_tokenizer, resolve
    from xstilts.batches import epoch_batches, lengths
    from xstilts.data import Sources, load_examples
    from xstilts.engine.features import encode_cached
    from xstilts.formats import Text
    from xstilts.spec import Example, HubData, Part, Row, Task, TextPair

    def read(row: Row, part: Part, number: int) -> tuple[Example, ...]:
        item = str(row["idx"])
        return (Example(item, part.language, item, TextPair(row["premise"], row["hypothesis"]), row["label"]),)

    file = Path(settings.file)
    part = Part("train", "en", "bench/pairs", "default", "train", "main", settings.rows)
    task = Task("pairs", 1, "classification", "accuracy", HubData((part,), COLUMNS, read), LABELS)
    text = Text(load_tokenizer(resolve(settings.backbone)), settings.max_length, 64)
    clock = Clock()
    examples = load_examples(task, "train", ("en",), Sources(file.parents[3]))
    clock.tick("load")
    encoded = encode_cached(task, examples, text, Path(cache))
    clock.tick("tokenise")
    sizes = lengths(encoded.features)
    batches = epoch_batches(sizes, settings.batch, 0, 0)
    clock.tick("bucket")
    assert sum(map(len, batches)) == settings.rows
    return clock, int(sizes.sum())


def run_datasets(settings: Settings, cache: str, processes: int | None) -> tuple[Clock, int]:
    """The same with ``datasets`` and the trainer's sampler; returns the times and the number of tokens."""
    os.environ["HF_DATASETS_CACHE"] = cache
    import datasets
    from transformers import PreTrainedTokenizerFast
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from xstilts.backbone import resolve

    datasets.disable_progress_bars()
    path = Path(resolve(settings.backbone).path) / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))

    def tokenise(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
        found = tokenizer(
            rows["premise"],
            rows["hypothesis"],
            truncation=True,
            max_length=settings.max_length,
            return_token_type_ids=False,
            return_attention_mask=False,
        )
        return {"input_ids": found["input_ids"], "length": [len(ids) for ids in found["input_ids"]]}

    clock = Clock()
    loaded = datasets.load_dataset("parquet", data_files=settings.file, split="train", cache_dir=cache)
    clock.tick("load")
    kept = loaded.map(tokenise, batched=True, num_proc=processes, remove_columns=["premise", "hypothesis", "idx"])
    clock.tick("tokenise")
    sizes = list(kept["length"])
    order = list(LengthGroupedSampler(settings.batch, lengths=sizes))
    clock.tick("bucket")
    assert len(order) == settings.rows
    return clock, sum(sizes)


def main() -> None:
    """Do what the argument says."""
    job = json.loads(sys.argv[1])
    settings = Settings(**job["settings"])
    if job["tool"] == "xstilts":
        clock, tokens = run_xstilts(settings, job["cache"])
    else:
        clock, tokens = run_datasets(settings, job["cache"], 2 if job["tool"].endswith("x2") else None)
    print(json.dumps({"seconds": clock.seconds, "processor_seconds": clock.processor, "tokens": tokens}))


if __name__ == "__main__":
    main()
