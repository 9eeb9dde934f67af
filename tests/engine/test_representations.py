import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xstilts.engine import compose, inference, representations
from xstilts.engine.device import choose
from xstilts.engine.representations import represent, survey
from xstilts.errors import XstiltsError
from xstilts.formats import POOLINGS, encode, load_format
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
            with inference.reduced(model, load_format("retrieval"), features, "fp32") as vectors:
                expected = vectors[:]
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


@pytest.fixture(scope="module")
def run():
    """The command line: (arguments) → exit code."""
    spec = importlib.util.spec_from_file_location("layers", ROOT / "experiments" / "layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda line: module.main(line.split())


def test_the_command_line_shows_every_layer(run, capsys):
    assert run("--task mini_tatoeba --languages de de") == 0
    head, scores, names, *layers, foot = capsys.readouterr().out.splitlines()
    assert head == "mini_tatoeba, 1 language: de; mini"
    assert scores.split() == ["cosine", "margin"]
    assert names.split() == ["layer", *POOLINGS, *POOLINGS]
    assert scores.index("margin") == names.rindex(POOLINGS[0])
    assert [line.split()[0] for line in layers] == ["0", "1", "2*", "3", "4"]
    assert all(re.fullmatch(r"\S+( +\d+\.\d){6}", line) for line in layers)
    assert len({line.index(".") for line in layers}) == 1 and max(map(len, layers)) < 80
    assert foot == "A layer chosen on a test set is no result on it. * the layer of study mini"


@pytest.fixture
def without_encoder(monkeypatch):
    """Nothing is computed."""
    cells = [representations.Cell("de", layer, how, 50.0, 50.0) for layer in range(5) for how in POOLINGS]
    monkeypatch.setattr(representations, "survey", lambda *asked: iter(cells))


@pytest.mark.parametrize(
    ("more", "starred", "whose"),
    [("--study mini", 2, "study mini"), ("--study real_sample", 3, "studies that name none"), ("", 2, "study mini")],
)
def test_the_layer_of_the_study_is_marked(run, capsys, without_encoder, more, starred, whose):
    assert run(f"--task mini_tatoeba --languages de {more}") == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^(\d)\*", shown, flags=re.MULTILINE) == [str(starred)]
    assert shown.endswith(f"* the layer of {whose}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--languages xx", "task mini_tatoeba: test: the task has no such language in this split; given 'xx'"),
        ("--device foo", "--device: not a device that trains; given 'foo'"),
        ("--device cuda:99", "--device: cannot be used here ("),
        ("--max-length 1", "--max-length: must be 8 to 256 tokens with this backbone; given '1'"),
        ("--max-length 257", "--max-length: must be 8 to 256 tokens with this backbone; given '257'"),
        ("--study nowhere", "--study: unknown study; given 'nowhere'"),
    ],
)
def test_bad_input_is_one_message(run, capsys, line, message):
    assert run(f"--task mini_tatoeba {line}") == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"error: {message}") and shown.err.count("\n") == 1


def test_a_layer_that_the_backbone_lacks_is_refused(run, capsys, tmp_path):
    mini = (ROOT / "experiments" / "studies" / "mini.toml").read_text(encoding="utf-8")
    path = tmp_path / "deep.toml"
    path.write_text(mini.replace("retrieval_layer = 2", "retrieval_layer = 5"), encoding="utf-8")
    assert run(f"--task mini_tatoeba --study {path}") == 2
    assert "--study: pools layer 5, and the backbone has 4; given" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(run, capsys, monkeypatch):
    def interrupted(*asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(representations, "survey", interrupted)
    assert run("--task mini_tatoeba --languages de") == 130
    assert capsys.readouterr().err == ""


def test_a_device_is_chosen_with_its_precision():
    assert choose("cpu") == ("cpu", "fp32")
    assert choose("auto")[0] in ("cpu", "cuda")
    with pytest.raises(XstiltsError, match="cannot be used here"):
        choose("cpu:x")
