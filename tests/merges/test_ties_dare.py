"""TIES by hand and against numpy; DARE's expectation, and what its seed decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xstilts.merges import Part, load_merge
from xstilts.spec import AdapterConfig

FULL = AdapterConfig(kind="full")
quick = settings(max_examples=50, deadline=None, derandomize=True)


def ties(vectors, weights, density, base=None):
    """Merge vectors, each cut into two tensors to see that trimming looks at the whole module."""
    base = np.zeros_like(vectors[0]) if base is None else base
    cut = len(base) // 3

    def named(vector):
        return {
            "a": torch.tensor(vector[:cut], dtype=torch.float32),
            "b": torch.tensor(vector[cut:], dtype=torch.float32),
        }

    merge = load_merge("ties")
    parts = [Part(FULL, named(base + vector)) for vector in vectors]
    merged = merge.merge(parts, weights, merge.Options(density=density), named(base), 0)
    return np.concatenate([merged.tensors[name].numpy() for name in "ab"]), merged.facts["sign_conflicts"]


def test_an_example_by_hand():
    one = np.array([6.0, -1.0, 4.0, -5.0, 0.5, 2.0])
    two = np.array([1.0, -3.0, -8.0, -7.0, 4.0, 0.1])
    # the three largest of each:  6 · 4 −5 · ·   and   · · −8 −7 4 ·
    # votes:                      +  ·  −  −  +  ·       4 loses against −8
    found, conflicts = ties([one, two], (0.5, 0.5), 0.5)
    assert found.tolist() == [6.0, 0.0, -8.0, -6.0, 4.0, 0.0]
    assert conflicts == 1 / 4
    # three times the second: 6/… alone as before, −(5 + 3·7)/4; λ is the sum of the weights
    found, _ = ties([one, two], (0.25, 0.75), 0.5)
    assert found.tolist() == [6.0, 0.0, -8.0, -6.5, 4.0, 0.0]
    # minus the second: 4 and 8 agree, −5 loses against 7
    found, conflicts = ties([one, two], (0.5, -0.5), 0.5)
    assert found.tolist() == [6.0, 0.0, 6.0, 7.0, -4.0, 0.0] and conflicts == 1 / 4


def test_opposite_votes_of_one_size_elect_nothing():
    found, conflicts = ties([np.array([2.0, 1.0, 1.0]), np.array([-2.0, 1.0, 3.0])], (0.5, 0.5), 1.0)
    assert found.tolist() == [0.0, 1.0, 2.0] and conflicts == 1 / 3


@given(
    vectors=arrays(np.float64, (3, 12), elements=st.integers(-9, 9).map(float)),
    density=st.sampled_from([1 / 12, 0.25, 0.5, 1.0]),
    factor=st.sampled_from([1.0, 0.5, 2.0]),
)
@quick
def test_it_is_the_papers_algorithm(vectors, density, factor):
    """Entry by entry in numpy: λ/k for all is the paper's λ. Whatever equals the last that is kept is kept."""
    merged = np.zeros(12)
    trimmed = []
    for vector in vectors:
        least = np.sort(np.abs(vector))[-round(density * 12)]
        trimmed.append([entry if abs(entry) >= least else 0.0 for entry in vector])
    for place in range(12):
        column = [vector[place] for vector in trimmed]
        up, down = sum(entry for entry in column if entry > 0), -sum(entry for entry in column if entry < 0)
        chosen = [entry for entry in column if (entry > 0 and up > down) or (entry < 0 and down > up)]
        merged[place] = factor * sum(chosen) / len(chosen) if chosen else 0.0
    found, _ = ties(vectors, (factor / 3,) * 3, density)
    np.testing.assert_allclose(found, merged, atol=1e-5)


def test_differences_are_counted_from_the_frozen_encoder():
    base = np.array([10.0, -20.0, 30.0, 0.0, 5.0, 1.0])
    vectors = [np.array([6.0, -1.0, 4.0, -5.0, 0.5, 2.0]), np.array([1.0, -3.0, -8.0, -7.0, 4.0, 0.1])]
    expected, _ = ties(vectors, (0.5, 0.5), 0.5)
    found, _ = ties(vectors, (0.5, 0.5), 0.5, base)
    np.testing.assert_allclose(found - base, expected, atol=1e-5)
    assert found[1] == base[1], "what nobody keeps stays as it was, bit for bit"


