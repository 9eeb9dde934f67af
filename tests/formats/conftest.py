import numpy as np
import pytest

from xstilts.formats import load_format


@pytest.fixture(scope="session")
def values():
    """(format, features, scores) → what is kept of them, as ``join`` and ``calibrate`` take it."""

    def keep(name, features, scores):
        form = load_format(name)
        kept = [form.reduce(feature, score) for feature, score in zip(features, scores, strict=True)]
        return np.stack(kept) if form.vectors else kept

    return keep


@pytest.fixture(scope="session")
def decode(values):
    """(task, examples, features, scores ``(slots, classes)`` of each) → predictions."""

    def join(task, examples, features, scores):
        return load_format(task.format).join(task, examples, features, values(task.format, features, scores))

    return join
