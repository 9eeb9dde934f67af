"""Search against brute force in double precision, with both engines."""

import importlib.util
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts import search
from xstilts.search import Subset, best_threshold, by_faiss, by_numpy, margins, mine, nearest, nearest_by_margin, top_k


def brute_force(queries, candidates, k):
    """Every cosine by Python's own sums; of equal ones (to nine decimals) the first."""
    rows, scores = [], []
    for query in queries.tolist():
        cosines = []
        for candidate in candidates.tolist():
            size = math.hypot(*query) * math.hypot(*candidate)
            dot = math.fsum(a * b for a, b in zip(query, candidate, strict=True))
            cosines.append(round(dot / size if size else 0.0, 9))
        best = sorted(range(len(cosines)), key=lambda row: (-cosines[row], row))[:k]
        rows.append(best)
        scores.append([cosines[row] for row in best])
    return np.array(rows), np.array(scores)


def other_engine(queries, candidates, k):
    """Stands in for FAISS: sums in another order, orders by score, and prefers the last of equals."""
    products = (queries[:, None, ::-1] * candidates[None, :, ::-1]).sum(axis=2, dtype=np.float32)
    rows = np.argsort(products[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :k]
    rows = products.shape[1] - 1 - rows
    return np.take_along_axis(products, rows, 1), rows


ENGINES = [by_numpy, other_engine]
if importlib.util.find_spec("faiss"):
    ENGINES.append(by_faiss)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "QUERY_BLOCK", 7)
    monkeypatch.setattr(search, "CANDIDATE_BLOCK", 11)
    monkeypatch.setattr(search, "WHOLE_QUERIES", 3)
    monkeypatch.setattr(search, "WHOLE_CANDIDATES", 5)
    monkeypatch.setattr(search, "SPARE", 2)


def vectors(seed, count, hidden=6, ties=False):
    """Random rows; with ties many are equal or scaled copies of one another, and some are zero."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, hidden)).astype(np.float32)
    if ties:
        copies = random.integers(count, size=count // 2)
        rows[random.integers(count, size=count // 2)] = rows[copies] * random.choice([0.5, 1, 3], (count // 2, 1))
        rows[random.integers(count, size=2)] = 0
    return rows


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 4, 20, 50])
def test_top_k_is_what_brute_force_finds(small_blocks, engine, ties, k):
    queries, candidates = vectors(1, 25, ties=ties), vectors(2, 40, ties=ties)
    rows, scores = brute_force(queries, candidates, k)
    found = top_k(queries, candidates, k, engine)
    assert found.rows.tolist() == rows.tolist()
    assert found.rows.shape == (25, min(k, 40))
    assert np.abs(found.scores - scores).max() <= 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 60), st.integers(1, 25))
def test_engines_agree_bit_for_bit(seed, queries, candidates, k):
    """On whole numbers ties are everywhere."""
    random = np.random.default_rng(seed)
    one = random.integers(-2, 3, size=(queries, 5)).astype(np.float32)
    other = random.integers(-2, 3, size=(candidates, 5)).astype(np.float32)
    first, *others = [top_k(one, other, k, engine) for engine in ENGINES]
    assert first.rows.tolist() == brute_force(one, other, k)[0].tolist()
    for found in others:
        assert np.array_equal(found.rows, first.rows)
        assert np.array_equal(found.scores, first.scores)


def test_vectors_that_single_precision_cannot_tell_apart_are_ordered_exactly():
    """All candidates lie within the rounding error of a product, and more of them than a shortlist holds."""
    query = np.ones((1, 64), np.float32)
    candidates = np.ones((500, 64), np.float32)
    candidates[:, 0] += np.linspace(1e-4, 4e-4, 500, dtype=np.float32)[::-1]
    for engine in ENGINES:
        assert top_k(query, candidates, 3, engine).rows.tolist() == brute_force(query, candidates, 3)[0].tolist()


def test_equal_candidates_are_given_in_their_order():
    candidates = np.ones((100, 4), np.float32) * np.arange(1, 101, dtype=np.float32)[:, None]
    assert top_k(np.ones((2, 4), np.float32), candidates, 5).rows.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert nearest(np.zeros((1, 4), np.float32), candidates).tolist() == [0]


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_memory_map_and_a_subset_of_rows_are_searched_alike(tmp_path, small_blocks, kind):
    queries, candidates = vectors(3, 9), vectors(4, 50).astype(kind)
    stored = np.lib.format.open_memmap(tmp_path / "vectors.npy", "w+", kind, candidates.shape)
    stored[:] = candidates
    expected = top_k(queries, candidates, 5)
    mapped, mixed = np.load(tmp_path / "vectors.npy", mmap_mode="r"), np.random.default_rng(0).permutation(50)
    for those in (mapped, Subset(mapped[mixed], np.argsort(mixed))):
        found = top_k(Subset(queries, np.arange(9)), those, 5)
        assert np.array_equal(found.rows, expected.rows) and np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_product_gives_the_same_cosines_as_sums(kind):
    """Rounded to nine decimals, bit for bit: 400,000 cosines, of which some are in doubt."""
    queries, candidates = vectors(5, 200, 64, ties=True).astype(kind), vectors(6, 2000, 64, ties=True).astype(kind)
    assert np.array_equal(search._table(queries, candidates), [search._cosines(each, candidates) for each in queries])


def test_a_cosine_between_two_roundings_is_settled_by_its_own_sum(monkeypatch):
    """With one decimal, 0.25 is half-way: every pair here is in doubt."""
    monkeypatch.setattr(search, "DIGITS", 1)
    queries = np.eye(16, dtype=np.float32)
    candidates = np.random.default_rng(0).choice(np.float32([1, -1]), (300, 16))
    found = search._table(queries, candidates)
    assert np.array_equal(found, [search._cosines(each, candidates) for each in queries])
    assert set(np.abs(found).ravel().tolist()) == {0.2}


def seconds(queries, candidates):
    """The shortest of three searches."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        top_k(queries, candidates, 4)
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_a_collapsed_encoder_is_searched_about_as_fast_as_any_other():
    """Where all vectors are nearly equal, no shortlist can be trusted, and every pair is scored exactly."""
    some, same = vectors(1, 1000, 256), np.ones((1000, 256), np.float32)
    near = same + np.float32(1e-6) * some
    assert top_k(same, same, 4).rows.tolist() == [[0, 1, 2, 3]] * 1000
    usual = seconds(some, some)
    assert seconds(same, same) < 10 * usual
    assert seconds(near, near) < 10 * usual


