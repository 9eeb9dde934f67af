from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaClassificationHead

from xstilts.batches import IGNORED, NO_ANCHORS, Feature, collate
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format, loss
from xstilts.spec import Example, TextPair, Words


def example(first, second=None, gold="yes"):
    return Example("7", "de", "c", TextPair(first, second), gold)


def test_one_text_and_pairs(toys, text):
    task = toys.task("classification")
    alone, pair = encode(task, [example("red dog"), example("red dog", "blue house", "no")], text()).features
    assert alone.rows[0][0] == 0 and alone.rows[0][-1] == 2 and (alone.rows[0] == 2).sum() == 1
    assert (pair.rows[0] == 2).sum() == 3 and np.array_equal(pair.rows[0][: alone.length], alone.rows[0])
    assert (alone.targets.tolist(), pair.targets.tolist()) == ([1], [0])


def test_truncation_is_counted_and_keeps_both_texts(toys, text):
    encoded = encode(toys.task("classification"), [example("red " * 40, "blue " * 40), example("dog")], text(16))
    row = encoded.features[0].rows[0]
    assert encoded.truncated == 1 and len(row) == 16
    assert np.flatnonzero(row == 2).tolist() == [7, 8, 15]


def test_no_gold_is_no_target(toys, text):
    assert encode(toys.task("classification"), [example("dog", gold=None)], text()).features[0].targets == [IGNORED]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (example("dog", gold="maybe"), r"example 7 \(de\): gold is outside the label space; given 'maybe'.*no, yes"),
        (example("dog", gold=1), "label space; given '1'"),
        (example("  "), "has an empty text"),
        (example("dog", ""), "has an empty text"),
        (replace(example("dog"), fields=Words(("dog",))), "not an input of format classification; given 'Words'"),
    ],
)
def test_bad_examples_are_refused(toys, text, bad, message):
    with pytest.raises(XstiltsError, match=message):
        encode(toys.task("classification"), [example("dog"), bad], text())


def test_no_examples_are_refused(toys, text):
    with pytest.raises(XstiltsError, match="task toy_classification: has no examples"):
        encode(toys.task("classification"), [], text())


def test_the_head_is_the_librarys(encoder_config, toys):
    ours = load_format("classification").head(toys.task("classification"), encoder_config).eval()
    theirs = XLMRobertaClassificationHead(encoder_config).eval()  # two labels by default
    theirs.load_state_dict(ours.state_dict())
    hidden = torch.randn(5, 7, 32)
    batch = collate(features())
    assert torch.equal(ours(hidden, batch)[:, 0], theirs(hidden))
    assert 0.01 < ours.dense.weight.std() < 0.03 and not ours.dense.bias.any()


def features():
    return [Feature(0, (np.array([0, 5, 2], np.int32),), np.array([1]), NO_ANCHORS)] * 5


def test_loss_is_the_sum_of_cross_entropies(toys):
    scores, targets = torch.randn(3, 2, 4), torch.tensor([[1, 0], [IGNORED, 3], [2, IGNORED]])
    expected = -sum(torch.log_softmax(scores, -1)[i, s, targets[i, s]] for i in range(3) for s in range(2)
                    if targets[i, s] != IGNORED)  # fmt: skip
    assert torch.allclose(loss(scores, targets), expected)


def test_decode_takes_the_best_label(toys, decode):
    found = decode(toys.task("classification"), [], features()[:1], [np.array([[0.1, 0.3]], "f")])
    assert found == {0: "yes"}
