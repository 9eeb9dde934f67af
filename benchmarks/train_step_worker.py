"""One process of ``train_step.py``: trains one variant on random sentences and prints what it measured as JSON.

    python benchmarks/train_step_worker.py '{"method": "lora", "tool": "xstilts", "settings": {…}}'

Without a ``method`` it writes the random encoder instead.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from xstilts.engine.device import environment, peak_memory, reset_peak_memory

ADAPTERS = {"full": "full", "bottleneck": "pfeiffer_r16", "lora": "lora_r8"}
CONFIGS = Path(__file__).resolve().parents[1] / "adapter_configs"
LABELS = ("a", "b", "c")
EPOCHS = 2  # one to warm up, one that is timed


@dataclass(frozen=True)
class Settings:
    """What is measured; see ``train_step.py --help``.

    Attributes:
        backbone: directory of the random encoder.
        steps: optimiser steps of an epoch.
        precision: of our loop and of the tuned trainer.
    """

    backbone: str
    layers: int
    hidden: int
    vocab: int
    batch: int
    steps: int
    threads: int
    device: str
    precision: Literal["fp32", "bf16"]


class Clock:
    """Times the second epoch, and counts what was computed on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.marks: list[float] = []
        self.steps = self.tokens = self.padded = 0

    def tick(self) -> None:
        """Note the end of an optimiser step."""
        self.steps += 1
        if self.steps % self.settings.steps == 0:
            if self.settings.device.startswith("cuda"):
                torch.cuda.synchronize(self.settings.device)
            self.marks.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Of the second epoch."""
        first, second = self.marks
        return second - first


# ----------------------------------------------------------------------------------------------------------- input


def make_backbone(settings: Settings) -> None:
    """Write a random encoder of XLM-R's architecture as a backbone directory."""
    from tokenizers import Tokenizer, models
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=settings.vocab,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=max(1, settings.hidden // 64),
        intermediate_size=4 * settings.hidden,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(settings.backbone)
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    Tokenizer(models.Unigram(special, unk_id=3)).save(str(Path(settings.backbone) / "tokenizer.json"))


def sentences(settings: Settings) -> Iterator[tuple[list[int], int]]:
    """Token ids and label of every example: random content, lengths like those of sentences."""
    random = np.random.default_rng(0)
    mean, deviation, shortest, longest = 40, 25, 6, 128
    shape = (mean / deviation) ** 2
    for _ in range(settings.steps * settings.batch):
        length = int(np.clip(random.gamma(shape, mean / shape), shortest, longest))
        inner = random.integers(4, settings.vocab, length - 2).tolist()
        yield [0, *inner, 2], int(random.integers(len(LABELS)))


# ----------------------------------------------------------------------------------------------------------- tools


def run_xstilts(method: str, settings: Settings, clock: Clock) -> dict[str, Any]:
    """Train with our loop; the clock ticks where the loop would evaluate."""
    from xstilts.backbone import resolve
    from xstilts.batches import NO_ANCHORS, Feature
    from xstilts.config import load_adapter
    from xstilts.engine import compose
    from xstilts.engine.loop import Evaluation, Job, Loop, Member, Place
    from xstilts.key import key
    from xstilts.spec import Cold, GeneratedData, Recipe, Sampling, Task, TaskData, Train

    def evaluate() -> Evaluation:
        clock.tick()
        return Evaluation(0.0, False)

    task = Task("bench", 1, "classification", "accuracy", GeneratedData({}, lambda split, language: ()), LABELS)
    recipe = Recipe(
        epochs=EPOCHS, batch=settings.batch, lr=1e-5, evaluations=EPOCHS * settings.steps, precision=settings.precision
    )
    adapter = load_adapter(CONFIGS / f"{ADAPTERS[method]}.toml")
    step = Train(resolve(settings.backbone), TaskData("bench", 1, "accuracy 1", ""), adapter, Cold(), recipe, 0)
    runtime = compose.Runtime(settings.device, lambda train: Path(), checkpoint_seconds=float("inf"))
    trainee = compose.for_training(step, [task], runtime)
    features = tuple(
        Feature(number, (np.array(ids, np.int32),), np.array([label]), NO_ANCHORS)
        for number, (ids, label) in enumerate(sentences(settings))
    )
    members = (Member("bench", trainee.model, features),)
    job = Job("bench", trainee.model, trainee.trained, members, Sampling(kind="proportional"), recipe, 0, evaluate)
    with tempfile.TemporaryDirectory() as directory:
        loop = Loop(job, Place(key(step), Path(directory), runtime, time.perf_counter()))
        reset_peak_memory(loop.device)
        loop.run()
    clock.tokens, clock.padded = loop.progress.tokens, loop.progress.padded
    return {"trainable_parameters": sum(p.numel() for p in trainee.trained.values()), "fused_optimizer": loop.fused}


def run_trainer(method: str, settings: Settings, clock: Clock, tuned: bool) -> dict[str, Any]:
    """Train with Hugging Face's trainer of the method."""
    from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast, TrainerCallback, TrainingArguments

    class Ticker(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *arguments: Any, **named: Any) -> None:  # the library's signature
            clock.tick()

    vocabulary = str(Path(settings.backbone) / "tokenizer.json")
    collate = DataCollatorWithPadding(PreTrainedTokenizerFast(tokenizer_file=vocabulary, pad_token="<pad>"))

    def counted(rows: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        batch: Mapping[str, torch.Tensor] = collate(rows)
        clock.tokens += int(batch["attention_mask"].sum())
        clock.padded += batch["attention_mask"].numel()
        return batch

    best = {"optim": "adamw_torch_fused", "group_by_length": True, "bf16": settings.precision == "bf16"}
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            directory,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=settings.batch,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=settings.device == "cpu",
            dataloader_pin_memory=settings.device != "cpu",
            **(best if tuned else {}),
        )
        model, trainer_class = _hf_model(method, settings)
        rows = [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label} for ids, label in sentences(settings)
        ]
        trainer = trainer_class(model, arguments, counted, train_dataset=rows, callbacks=[Ticker()])
        reset_peak_memory(torch.device(settings.device))
        trainer.train()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"trainable_parameters": count, "fused_optimizer": "fused" in str(arguments.optim).lower()}


