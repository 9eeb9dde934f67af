"""The pre-training text: languages, agreement of the sides, and the batches made of them."""

from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import xstilts.mini
from xstilts.mini.languages import SEEN, shares
from xstilts.mini.masking import MULTIPLE, batches, encode_pairs
from xstilts.mini.pairs import draw_answer, draw_language, draw_pair, draw_parallel, draw_record, draw_sequence

TOKENIZER = Tokenizer.from_file(str(Path(xstilts.mini.__file__).parent / "backbone" / "tokenizer.json"))


def test_languages_follow_their_shares():
    rng = np.random.default_rng(1)
    drawn = Counter(draw_language(rng) for _ in range(20_000))
    assert set(drawn) == set(SEEN)
    assert all(abs(drawn[code] / 20_000 - shares()[code]) < 0.01 for code in SEEN)


def test_records_are_exact_and_answers_readable():
    rng = np.random.default_rng(2)
    for _ in range(300):
        record = draw_record(rng)
        assert 2 <= len(record) <= 4 and all(shown.form in shown.fact.exact for shown in record)
        assert 1 <= len(draw_answer(rng, record)) <= 3


def test_sides_agree_where_they_share_a_fact():
    """Same facts in exact forms agree; facts of types that the other side lacks do not; all kinds of pairs occur."""
    rng = np.random.default_rng(3)
    verdicts = Counter()
    for _ in range(1500):
        first, second = draw_pair(rng)
        for side in (first, second):
            assert len(side.agrees) == len(side.written.spans)
            verdicts.update(side.agrees)
        if None not in first.agrees:
            assert any(first.agrees) == any(second.agrees)
        if first.written.text == second.written.text and None not in first.agrees:
            assert all(first.agrees) and all(second.agrees)
    total = sum(verdicts.values())
    assert 0.25 < verdicts[True] / total < 0.75 and 0.01 < verdicts[None] / total < 0.1


def test_sequences_are_not_compared():
    first, second = draw_sequence(np.random.default_rng(4))
    assert first.agrees == (None,) * 3 and second.agrees == (None,) * 2


def test_parallel_records_repeat():
    assert draw_parallel(np.random.default_rng(5)) == draw_parallel(np.random.default_rng(5))


def test_token_labels_stand_on_facts():
    rng = np.random.default_rng(6)
    pairs = [draw_pair(rng) for _ in range(200)]
    for (first, second), row in zip(pairs, encode_pairs(pairs, TOKENIZER), strict=True):
        assert len(row.ids) == len(row.agrees)
        labelled = {label for label in row.agrees if label >= 0}
        assert labelled == {int(agrees) for agrees in first.agrees + second.agrees if agrees is not None}
        assert row.covers == (-100 if None in second.agrees else int(all(second.agrees)))
        specials = [label for token, label in zip(row.ids, row.agrees, strict=True) if token in (0, 2)]
        assert specials == [-100] * 4


def test_batches():
    batch = next(batches(TOKENIZER, 16, seed=1))
    again = next(batches(TOKENIZER, 16, seed=1))
    assert all((a == b).all() for a, b in zip(batch, again, strict=True))
    assert batch.ids.shape == batch.targets.shape == batch.agrees.shape == batch.attention.shape
    assert batch.ids.shape[0] == 16 and batch.ids.shape[1] % MULTIPLE == 0 and batch.covers.shape == (16,)
    asked = batch.targets >= 0
    assert 0.02 < asked[batch.attention == 1].mean() < 0.4
    assert not asked[batch.attention == 0].any() and (batch.agrees[asked] == -100).all()
    mask = TOKENIZER.token_to_id("<mask>")
    assert ((batch.ids == mask) <= asked).all() and (batch.targets[asked] > 3).all()
