from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xstilts.batches import (
    IGNORED,
    LEAST,
    MOST_PADDING,
    NO_ANCHORS,
    PAD,
    Feature,
    collate,
    epoch_batches,
    lengths,
    micro_batches,
    mixture_batches,
    probabilities,
    shares,
    sorted_batches,
)
from xstilts.spec import Sampling


def feature(*sizes, targets=(0,), example=0):
    rows = tuple(np.arange(3, 3 + size, dtype=np.int32) for size in sizes)
    return Feature(example, rows, np.array(targets, np.int64), NO_ANCHORS)


def test_collate_pads_rows_and_targets():
    batch = collate([feature(3, 5, targets=(1,)), feature(2, 2, targets=(0, 2))])
    assert batch.ids.shape == batch.mask.shape == (4, 5)
    assert batch.ids[0].tolist() == [3, 4, 5, PAD, PAD] and batch.mask.sum(1).tolist() == [3, 5, 2, 2]
    assert batch.targets.tolist() == [[1, IGNORED], [0, 2]]
    assert all(tensor.dtype == torch.int64 for tensor in batch)
    assert batch.anchors.shape == (2, 0)


def test_collate_gives_the_positions_of_anchors():
    anchored = Feature(
        0, (np.arange(3, 9, dtype=np.int32),), np.array([7, 8]), np.array([[2, 0, 1], [4, 1, 2]], np.int32)
    )
    assert collate([anchored, feature(3)]).anchors.tolist() == [[2, 4], [0, 0]]


def test_weight_counts_targets():
    assert feature(4, targets=(IGNORED, 2, IGNORED, 0)).weight == 2


sizes = st.lists(st.integers(1, 90), min_size=1, max_size=400).map(lambda values: np.array(values, np.int64))


@given(sizes, st.integers(1, 40), st.integers(0, 2**62), st.integers(0, 3))
def test_an_epoch_has_every_feature_once_and_depends_on_seed_and_number(sizes, batch, seed, epoch):
    batches = epoch_batches(sizes, batch, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
    assert len(batches) == -(-len(sizes) // batch) and max(map(len, batches)) <= batch
    assert all((np.diff(sizes[one]) >= 0).all() for one in batches)
    again = epoch_batches(sizes, batch, seed, epoch)
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))


