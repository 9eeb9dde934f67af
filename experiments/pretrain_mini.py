"""Pre-train the small XLM-R of the miniature, from nothing but generated text.

    python experiments/pretrain_mini.py --out src/xstilts/mini/backbone --minutes 50

1. A unigram tokenizer with XLM-R's special ids, trained on records in the seen languages (of the unseen languages it
   knows only the characters).
2. Embeddings from a truncated SVD of the token x parallel-record matrix (``xstilts/mini/embeddings.py``).
3. Masked language modelling on pairs of records that share some of their facts, in other forms and mostly in another
   language (TLM, Conneau & Lample 2019, arXiv 1901.07291), with three further losses: *agreement*, a binary decision
   for every token whether its fact is also stated on the other side (translation replaced token detection, XLM-E, Chi
   et al. 2022, arXiv 2106.16138, with our own swaps in place of a generator); *cover*, a binary decision on ``<s>``
   whether the first side states all facts of the second (cross-lingual paraphrase classification, Unicoder, Huang et
   al. 2019, arXiv 1909.00964), without which a frozen ``<s>`` knows nothing of either side; and *translation ranking*
   of parallel records by mean pooling of layer ``POOLED`` (InfoNCE, as in InfoXLM, Chi et al. 2021, arXiv 2007.07834).

The encoder and the language-model head are kept. Everything is seeded; no network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizerFast

from xstilts.mini.draw import show_exactly
from xstilts.mini.embeddings import svd_embeddings
from xstilts.mini.languages import SEEN
from xstilts.mini.masking import MULTIPLE, Batch, batches
from xstilts.mini.pairs import draw_parallel, draw_record
from xstilts.mini.record import write
from xstilts.mini.tokenizer import train_tokenizer

POOLED = 2  # layer whose mean is ranked
BATCH = 128  # pairs
RANKED = 128  # pairs of a ranking batch
RANK_EVERY = 12  # steps
TEMPERATURE = 0.05
AGREEMENT_WEIGHT = 3.0
COVER_WEIGHT = 1.0
RANKING_WEIGHT = 0.5
LEARNING_RATE = 1.5e-3
WARMUP = 400  # steps


class Losses(NamedTuple):
    """Losses of a batch, and the accuracy of its binary decisions."""

    masked: Tensor
    agreement: Tensor
    cover: Tensor
    agreement_accuracy: Tensor
    cover_accuracy: Tensor


def _decide(scores: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and accuracy where ``gold`` is not -100."""
    known = gold >= 0
    scores, target = scores.squeeze(-1).float()[known], gold[known].float()
    loss = functional.binary_cross_entropy_with_logits(scores, target)
    return loss, ((scores > 0) == (target > 0)).float().mean()