def test_large_tensors_are_taken_in_pieces(drawn, monkeypatch):
    parts = drawn.parts("full", 3)
    whole = drawn.merge("ties", parts, (0.5, 0.3, -0.2))
    monkeypatch.setattr(load_merge("ties"), "CHUNK", 7)
    pieces = drawn.merge("ties", parts, (0.5, 0.3, -0.2))
    assert whole.facts == pieces.facts and all(pieces.tensors[n].equal(t) for n, t in whole.tensors.items())


def test_ties_of_a_lora_is_that_of_its_deltas(drawn):
    """The dense merge by another way: the deltas as full fine-tuning of nothing."""
    parts = drawn.parts("lora", 2)
    dense = [Part(FULL, {n: t.float() for n, t in drawn.added(part.method, part.tensors).items()}) for part in parts]
    merge = load_merge("ties")
    options = merge.Options(density=0.3, rank=8)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in dense[0].tensors.items()}
    expected = merge.merge(dense, (0.5, 0.5), merge.Options(density=0.3), nothing, 0)
    found = merge.merge(parts, (0.5, 0.5), options, {}, 0)
    assert found.facts["truncation_error"] < 1e-6 and found.facts["sign_conflicts"] == expected.facts["sign_conflicts"]
    added = drawn.added(merge.method([part.method for part in parts], options), found.tensors)
    for name, tensor in expected.tensors.items():
        assert torch.allclose(added[name].float(), tensor, atol=1e-4)
    assert 0.1 < merge.merge(parts, (0.5, 0.5), merge.Options(density=0.3, rank=2), {}, 0).facts["truncation_error"] < 1


# ----------------------------------------------------------------------------------------------------------- dare

METHODS = ("full", "lora", "ia3")


@pytest.mark.parametrize("method", METHODS)
def test_nothing_dropped_is_the_sum(drawn, method):
    parts = drawn.parts(method, 2)
    summed, found = drawn.merge("linear", parts, (1.0, -0.5)), drawn.merge("dare", parts, (1.0, -0.5), drop=0.0)
    assert all(found.tensors[name].equal(tensor) for name, tensor in summed.tensors.items())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_dropped_depends_on_the_seed_alone(drawn, method):
    parts = drawn.parts(method, 2)
    torch.manual_seed(1)
    first = drawn.merge("dare", parts, (1.0, -0.5), seed=3)
    torch.manual_seed(2)
    same, other = drawn.merge("dare", parts, (1.0, -0.5), seed=3), drawn.merge("dare", parts, (1.0, -0.5), seed=4)
    assert all(same.tensors[name].equal(tensor) for name, tensor in first.tensors.items())
    assert not all(other.tensors[name].equal(tensor) for name, tensor in first.tensors.items())


@pytest.mark.parametrize("method", METHODS)
def test_the_rest_is_rescaled_and_the_share_told(drawn, method):
    (part,) = drawn.parts(method, 1)
    merged = drawn.merge("dare", [part], (1.0,), drop=0.75)
    nothing = drawn.base if method == "full" else {name: torch.tensor(float(method == "ia3")) for name in part.tensors}
    dropped = entries = 0
    for name, tensor in part.tensors.items():
        kept = merged.tensors[name] != nothing[name]
        rescaled = nothing[name] + 4 * (tensor - nothing[name])
        assert torch.allclose(merged.tensors[name][kept], rescaled[kept], atol=1e-5)
        dropped, entries = dropped + int((~kept).sum()), entries + tensor.numel()
    assert merged.facts["dropped"] == pytest.approx(dropped / entries) and 0.5 < dropped / entries < 0.95


@pytest.mark.parametrize("method", METHODS)
def test_the_expectation_is_the_sum(drawn, method):
    """Of a LoRA, too, whose factors are thinned one by one: within 5 standard errors of the mean over 2000 seeds."""
    parts, chosen, count = drawn.parts(method, 2), (1.0, -0.5), 2000
    merge = load_merge("dare")
    shape = merge.method([part.method for part in parts], merge.Options(drop=0.3))
    expected = drawn.result("linear", parts, chosen)
    total = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    square = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    for seed in range(count):
        merged = merge.merge(parts, chosen, merge.Options(drop=0.3), drawn.base, seed)
        for name, tensor in drawn.added(shape, merged.tensors).items():
            total[name] += tensor
            square[name] += tensor.square()
    for name, tensor in expected.items():
        mean = total[name] / count
        error = ((square[name] / count - mean.square()) / count).clamp(min=1e-12).sqrt()
        assert ((mean - tensor).abs() <= 5 * error).all(), name
