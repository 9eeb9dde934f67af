import numpy as np
import pytest

from xstilts.errors import XstiltsError
from xstilts.formats import encode
from xstilts.spec import Example, Sentence, candidate_key


def example(text, role, language, item):
    return Example(item, language, item, Sentence(text, role), ("x|de",) if role == "query" else None)


@pytest.fixture
def rank(toys, text, decode):
    """(examples, vectors) → keys of the nearest candidates of each query."""

    def find(examples, vectors):
        features = encode(toys.task("ranking"), examples, text()).features
        return decode(toys.task("ranking"), examples, features, [np.array([vector], "f") for vector in vectors])

    return find


def test_candidates_of_all_languages_form_one_pool(rank):
    examples = [
        example("a", "query", "de", "1"),
        example("b", "candidate", "de", "x"),
        example("c", "candidate", "fr", "x"),
        example("d", "query", "fr", "1"),
        example("e", "candidate", "mul", "y"),
    ]
    assert candidate_key(examples[1]) == "x|de"
    found = rank(examples, [[1, 0], [0, 1], [1, 1], [0, 9], [5, 0]])
    assert found == {0: ("y|mul", "x|fr", "x|de"), 3: ("x|de", "x|fr", "y|mul")}


def test_twenty_are_kept_and_equals_stay_in_their_order(rank):
    examples = [example("a", "query", "de", "1")]
    examples += [example("b", "candidate", "de", str(number)) for number in range(50)]
    vectors = [[1, 0], *([1, number // 10] for number in range(50))]
    assert rank(examples, vectors)[0] == tuple(f"{number}|de" for number in range(20))


@pytest.mark.parametrize("role", ["query", "candidate"])
def test_one_side_alone_is_refused(rank, role):
    with pytest.raises(XstiltsError, match="needs queries and candidates"):
        rank([example("a", role, "de", "1")], [[1, 0]])