class Learner(nn.Module):
    """The masked language model and the heads of agreement and cover."""

    def __init__(self, config: XLMRobertaConfig, embeddings: NDArray[np.float32]) -> None:
        super().__init__()
        self.model = XLMRobertaForMaskedLM(config)
        self.agreement = nn.Linear(config.hidden_size, 1)
        self.cover = nn.Linear(config.hidden_size, 1)
        with torch.no_grad():
            self.model.roberta.embeddings.word_embeddings.weight.copy_(torch.from_numpy(embeddings))

    def forward(self, batch: Batch) -> Losses:
        """The three losses of a batch of pairs, and the accuracy of the two decisions."""
        ids, attention, targets, agrees, covers = (torch.from_numpy(array) for array in batch)
        hidden = self.model.roberta(ids, attention_mask=attention).last_hidden_state
        cover, cover_accuracy = _decide(self.cover(hidden[:, 0]), covers)
        hidden, targets = hidden.flatten(0, 1), targets.flatten()
        chosen = (targets >= 0).nonzero().squeeze(1)
        chosen = functional.pad(chosen, (0, -len(chosen) % 256))  # token 0 is <s>, which is never a target
        masked = functional.cross_entropy(self.model.lm_head(hidden[chosen]).float(), targets[chosen])
        agreement, agreement_accuracy = _decide(self.agreement(hidden), agrees.flatten())
        return Losses(masked, agreement, cover, agreement_accuracy, cover_accuracy)

    def pool(self, texts: list[str], tokenizer: XLMRobertaTokenizerFast, layer: int) -> Tensor:
        """Unit-length means over the non-special tokens of a layer, shape (texts, hidden)."""
        encoded = tokenizer(texts, padding=True, pad_to_multiple_of=MULTIPLE, return_tensors="pt")
        ids, attention = encoded["input_ids"], encoded["attention_mask"]
        states = self.model.roberta.embeddings(input_ids=ids)
        bias = (1.0 - attention[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for block in self.model.roberta.encoder.layer[:layer]:
            states = block(states, bias)[0]
        keep = ((ids > 3) & (ids != tokenizer.mask_token_id)).unsqueeze(-1).to(states.dtype)
        return functional.normalize(((states * keep).sum(1) / keep.sum(1).clamp(min=1)).float(), dim=-1)

    def ranking(self, pairs: list[tuple[str, str]], tokenizer: XLMRobertaTokenizerFast) -> Tensor:
        """InfoNCE in both directions among the pairs of a batch."""
        first = self.pool([a for a, _ in pairs], tokenizer, POOLED)
        second = self.pool([b for _, b in pairs], tokenizer, POOLED)
        scores = first @ second.T / TEMPERATURE
        gold = torch.arange(len(pairs))
        return (functional.cross_entropy(scores, gold) + functional.cross_entropy(scores.T, gold)) / 2


def build_config(vocabulary: int) -> XLMRobertaConfig:
    """4 layers x 192, 3 heads; no dropout while pre-training."""
    return XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=768,
        max_position_embeddings=258,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",  # on CPU under bf16 autocast 1.6 times as fast as sdpa at these sizes
    )


def save(learner: Learner, tokenizer: XLMRobertaTokenizerFast, out: Path, rows: list[dict[str, float]]) -> None:
    """Write fp16 weights, configuration, tokenizer and curve; files beside them (the model card) stay."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model = XLMRobertaForMaskedLM(learner.model.config)
    model.load_state_dict(learner.model.state_dict())
    model.half().save_pretrained(partial)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(partial)
    config = json.loads((partial / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (partial / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(partial.iterdir()):
        path.replace(out / path.name)
    partial.rmdir()


def retrieval(learner: Learner, tokenizer: XLMRobertaTokenizerFast, seed: int, count: int = 200) -> list[float]:
    """Accuracy of finding the parallel record among ``count``, English to other seen languages, for every layer."""
    rng = np.random.default_rng(seed + 3)
    facts = [[shown.fact for shown in draw_record(rng)[:2]] for _ in range(count)]
    found = []
    with torch.no_grad():
        for layer in range(learner.model.config.num_hidden_layers + 1):
            hits = []
            for language in SEEN[1:]:
                sides = [
                    [write([show_exactly(rng, fact) for fact in record], code).text for record in facts]
                    for code in ("en", language)
                ]
                query, candidate = (learner.pool(side, tokenizer, layer) for side in sides)
                hits.append(((query @ candidate.T).argmax(1) == torch.arange(count)).float().mean().item())
            found.append(round(float(np.mean(hits)), 4))
    return found


class Curve:
    """Means of what is logged, every so many steps."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []
        self.steps = 0
        self.tokens = 0
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, **values: float) -> None:
        """Note values of the present step."""
        for name, value in values.items():
            self.values[name].append(value)

    def step(self, tokens: int, seconds: float) -> bool:
        """End a step; True where a row was written."""
        self.steps += 1
        self.tokens += tokens
        if self.steps % self.every:
            return False
        means = {name: round(sum(values) / len(values), 4) for name, values in self.values.items()}
        self.rows.append({"step": self.steps, "seconds": round(seconds), "pair_tokens": self.tokens, **means})
        self.values.clear()
        return True


def pretrain(args: argparse.Namespace) -> None:
    """Run the recipe."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    begin = time.perf_counter()
    tokenizer = XLMRobertaTokenizerFast(tokenizer_object=train_tokenizer(args.seed), model_max_length=256)
    print(f"tokenizer {len(tokenizer)} tokens, {time.perf_counter() - begin:.0f} s", flush=True)
    config = build_config(len(tokenizer))
    learner = Learner(config, svd_embeddings(tokenizer.backend_tokenizer, config.hidden_size, args.seed))
    print(
        f"{sum(p.numel() for p in learner.model.parameters()):,} parameters, {time.perf_counter() - begin:.0f} s",
        flush=True,
    )
    print("retrieval by layer before training", retrieval(learner, tokenizer, args.seed), flush=True)
    curve = Curve(args.log_every)
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed + 4)
    optimizer = torch.optim.AdamW(
        learner.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    for step, batch in enumerate(batches(tokenizer.backend_tokenizer, BATCH, args.seed)):
        progress = step / args.steps if args.steps else (time.perf_counter() - start) / (60 * args.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / WARMUP, 1.0, (1 - progress) / 0.8)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found: Losses = learner(batch)
            loss = found.masked + AGREEMENT_WEIGHT * found.agreement + COVER_WEIGHT * found.cover
            curve.add(**{name: value.item() for name, value in found._asdict().items()})
            if step % RANK_EVERY == 0:
                ranking = learner.ranking([draw_parallel(rng) for _ in range(RANKED)], tokenizer)
                loss = loss + RANKING_WEIGHT * RANK_EVERY * ranking
                curve.add(ranking=ranking.item())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        if curve.step(int(batch.attention.sum()), time.perf_counter() - start):
            checked = retrieval(learner, tokenizer, args.seed) if len(curve.rows) % 10 == 0 else []
            curve.rows[-1] |= {f"retrieval_{layer}": value for layer, value in enumerate(checked)}
            print(json.dumps(curve.rows[-1]), flush=True)
            if checked:
                save(learner, tokenizer, args.out, curve.rows)
    save(learner, tokenizer, args.out, curve.rows)
    print(f"done: {curve.steps} steps, {curve.tokens:,} pair tokens, {time.perf_counter() - begin:.0f} s", flush=True)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="directory of the backbone")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument(
        "--minutes", type=float, help="length of the training in minutes; the steps taken are in the curve"
    )
    length.add_argument("--steps", type=int, help="length of the training in steps; repeats exactly on one machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log-every", type=int, default=100, help="steps between rows of the curve")
    pretrain(parser.parse_args())


if __name__ == "__main__":
    main()
