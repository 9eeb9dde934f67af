import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score

from xstilts.metrics.tagging import METRIC

IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
IOBES = (*IOB, "E-PER", "S-PER", "S-LOC")
# without CCONJ, which seqeval 1.x takes for SCONJ, and X, which it loses; see the metric's docstring
POS = ("ADJ", "ADP", "DET", "INTJ", "NOUN", "NUM", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB")


def corpora(alphabet):
    def sentence(n):
        return st.tuples(*[st.lists(st.sampled_from(alphabet), min_size=n, max_size=n)] * 2)

    return st.lists(st.integers(1, 8).flatmap(sentence), min_size=1, max_size=4)


@pytest.mark.parametrize("alphabet", [IOB, IOBES, POS], ids=["iob", "iobes", "pos"])
def test_chunk_f1(alphabet):
    @settings(max_examples=1000, deadline=None)
    @given(corpora(alphabet))
    def check(corpus):
        gold, pred = ([list(pair[side]) for pair in corpus] for side in (0, 1))
        rows = [METRIC.stats(*pair, "en") for pair in corpus]
        ours = METRIC.score([sum(column) for column in zip(*rows, strict=True)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval warns about every tag that is not IOB
            theirs = 100 * f1_score(gold, pred, zero_division=0)
        assert (0.0 if ours != ours else ours) == pytest.approx(theirs, abs=1e-9, rel=0)

    check()
