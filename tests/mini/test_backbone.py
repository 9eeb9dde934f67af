"""The shipped backbone: it loads, has the declared size, and its tokenizer fits the miniature's text."""

import json
from pathlib import Path

import pytest
import torch
from transformers import XLMRobertaModel, XLMRobertaTokenizerFast

import xstilts.mini
from xstilts.mini.draw import draw_fact, draw_kinds, generator, show_exactly
from xstilts.mini.languages import CODES, SEEN, UNSEEN
from xstilts.mini.record import write
from xstilts.tasks import load_task

FOLDER = Path(xstilts.mini.__file__).parent / "backbone"


@pytest.fixture(scope="module")
def tokenizer():
    return XLMRobertaTokenizerFast.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    return XLMRobertaModel.from_pretrained(FOLDER, add_pooling_layer=False, dtype=torch.float32).eval()


def texts(language, count=60):
    for number in range(count):
        rng = generator("tokenizer", number)
        record = [
            show_exactly(rng, draw_fact(rng, kind, "test" if number % 2 else "train")) for kind in draw_kinds(rng, 4)
        ]
        yield write(record, language)


def test_size(model, tokenizer):
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (4, 192, 3)
    assert config.max_position_embeddings == 258 and config.hidden_dropout_prob == 0.1
    assert len(tokenizer) == config.vocab_size
    assert 2_500_000 < sum(parameter.numel() for parameter in model.parameters()) < 3_000_000
    assert (FOLDER / "model.safetensors").stat().st_size < 7_000_000
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_special_ids(tokenizer):
    ids = tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    assert ids == [0, 1, 2, 3, len(tokenizer) - 1]
    assert tokenizer("7", "8")["input_ids"].count(2) == 3  # <s> a </s></s> b </s>


@pytest.mark.parametrize("language", CODES)
def test_round_trip_and_no_unknown(tokenizer, language):
    pieces = words = 0
    for text in texts(language):
        ids = tokenizer(text.text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text.text
        assert tokenizer.unk_token_id not in ids
        pieces += len(ids)
        words += len(text.words())
    assert pieces / words < (2.4 if language in UNSEEN else 1.5)


@pytest.mark.parametrize("language", CODES)
def test_facts_begin_and_end_between_tokens(tokenizer, language):
    for text in texts(language):
        offsets = tokenizer(text.text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts, ends = ({pair[side] for pair in offsets} for side in (0, 1))
        for start, end in text.spans:
            assert start in starts and end in ends


def pooled(model, tokenizer, sentences, layer):
    encoded = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**encoded, output_hidden_states=True).hidden_states[layer]
    keep = (encoded["input_ids"] > 3).unsqueeze(-1)
    return torch.nn.functional.normalize((states * keep).sum(1) / keep.sum(1), dim=-1)


def test_it_aligns_languages(model, tokenizer):
    """English finds the parallel record among 120 far more often than one time in 120, in seen languages."""
    data = load_task("mini_tatoeba").data
    for language in ("zh", "sw"):
        rows = data.examples("test", language)
        sides = [[row.fields.text for row in rows if row.fields.role == role] for role in ("query", "candidate")]
        query, candidate = (pooled(model, tokenizer, side, 2) for side in sides)
        hits = (query @ candidate.T).argmax(1) == torch.arange(len(query))
        assert hits.float().mean() > 0.3


def test_the_model_card_says_what_was_done():
    card = (FOLDER / "README.md").read_text()
    for heading in ("## Data", "## Recipe", "## Measured", "## Limits"):
        assert heading in card
    assert "Unicode" in card and "seed 1" in card
    assert all(f"| {language} |" in card for language in CODES)
    curve = [json.loads(line) for line in (FOLDER / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == sorted(row["step"] for row in curve)
    assert curve[-1]["masked"] < curve[0]["masked"] / 2
    assert str(curve[-1]["step"]) in card.replace(",", "").replace("\u202f", "")


def test_seen_languages_are_the_ones_with_a_share():
    assert set(SEEN) == set(CODES) - set(UNSEEN)
