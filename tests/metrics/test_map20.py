import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.metrics import load_metric
from xstilts.metrics.map20 import average_precision, stats


def precision_by_precision(relevant, ranked, depth=20):
    """The definition: precision at every rank of a relevant candidate, over all that could be there."""
    relevant = set(relevant)
    total = 0.0
    for rank in range(1, min(depth, len(ranked)) + 1):
        if ranked[rank - 1] in relevant and ranked[rank - 1] not in ranked[: rank - 1]:
            total += len(relevant & set(ranked[:rank])) / rank
    return total / min(len(relevant), depth)


keys = st.integers(0, 40).map(str)


@given(st.sets(keys, min_size=1), st.lists(keys, max_size=30))
def test_average_precision_is_its_definition(relevant, ranked):
    assert average_precision(tuple(relevant), ranked) == pytest.approx(
        precision_by_precision(relevant, ranked), abs=1e-12
    )


@given(keys, st.lists(keys, max_size=30, unique=True))
def test_with_one_relevant_candidate_it_is_the_reciprocal_rank(relevant, ranked):
    rank = ranked[:20].index(relevant) + 1 if relevant in ranked[:20] else None
    assert average_precision((relevant,), ranked) == (1 / rank if rank else 0.0)


@given(st.sets(keys, min_size=1))
def test_a_ranking_that_cannot_be_better_scores_one(relevant):
    others = [f"x{number}" for number in range(20)]
    assert average_precision(tuple(relevant), [*relevant, *others]) == pytest.approx(1.0)


def test_against_sklearn_where_all_candidates_are_ranked():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(0)
    for _ in range(200):
        ranked = draw.sample(range(20), 20)
        relevant = draw.sample(range(20), draw.randint(1, 10))
        truth = [key in relevant for key in ranked]
        expected = sklearn_metrics.average_precision_score(truth, range(20, 0, -1))
        assert average_precision([str(key) for key in relevant], [str(key) for key in ranked]) == pytest.approx(
            expected
        )


def test_the_score_is_the_mean_over_queries_that_have_something_to_find():
    rows = [
        stats(("a",), ("a", "b"), "de"),
        stats(("b",), ("a", "b"), "de"),
        stats((), ("a",), "de"),
        stats(None, (), "de"),
    ]
    assert rows[2] == rows[3] == (0.0, 0.0)
    assert load_metric("map20").score([sum(column) for column in zip(*rows, strict=True)]) == 75.0
