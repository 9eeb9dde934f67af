import numpy as np
import pytest
import torch

from xstilts.batches import collate
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.formats.retrieval import MeanPool
from xstilts.spec import Example, Sentence


def sentence(text, role="query", language="de", item="1"):
    return Example(item, language, item, Sentence(text, role), item if role == "query" else None)


def test_the_mean_leaves_out_special_tokens_and_padding(toys, text):
    """Against a loop, including a sentence that the tokenizer deletes."""
    examples = [sentence("the red dog runs"), sentence("cat"), sentence("\u200b"), sentence("北京大学 在 北京")]
    batch = collate(encode(toys.task("retrieval"), examples, text()).features)
    hidden = torch.randn(*batch.ids.shape, 32)
    pooled = MeanPool()(hidden, batch)
    assert pooled.shape == (4, 1, 32) and not list(MeanPool().parameters())
    for row, (ids, states) in enumerate(zip(batch.ids.tolist(), hidden, strict=True)):
        kept = [state for token, state in zip(ids, states, strict=True) if token > 2]
        expected = sum(kept, torch.zeros(32)) / max(len(kept), 1)
        assert torch.allclose(pooled[row, 0], expected, atol=1e-6)


def test_queries_find_the_nearest_candidate_of_their_language(toys, text):
    examples = [
        sentence("a", "query", "de", "1"),
        sentence("b", "candidate", "de", "2"),
        sentence("c", "candidate", "de", "3"),
        sentence("d", "query", "fr", "9"),
        sentence("e", "candidate", "fr", "9"),
    ]
    features = encode(toys.task("retrieval"), examples, text()).features
    vectors = [np.array([vector], "f") for vector in ([1, 0], [0, 5], [2, 1], [0, 1], [9, 0])]
    found = load_format("retrieval").decode(toys.task("retrieval"), examples, features, vectors)
    assert found == {0: "3", 3: "9"}


@pytest.mark.parametrize("role", ["query", "candidate"])
def test_a_language_with_one_side_only_is_refused(toys, text, role):
    examples = [sentence("a", role)]
    features = encode(toys.task("retrieval"), examples, text()).features
    with pytest.raises(XstiltsError, match="language de: needs queries and candidates"):
        load_format("retrieval").decode(toys.task("retrieval"), examples, features, [np.ones((1, 2), "f")])


def test_an_empty_sentence_is_refused(toys, text):
    with pytest.raises(XstiltsError, match="has an empty text"):
        encode(toys.task("retrieval"), [sentence(" ")], text())
