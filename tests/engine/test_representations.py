import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xstilts.engine import compose, inference
from xstilts.engine.representations import represent, survey
from xstilts.errors import XstiltsError
from xstilts.formats import POOLINGS, encode
from xstilts.metrics import load_metric
from xstilts.spec import Predict, TaskData

ROOT = Path(__file__).parents[2]


def prediction(bench, layer, pooling):
    data = TaskData("toy_retrieval", 1, "m 1", "0")
    return Predict(bench.backbone, data, "test", ("en",), 48, 8, "fp32", layer, pooling=pooling)


def test_one_pass_gives_what_a_model_cut_at_each_layer_gives(bench, toys, text):
    task, examples = toys.task("retrieval"), toys.examples("retrieval", 30, first=50)
    features = encode(task, examples, text()).features
    found = represent(compose.load_encoder(bench.backbone).eval(), features, "fp32")
    assert found.shape == (3, 3, 30, 32)
    for layer in range(3):
        for place, pooling in enumerate(POOLINGS):
            model = compose.for_prediction(prediction(bench, layer, pooling), task, bench.runtime())
            expected = np.concatenate(inference.score_features(model, features, "fp32"))
            assert np.allclose(found[layer, place], expected, atol=1e-5)


def test_the_survey_scores_as_the_format_does(bench, toys, text):
    task, metric = toys.task("retrieval"), load_metric("accuracy")
    examples = [
        *toys.examples("retrieval", 60, first=200),
        *toys.examples("retrieval", 40, first=300, language="de"),
    ]
    # a query in other words than its candidate, so that not every one is found
    examples = [
        replace(each, fields=replace(each.fields, text=each.fields.text[: len(each.fields.text) // 2]))
        if each.gold
        else each
        for each in examples
    ]
    cells = list(survey(bench.backbone, task, examples, 48, "cpu"))
    assert len(cells) == 2 * 3 * 3
    for cell in cells:
        model = compose.for_prediction(prediction(bench, cell.layer, cell.pooling), task, bench.runtime())
        own = [example for example in examples if example.language == cell.language]
        predicted = inference.predict(model, task, own, encode(task, own, text()), "fp32")
        rows = list(inference.statistics(metric, own, predicted).values())
        assert cell.cosine == pytest.approx(inference.score(metric, rows))
        assert 0 <= cell.margin <= 100
    assert len({cell.cosine for cell in cells}) > 2


def test_other_formats_are_refused(bench, toys):
    with pytest.raises(XstiltsError, match="tasks of format retrieval; given 'ranking'"):
        next(survey(bench.backbone, toys.task("ranking"), toys.examples("retrieval", 4), 48, "cpu"))


def test_the_command_line_shows_every_layer(tmp_path):
    command = [sys.executable, "experiments/layers.py", "--task", "mini_tatoeba", "--languages", "de"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert sum(line.strip().startswith(tuple("01234")) for line in lines) == 5
    assert lines[-1] == "A layer chosen on a test set is no result on it. * the declared layer"
    bad = subprocess.run([*command, "xx"], capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert bad.returncode == 2 and bad.stderr.startswith("error: ") and "Traceback" not in bad.stderr
