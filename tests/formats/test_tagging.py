from dataclasses import replace

import numpy as np
import pytest

from xstilts.batches import IGNORED, UNK
from xstilts.errors import XstiltsError
from xstilts.formats import encode
from xstilts.spec import Example, Words


def example(*words, gold=None):
    return Example("7", "th", "c", Words(words), gold)


def perfect(features, labels):
    """Scores that name the gold tag at each anchored token and nonsense elsewhere."""
    scores = []
    for feature in features:
        score = np.full((feature.length + 3, labels), 0.5, np.float32)
        score[:, 0] = 9.0
        for position in feature.anchors[:, 0]:
            score[position] = np.eye(labels)[feature.targets[position]]
        scores.append(score)
    return scores


def test_the_first_piece_of_each_word_is_labelled(toys, text):
    task = toys.task("tagging")
    (feature,) = encode(task, [example("red", "Zürichhouse", "dog", gold=("COLOUR", "X", "NOUN"))], text()).features
    words = text().words([("red", "Zürichhouse", "dog")])[0]
    assert len(words[1]) > 1 and feature.length == 2 + sum(map(len, words))
    expected = [IGNORED, 1, 0, *[IGNORED] * (len(words[1]) - 1), 2, IGNORED]
    assert feature.targets.tolist() == expected and feature.weight == 3
    assert feature.rows[0][feature.anchors[:, 0]].tolist() == [word[0] for word in words]


def test_a_word_that_the_tokenizer_deletes_is_unknown_but_has_a_tag(toys, text):
    (feature,) = encode(toys.task("tagging"), [example("red", "\u200b", "dog", gold=("X",) * 3)], text()).features
    assert len(feature.anchors) == 3 and feature.rows[0][feature.anchors[1, 0]] == UNK


@pytest.mark.parametrize("max_length", [8, 9, 12, 20, 60])
def test_no_word_is_lost_whatever_the_length(toys, text, decode, max_length):
    """Long sentences become several rows, joined again; a word longer than a row keeps its first pieces."""
    task = toys.task("tagging")
    words = ["red", "dog", "สวัสดีครับประเทศไทยภาษาไทย", "old", "12", "北京大学海淀区", *["near", "house"] * 5]
    gold = tuple(task.labels[number % 3] for number in range(len(words)))
    examples = [example(*words, gold=gold), example("dog", gold=("NOUN",))]
    encoded = encode(task, examples, text(max_length))
    assert all(feature.length <= max_length for feature in encoded.features)
    assert [feature.example for feature in encoded.features] == sorted(feature.example for feature in encoded.features)
    anchored = [number for f in encoded.features if f.example == 0 for number in f.anchors[:, 1].tolist()]
    assert anchored == list(range(len(words)))
    assert encoded.truncated == (max_length < 60)
    found = decode(task, examples, encoded.features, perfect(encoded.features, 3))
    assert found == {0: gold, 1: ("NOUN",)}


def test_without_gold_there_are_anchors_and_no_targets(toys, text):
    (feature,) = encode(toys.task("tagging"), [example("red", "dog")], text()).features
    assert feature.weight == 0 and len(feature.anchors) == 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (example(), "has no words"),
        (example("red", "dog", gold=("X",)), "one tag for each of its 2 words"),
        (example("red", gold=("VERB",)), "label space; given 'VERB'"),
        (example("red", gold="X"), "one tag for each"),
    ],
)
def test_bad_examples_are_refused(toys, text, bad, message):
    with pytest.raises(XstiltsError, match=message):
        encode(toys.task("tagging"), [replace(bad, item_id="8")], text())
