import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from xstilts.batches import collate
from xstilts.errors import XstiltsError
from xstilts.formats import Pool, encode, loss
from xstilts.formats._pool import POOLINGS, pool
from xstilts.spec import Example, Sentence, TextPair


def sentence(text, role="query", language="de", item="1"):
    return Example(item, language, item, Sentence(text, role), item if role == "query" else None)


@pytest.mark.parametrize("how", POOLINGS)
def test_each_pooling_against_a_loop(toys, text, how):
    """Including a sentence that the tokenizer deletes."""
    examples = [sentence("the red dog runs"), sentence("cat"), sentence("\u200b"), sentence("北京大学 在 北京")]
    batch = collate(encode(toys.task("retrieval"), examples, text()).features)
    hidden = torch.randn(*batch.ids.shape, 32)
    pooled = Pool(how)(hidden, batch)
    assert pooled.shape == (4, 1, 32) and not list(Pool().parameters())
    for row, (ids, states) in enumerate(zip(batch.ids.tolist(), hidden, strict=True)):
        taken = {
            "mean_no_special": [state for token, state in zip(ids, states, strict=True) if token > 2],
            "mean": [state for token, state in zip(ids, states, strict=True) if token != 1],
            "cls": [states[0]],
        }[how]
        expected = sum(taken, torch.zeros(32)) / max(len(taken), 1)
        assert torch.allclose(pooled[row, 0], expected, atol=1e-6)


def test_the_default_leaves_special_tokens_out():
    assert Pool().how == "mean_no_special" and len(POOLINGS) == 3


def test_queries_find_the_nearest_candidate_of_their_language(toys, text, decode):
    examples = [
        sentence("a", "query", "de", "1"),
        sentence("b", "candidate", "de", "2"),
        sentence("c", "candidate", "de", "3"),
        sentence("d", "query", "fr", "9"),
        sentence("e", "candidate", "fr", "9"),
    ]
    features = encode(toys.task("retrieval"), examples, text()).features
    vectors = [np.array([vector], "f") for vector in ([1, 0], [0, 5], [2, 1], [0, 1], [9, 0])]
    found = decode(toys.task("retrieval"), examples, features, vectors)
    assert found == {0: "3", 3: "9"}


@pytest.mark.parametrize("role", ["query", "candidate"])
def test_a_language_with_one_side_only_is_refused(toys, text, decode, role):
    examples = [sentence("a", role)]
    features = encode(toys.task("retrieval"), examples, text()).features
    with pytest.raises(XstiltsError, match="language de: needs queries and candidates"):
        decode(toys.task("retrieval"), examples, features, [np.ones((1, 2), "f")])


def test_an_empty_sentence_is_refused(toys, text):
    with pytest.raises(XstiltsError, match="has an empty text"):
        encode(toys.task("retrieval"), [sentence(" ")], text())


# ---------------------------------------------------------------------------------------------------------- pairs


def pair(query, positive, item="1"):
    return Example(item, "en", item, TextPair(query, positive), item)


def test_a_pair_is_one_feature_of_two_rows(toys, text):
    first, second = encode(
        toys.task("ranking"), [pair("the dog", "a red dog runs"), pair("cat", "old")], text()
    ).features
    single = encode(toys.task("ranking"), [sentence("the dog"), sentence("a red dog runs")], text()).features
    assert [row.tolist() for row in first.rows] == [row.tolist() for each in single for row in each.rows]
    assert first.targets.tolist() == second.targets.tolist() == [0]
    assert single[0].weight == 0


@pytest.mark.parametrize(("query", "positive"), [("", "a"), ("a", " "), ("a", None)])
def test_an_empty_side_of_a_pair_is_refused(toys, text, query, positive):
    with pytest.raises(XstiltsError, match="has an empty text"):
        encode(toys.task("ranking"), [pair("a", "b"), pair(query, positive)], text())


def test_pairs_and_sentences_are_not_mixed(toys, text):
    with pytest.raises(XstiltsError, match="not an input of format ranking"):
        encode(toys.task("ranking"), [pair("a", "b"), sentence("c")], text())


def test_a_batch_of_pairs_is_scored_against_its_own_positives(toys, text):
    """Against a loop over pairs, and the loss against the softmax over the batch with the diagonal as target."""
    pairs = [pair("the dog", "a red dog runs"), pair("cat", "old"), pair("river near", "the house sleeps")]
    batch = collate(encode(toys.task("ranking"), pairs, text()).features)
    hidden = torch.randn(*batch.ids.shape, 32, generator=torch.Generator().manual_seed(0))
    scores = Pool()(hidden, batch)
    vectors = pool(hidden, batch.ids, "mean_no_special")
    assert scores.shape == (3, 1, 3)
    table = torch.empty(3, 3)
    for query in range(3):
        for place in range(3):
            positive = (query + place) % 3
            table[query, positive] = cosine_similarity(vectors[2 * query], vectors[2 * positive + 1], dim=0) / 0.01
            assert torch.isclose(scores[query, 0, place], table[query, positive], atol=1e-3)
    assert torch.isclose(loss(scores, batch.targets), cross_entropy(table, torch.arange(3), reduction="sum"), rtol=1e-4)


def test_similarities_are_not_rounded_by_mixed_precision(toys, text):
    """The best ones lie near 100, where neighbouring numbers of bf16 are 0.5 apart."""
    words = ("dog", "cat", "river", "house", "old", "red", "blue", "green")
    batch = collate(encode(toys.task("ranking"), [pair(word, f"the {word}") for word in words], text()).features)
    common = torch.randn(256, generator=torch.Generator().manual_seed(0))
    own = torch.randn(*batch.ids.shape, 256, generator=torch.Generator().manual_seed(1))
    hidden = (common + 0.3 * own).requires_grad_()  # cosines of 0.9 and more
    expected = Pool()(hidden.detach(), batch)
    with torch.autocast("cpu", torch.bfloat16):
        scores = Pool()(hidden, batch)
        summed = loss(scores, batch.targets)
    assert expected.min() > 85 and scores.dtype == torch.float32
    assert torch.equal(scores, expected)
    summed.backward()
    assert hidden.grad.isfinite().all() and hidden.grad.abs().sum() > 0


def test_the_same_positive_of_another_pair_is_no_negative(toys, text):
    pairs = [pair("the dog", "a red dog"), pair("cat", "old"), pair("river", "a red dog")]
    batch = collate(encode(toys.task("ranking"), pairs, text()).features)
    scores = Pool()(torch.randn(*batch.ids.shape, 8), batch)[:, 0]
    assert scores.isneginf().tolist() == [[False, False, True], [False, False, False], [False, True, False]]


def test_one_pair_alone_teaches_nothing(toys, text):
    batch = collate(encode(toys.task("ranking"), [pair("the dog", "red")], text()).features)
    assert float(loss(Pool()(torch.randn(*batch.ids.shape, 8), batch), batch.targets)) == 0.0
