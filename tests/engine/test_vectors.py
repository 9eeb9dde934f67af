import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xstilts.engine.vectors import VectorFile


@pytest.fixture
def filled(tmp_path):
    """Rows 0 to 49, set in another order, and the same in memory."""
    rows = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    with VectorFile(50, tmp_path) as stored:
        for row in np.random.default_rng(1).permutation(50).tolist():
            stored[row] = rows[row]
        yield stored, rows


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 9),
        slice(40, 99),
        slice(9, 3),
        np.array([4]),
        np.array([49, 0, 1, 2, 2, 3, 1]),
        np.array([], np.int64),
    ],
    ids=str,
)
def test_it_is_read_like_an_array(filled, rows):
    stored, expected = filled
    found = stored[rows]
    assert len(stored) == 50 and found.dtype == np.float32
    assert np.array_equal(found, expected[rows])


def test_nothing_is_seen_of_it_in_its_directory(filled, tmp_path):
    assert not list(tmp_path.iterdir())


MEMORY = """
import pathlib, sys
import numpy as np
import torch
from xstilts.batches import Packed
from xstilts.engine import inference
from xstilts.formats import Encoded, load_format
from xstilts.spec import Example, GeneratedData, Sentence, Task

QUERIES, COUNT, HIDDEN = 64, 120_000, 512

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(2, 1000, HIDDEN, generator=generator), requires_grad=False)

    def forward(self, batch):
        return (self.table[0][batch.ids[:, 0] - 4] + self.table[1][batch.ids[:, 1] - 4])[:, None]

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

numbers = np.concatenate([np.arange(QUERIES) * 1000, np.arange(COUNT)])  # each query is one of the candidates
ids = np.column_stack([numbers // 1000, numbers % 1000]).astype(np.int32) + 4
ends = np.arange(len(numbers) + 1)
none = np.zeros(len(ends), np.int64)
features = Packed(np.arange(len(numbers), dtype=np.int32), ends, ends * 2, ids.ravel(), ends,
                  np.full(len(numbers), -100, np.int32), none, np.empty((0, 3), np.int32))
examples = [Example(str(number), "en", "", Sentence("a", "query" if place < QUERIES else "candidate"), None)
            for place, number in enumerate(numbers.tolist())]
task = Task("toy", 1, sys.argv[1], "accuracy", GeneratedData({}, lambda split, language: ()))
model = Model()
before = peak()
found = inference.predict(model, task, examples, Encoded(features, 0), "fp32")
nearest = [found[query] if sys.argv[1] == "retrieval" else found[query][0].split("|")[0] for query in range(QUERIES)]
assert nearest == [str(number) for number in numbers[:QUERIES]]
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux tells it")
@pytest.mark.parametrize("format_name", ["retrieval", "ranking"])
def test_a_prediction_does_not_hold_the_vectors_of_a_split(format_name):
    """120,000 vectors of 512 numbers are 234 MiB; two blocks of 16,384 are 64, and the lists of indices are small."""
    shown = subprocess.run([sys.executable, "-c", MEMORY, format_name], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout) < 200  # MiB
