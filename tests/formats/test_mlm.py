import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import XLMRobertaForMaskedLM

from xstilts.backbone import load_language_model_head, load_tokenizer, resolve
from xstilts.batches import BOS, EOS, UNK, Batch, collate
from xstilts.engine import compose
from xstilts.errors import XstiltsError
from xstilts.formats import Text, encode, load_format, loss
from xstilts.formats.mlm import CHOSEN, LanguageModelHead
from xstilts.spec import Example, GeneratedData, Task, TextPair
from xstilts.tasks import load_task

TASK = Task("lines", 1, "mlm", "accuracy", GeneratedData({}, lambda split, language: ()))
FORMAT = load_format("mlm")


@pytest.fixture(scope="module")
def mini():
    return resolve("mini")


@pytest.fixture(scope="module")
def lines(mini):
    return Text(load_tokenizer(mini), 64, 8)


def examples(*texts):
    return tuple(Example(str(n), "mul", str(n), TextPair(text), None) for n, text in enumerate(texts))


@pytest.fixture(scope="module")
def features(lines):
    return encode(TASK, load_task("mini_mlm").data.examples("dev", "mul"), lines).features


def test_lines_are_encoded_without_masks(lines):
    encoded = encode(TASK, examples("Monday and 7 euro", "May " * 100), lines)
    assert [len(feature.rows) for feature in encoded.features] == [1, 1]
    assert encoded.truncated == 1 and encoded.features[1].length == 64
    assert all(feature.weight == 0 and not len(feature.anchors) for feature in encoded.features)
    mask = lines.tokenizer.token_to_id("<mask>")
    assert not any((feature.rows[0] == mask).any() for feature in encoded.features)


def test_lines_without_a_known_token_are_passed_over(text):
    """A tokenizer may delete all that a line holds."""
    plain = text()
    tokenizer = Tokenizer.from_str(plain.tokenizer.to_str())
    tokenizer.add_special_tokens(["<mask>"])
    lines = Text(tokenizer, 48, 8)
    encoded = encode(TASK, examples("\u200b", "red dog", "\u200b"), lines)
    assert [feature.example for feature in encoded.features] == [1]
    with pytest.raises(XstiltsError, match="no line has a token"):
        encode(TASK, examples("\u200b"), lines)


def test_what_is_not_a_line_is_refused(lines, text):
    with pytest.raises(XstiltsError, match="one text"):
        encode(TASK, (Example("0", "mul", "0", TextPair("a", "b"), None),), lines)
    with pytest.raises(XstiltsError, match="tokenizer with <mask>"):
        encode(TASK, examples("red"), text())


def test_the_masks_are_those_of_bert(lines, features):
    mask = lines.tokenizer.token_to_id("<mask>")
    shown, right = [], 0
    for seed in range(40):
        for plain, noisy in zip(features, FORMAT.noise(features, lines, seed), strict=True):
            before, after = plain.rows[0], noisy.rows[0]
            places = noisy.anchors[:, 0]
            known = np.flatnonzero(~np.isin(before, (BOS, EOS, UNK, mask)))
            assert len(places) == max(1, round(CHOSEN * len(known))) and set(places) <= set(known)
            assert noisy.targets.tolist() == before[places].tolist() and noisy.example == plain.example
            untouched = np.setdiff1d(np.arange(len(before)), places)
            assert (before[untouched] == after[untouched]).all()
            shown += after[places].tolist()
            right += int((after[places] == before[places]).sum())
    hidden = shown.count(mask) / len(shown)
    assert len(shown) > 10_000
    assert abs(hidden - 0.8) < 0.02 and abs(right / len(shown) - 0.1) < 0.02


def test_masks_are_a_function_of_line_and_seed(lines, features):
    def rows(batch, seed):
        return {noisy.example: noisy.rows[0].tolist() for noisy in FORMAT.noise(batch, lines, seed)}

    assert rows(features, 5) == rows(features[::-1], 5)
    assert rows(features[10:20], 5) == {number: rows(features, 5)[number] for number in range(10, 20)}
    assert rows(features, 5) != rows(features, 6)


# -------------------------------------------------------------------------------------------------------------- head


def test_head_and_loss_are_those_of_the_library(mini, lines, features):
    """The model that pre-trained the backbone scores the same masked tokens alike."""
    reference = XLMRobertaForMaskedLM.from_pretrained(mini.path, dtype=torch.float32).eval()
    noisy = FORMAT.noise(features[:8], lines, 3)
    batch = collate(noisy)
    labels = torch.full_like(batch.ids, -100)
    for row, feature in enumerate(noisy):
        labels[row, feature.anchors[:, 0]] = torch.from_numpy(feature.targets)
    model = compose.Model(compose.load_encoder(mini), LanguageModelHead(reference.config)).eval()
    model.head.load_state_dict(load_language_model_head(mini))
    model.head.tie(model.encoder.embeddings.word_embeddings)
    with torch.inference_mode():
        expected = reference(input_ids=batch.ids, attention_mask=batch.mask, labels=labels)
        scores = model(batch)
        for row, feature in enumerate(noisy):
            wanted = expected.logits[row, feature.anchors[:, 0]]
            assert torch.allclose(scores[row, : len(wanted)], wanted, atol=1e-4)
        mean = loss(scores, batch.targets) / sum(feature.weight for feature in noisy)
    assert mean.item() == pytest.approx(expected.loss.item(), rel=1e-4)
    assert scores.shape == (8, batch.targets.shape[1], reference.config.vocab_size)


def test_the_decoder_follows_the_encoder_to_its_device(mini):
    encoder = compose.load_encoder(mini)
    model = compose.Model(encoder, LanguageModelHead(encoder.config))
    model.head.tie(encoder.embeddings.word_embeddings)
    model.to("meta")
    ids = torch.zeros((2, 5), dtype=torch.long, device="meta")
    batch = Batch(ids, torch.ones_like(ids), ids[:, :1], ids[:, :1])
    hidden = torch.zeros((2, 5, encoder.config.hidden_size), device="meta")
    assert model.head(hidden, batch).shape == (2, 1, encoder.config.vocab_size)


def test_the_decoder_is_not_the_heads_own(mini):
    head = LanguageModelHead(compose.load_encoder(mini).config)
    head.tie(torch.nn.Embedding(5, 5))
    assert {name for name, _ in head.named_parameters()} == {
        "dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias",
    }  # fmt: skip
