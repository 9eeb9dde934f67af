import numpy as np
import pytest
import torch

from xstilts.batches import IGNORED, collate
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.spec import Choices, Example


def example(prompt, *options, gold=0):
    return Example("7", "et", "c", Choices(prompt, options), gold)


def test_every_option_is_a_row_after_the_prompt(toys, text):
    (feature,) = encode(toys.task("choice"), [example("the red dog", "runs", "sleeps near", gold=1)], text()).features
    assert len(feature.rows) == 2 and feature.targets.tolist() == [1]
    prompt = text().ids(["the red dog"])[0]
    for row, option in zip(feature.rows, ("runs", "sleeps near"), strict=True):
        assert row.tolist() == [0, *prompt, 2, 2, *text().ids([option])[0], 2]


def test_without_a_prompt_options_stand_alone(toys, text):
    (feature,) = encode(toys.task("choice"), [example("", "red", "cat")], text()).features
    assert [row.tolist() for row in feature.rows] == [[0, *text().ids([word])[0], 2] for word in ("red", "cat")]


def test_options_of_a_batch_compete_within_their_question(encoder_config, toys, text):
    head = load_format("choice").head(toys.task("choice"), encoder_config).eval()
    batch = collate(
        encode(toys.task("choice"), [example("dog", "red", "cat"), example("old", "cat", "the")], text()).features
    )
    hidden = torch.randn(4, batch.ids.shape[1], 32)
    scores = head(hidden, batch)
    assert scores.shape == (2, 1, 2)
    alone = torch.cat([head(hidden[row : row + 1], batch._replace(targets=batch.targets[:1])) for row in range(4)])
    assert torch.allclose(scores.flatten(), alone.flatten(), atol=1e-6)


def test_decode_takes_the_best_option(toys, text, decode):
    encoded = encode(toys.task("choice"), [example("dog", "red", "cat", gold=None)], text())
    assert encoded.features[0].targets.tolist() == [IGNORED]
    assert decode(toys.task("choice"), [], encoded.features, [np.array([[1, 2]], "f")]) == {0: 1}


def test_truncation_is_counted_per_question(toys, text):
    encoded = encode(toys.task("choice"), [example("dog " * 30, "red", "cat"), example("dog", "red", "cat")], text(16))
    assert encoded.truncated == 1 and encoded.features[0].length == 16


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (example("dog", "red", "cat", gold=2), "not the index of an option; given '2'"),
        (example("dog", "red", "cat", gold="red"), "not the index of an option"),
        (example("dog", "red"), "at least two options"),
        (example("dog", "red", " "), "none of them empty"),
        (example("dog", "red", "cat", "old"), "must have 2 options like the others; given '3'"),
    ],
)
def test_bad_examples_are_refused(toys, text, bad, message):
    with pytest.raises(XstiltsError, match=message):
        encode(toys.task("choice"), [example("dog", "red", "cat"), bad], text())