def test_epochs_and_seeds_differ():
    sizes = np.random.default_rng(0).integers(5, 60, 500)
    orders = [np.concatenate(epoch_batches(sizes, 16, seed, epoch)).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


# ---------------------------------------------------------------------------------------------------------- mixtures

SAMPLINGS = (
    Sampling(kind="proportional"),
    Sampling(kind="uniform"),
    Sampling(kind="temperature", temperature=1.0),
    Sampling(kind="temperature", temperature=2.0),
    Sampling(kind="temperature", temperature=5.0),
    Sampling(kind="capped", cap=1),
    Sampling(kind="capped", cap=100),
)
samplings = st.sampled_from(SAMPLINGS)
tasks = st.lists(sizes, min_size=1, max_size=5)


@given(sizes, samplings, st.integers(1, 40), st.integers(0, 2**62), st.integers(0, 3))
def test_a_mixture_of_one_task_has_the_batches_of_that_task(one, sampling, batch, seed, epoch):
    mixed = mixture_batches([one], batch, sampling, seed, epoch)
    alone = epoch_batches(one, batch, seed, epoch)
    assert all(task == 0 for task, _ in mixed)
    assert [indices.tolist() for _, indices in mixed] == [indices.tolist() for indices in alone]


@given(tasks, st.integers(1, 40), st.integers(0, 2**62), st.integers(0, 3))
def test_proportional_is_every_feature_once(lengths_of, batch, seed, epoch):
    mixed = mixture_batches(lengths_of, batch, Sampling(kind="proportional"), seed, epoch)
    for task, one in enumerate(lengths_of):
        mine = [indices for number, indices in mixed if number == task]
        assert sorted(np.concatenate(mine).tolist()) == list(range(len(one)))
        assert all((np.diff(one[indices]) >= 0).all() for indices in mine)
    first = [indices.tolist() for number, indices in mixed if number == 0]
    alone = [indices.tolist() for indices in epoch_batches(lengths_of[0], batch, seed, epoch)]
    assert first == alone


@given(tasks, samplings, st.integers(1, 40), st.integers(0, 2**62), st.integers(0, 3))
def test_an_epoch_of_any_sampling_is_as_long_and_repeats(lengths_of, sampling, batch, seed, epoch):
    mixed = mixture_batches(lengths_of, batch, sampling, seed, epoch)
    assert len(mixed) == sum(-(-len(one) // batch) for one in lengths_of)
    again = mixture_batches(lengths_of, batch, sampling, seed, epoch)
    assert [(task, indices.tolist()) for task, indices in mixed] == [(t, i.tolist()) for t, i in again]


@given(tasks, samplings, st.integers(1, 40))
def test_each_task_has_its_share(lengths_of, sampling, batch):
    counts = shares(lengths_of, batch, sampling)
    total = sum(-(-len(one) // batch) for one in lengths_of)
    drawn = Counter(task for task, _ in mixture_batches(lengths_of, batch, sampling, 1, 2))
    assert sum(counts) == total and [drawn[task] for task in range(len(lengths_of))] == list(counts)
    if sampling.kind == "proportional":
        assert list(counts) == [-(-len(one) // batch) for one in lengths_of]
        return
    wanted = probabilities([len(one) for one in lengths_of], sampling) * total
    raised = sum(count == 1 and share < 1 for count, share in zip(counts, wanted, strict=True))
    for count, share in zip(counts, wanted, strict=True):
        assert count >= 1 and -1 - raised < count - share < 1 + 1e-9


@given(tasks, samplings, st.integers(1, 40), st.integers(0, 2**62))
def test_a_task_is_seen_as_a_whole_before_anything_is_seen_twice(lengths_of, sampling, batch, seed):
    """Over epochs, too: an epoch goes on where the last one ended."""
    seen = [np.zeros(len(one), int) for one in lengths_of]
    for epoch in range(4):
        for task, indices in mixture_batches(lengths_of, batch, sampling, seed, epoch):
            assert (seen[task][indices] == seen[task].min()).all()
            seen[task][indices] += 1


def test_probabilities_are_those_of_the_formulas():
    given_sizes = [400_000, 100_000, 2_500]
    for sampling, weights in (
        (Sampling(kind="proportional"), [400_000, 100_000, 2_500]),
        (Sampling(kind="uniform"), [1, 1, 1]),
        (Sampling(kind="capped", cap=40_000), [40_000, 40_000, 2_500]),
        (Sampling(kind="temperature", temperature=2.0), [400_000**0.5, 100_000**0.5, 50]),
    ):
        expected = np.array(weights, float) / sum(weights)
        assert np.allclose(probabilities(given_sizes, sampling), expected)


def test_tasks_are_mixed_and_not_one_after_the_other():
    same = [np.full(320, 10), np.full(320, 10)]
    mixed = mixture_batches(same, 32, Sampling(kind="uniform"), 3, 0)
    order = [task for task, _ in mixed]
    assert order != sorted(order) and order != sorted(order, reverse=True)
    first, second = ([i.tolist() for t, i in mixed if t == task] for task in (0, 1))
    assert sorted(map(sorted, first)) != sorted(map(sorted, second)), "equal sizes must not mean equal batches"
    orders = {tuple(t for t, _ in mixture_batches(same, 32, Sampling(kind="uniform"), 3, e)) for e in range(4)}
    assert len(orders) == 4


DISTRIBUTIONS = {
    "short sentences": lambda random, n: random.poisson(20, n) + 4,
    "gamma": lambda random, n: np.clip(random.gamma(2.6, 15, n), 6, 128).astype(int),
    "uniform": lambda random, n: random.integers(5, 128, n),
    "two modes": lambda random, n: np.where(random.random(n) < 0.1, 120, 12),
}


@pytest.mark.parametrize("shape", DISTRIBUTIONS)
@pytest.mark.parametrize("count", [1000, 20_000])
def test_padding_stays_below_ten_percent(shape, count):
    sizes = DISTRIBUTIONS[shape](np.random.default_rng(0), count)
    computed = sum(len(batch) * sizes[batch].max() for batch in epoch_batches(sizes, 32, 0, 0))
    assert computed / sizes.sum() <= 1.10


@given(sizes, st.integers(1, 64))
def test_micro_batches_keep_every_feature_and_the_order(sizes, size):
    features = [feature(length) for length in sorted(sizes)]
    parts = micro_batches(features, size)
    assert [one for part in parts for one in part] == features
    assert all(1 <= len(part) <= size for part in parts)
    for part in parts:
        assert len(part) <= LEAST or part[-1].length * len(part) <= MOST_PADDING * sum(one.length for one in part)


def test_micro_batches_count_all_options_of_a_question():
    features = [feature(10, 2)] * 20
    assert [len(part) for part in micro_batches(features, 20)] == [8, 8, 4]


@pytest.mark.parametrize("count", [60, 300, 600])
def test_padding_stays_low_in_small_data_sets(count):
    random = np.random.default_rng(0)
    sizes = np.clip(random.gamma(1.8, 14, count), 4, 128).astype(np.int64)
    parts = [
        part
        for batch in epoch_batches(sizes, 32, 0, 0)
        for part in micro_batches([feature(size) for size in sizes[batch]], 32)
    ]
    computed = sum(len(part) * part[-1].length for part in parts)
    assert computed / sizes.sum() <= (1.10 if count >= 300 else 1.25)


@given(sizes, st.integers(1, 500))
def test_prediction_batches_have_every_feature_once_within_the_budget(sizes, tokens):
    features = [feature(size) for size in sizes]
    batches = sorted_batches(features, tokens)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(sizes)))
    assert all(len(batch) == 1 or len(batch) * sizes[batch].max() <= tokens for batch in batches)
    assert np.array_equal(lengths(features), sizes)