def _hf_model(method: str, settings: Settings) -> tuple[Any, Callable[..., Any]]:
    """The same encoder and the same kind of head, prepared the library's way, and the trainer to use."""
    from transformers import Trainer, XLMRobertaForSequenceClassification

    model = XLMRobertaForSequenceClassification.from_pretrained(settings.backbone, num_labels=len(LABELS))
    if method == "bottleneck":
        import adapters

        adapters.init(model)
        model.add_adapter("bench", config=adapters.SeqBnConfig(reduction_factor=16))
        model.train_adapter("bench")
        return model, adapters.AdapterTrainer
    if method == "lora":
        import peft

        shape = peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"])
        return peft.get_peft_model(model, shape), Trainer
    return model, Trainer


# ------------------------------------------------------------------------------------------------------------- one


def measure(method: str, tool: str, settings: Settings) -> dict[str, Any]:
    """Measure one variant in this process."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    clock = Clock(settings)
    if tool == "xstilts":
        found = run_xstilts(method, settings, clock)
    else:
        found = run_trainer(method, settings, clock, tuned=tool == "hf-tuned")
    device = torch.device(settings.device)
    return found | {
        "method": method,
        "tool": tool,
        "examples_per_second": settings.steps * settings.batch / clock.seconds,
        "computed_tokens_per_second": clock.padded / EPOCHS / clock.seconds,
        "padding_factor": clock.padded / clock.tokens,
        "peak_memory_bytes": peak_memory(device),
        "environment": environment(device),
    }


def main() -> None:
    """Do what the argument says."""
    job = json.loads(sys.argv[1])
    settings = Settings(**job.pop("settings"))
    if not job:
        make_backbone(settings)
        return
    print(json.dumps(measure(job["method"], job["tool"], settings)))


if __name__ == "__main__":
    main()