MEMORY = """
import pathlib, sys
import numpy as np
from xstilts.search import top_k
stored = np.load(sys.argv[1], mmap_mode="r")
queries = np.asarray(stored[::500], np.float32)
def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
found = top_k(queries, stored, 20)
assert (found.rows[:, 0] == np.arange(0, len(stored), 500)).all()
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux tells it")
def test_memory_does_not_grow_with_the_candidates(tmp_path):
    """200,000 candidates: 98 MiB on disk, which may stay resident; 195 MiB in single precision, 305 of scores."""
    path = tmp_path / "vectors.npy"
    stored = np.lib.format.open_memmap(path, "w+", np.float16, (200_000, 256))
    random = np.random.default_rng(0)
    for start in range(0, len(stored), 20_000):
        stored[start : start + 20_000] = random.normal(size=(20_000, 256))
    stored.flush()
    shown = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
    assert int(shown.stdout) < 330  # MiB


# ---------------------------------------------------------------------------------------------------------- margins


def margin_table(sources, targets, k):
    """Equation of the ratio margin for every pair, from full tables of cosines."""
    unit = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (sources.astype(float), targets.astype(float))
    ]
    cosines = unit[0] @ unit[1].T
    ahead = np.sort(cosines, axis=1)[:, ::-1][:, :k].sum(axis=1) / (2 * min(k, cosines.shape[1]))
    back = np.sort(cosines, axis=0)[::-1][:k].sum(axis=0) / (2 * min(k, cosines.shape[0]))
    return cosines, cosines / (ahead[:, None] + back[None, :])


@pytest.mark.parametrize(("sources", "targets"), [(30, 40), (3, 9), (9, 2)])
def test_margins_are_those_of_the_equation(small_blocks, sources, targets):
    one, other = vectors(5, sources) + 1, vectors(6, targets) + 1
    cosines, table = margin_table(one, other, 4)
    forward, backward = margins(one, other)
    assert forward.rows.shape == (sources, min(4, targets)) and backward.rows.shape == (targets, min(4, sources))
    for found, ratios, near in ((forward, table, cosines), (backward, table.T, cosines.T)):
        for row, (rows, scores) in enumerate(zip(found.rows, found.scores, strict=True)):
            assert rows.tolist() == np.argsort(-near[row])[: len(rows)].tolist()
            assert np.allclose(scores, ratios[row][rows], atol=1e-7)
    best = [max(rows, key=lambda column: table[row][column]) for row, rows in enumerate(forward.rows)]
    assert nearest_by_margin(one, other).tolist() == best


def mine_slowly(sources, targets, k):
    """The definition: both sides' choices in one list, sorted, and taken while both sides are free."""
    cosines, table = margin_table(sources, targets, k)
    choices = []
    for row in range(len(sources)):
        near = np.argsort(-cosines[row])[:k]
        choices.append((row, int(near[np.argmax(table[row][near])])))
    for column in range(len(targets)):
        near = np.argsort(-cosines[:, column])[:k]
        choices.append((int(near[np.argmax(table[near, column])]), column))
    taken = []
    for row, column in sorted(choices, key=lambda pair: -table[pair]):
        if all(row != other for other, _ in taken) and all(column != other for _, other in taken):
            taken.append((row, column))
    return taken, [table[pair] for pair in taken]


@pytest.mark.parametrize("seed", range(8))
def test_mining_takes_the_best_of_both_directions_greedily(seed):
    one, other = vectors(seed, 20 + seed) + 0.5, vectors(seed + 100, 33) + 0.5
    found = mine(one, other)
    pairs, scores = mine_slowly(one, other, 4)
    assert list(zip(found.sources.tolist(), found.targets.tolist(), strict=True)) == pairs
    assert np.allclose(found.scores, scores, atol=1e-7)
    assert len(set(found.sources.tolist())) == len(set(found.targets.tolist())) == len(pairs)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=14), st.integers(0, 5))
def test_the_threshold_is_the_best_there_is(pairs, missed):
    scores = np.array([score / 4 for score, _ in pairs])
    right = np.array([hit for _, hit in pairs], bool)
    gold = int(right.sum()) + missed

    def f1(threshold):
        kept = scores >= threshold
        return 2 * (right & kept).sum() / (kept.sum() + gold) if kept.any() else 0.0

    chosen = best_threshold(scores, right, gold)
    every = [-1.0, math.inf, *(score - 0.01 for score in scores)]
    assert f1(chosen) == max(map(f1, every))
    if math.isfinite(chosen):
        assert chosen in scores or not (np.abs(scores - chosen) < 0.1).any(), "half-way between two scores"
    else:
        assert not right.any()
