import contextlib
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from xstilts.engine import compose, inference, predict
from xstilts.engine.vectors import VectorFile
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.spec import Predict, TaskData, is_candidate


def table(directory):
    return pq.read_table(directory / "predictions.parquet")


@pytest.mark.parametrize("format_name", ["classification", "tagging", "span", "choice"])
def test_one_row_per_example_in_order(bench, toys, format_name):
    examples = toys.examples(format_name, 30, first=500)
    directory = bench.predict(trained(bench, format_name), examples, format_name)
    rows = table(directory).to_pylist()
    assert list(rows[0]) == ["item_id", "cluster", "language", "gold", "pred", "stats"]
    assert [row["item_id"] for row in rows] == [example.item_id for example in examples]
    for row, example in zip(rows, examples, strict=True):
        gold, pred = json.loads(row["gold"]), json.loads(row["pred"])
        if format_name == "tagging":
            assert tuple(gold) == example.gold and len(pred) == len(gold)
        elif format_name == "span":
            assert gold["texts"] == list(example.gold.texts) and pred in example.fields.context
        else:
            assert gold == example.gold and type(pred) is type(gold)
    result = json.loads((directory / "result.json").read_text())
    assert result["kind"] == "predict" and result["examples"] == 30 and result["scores"]["en"] > 50
    assert sorted(path.name for path in directory.iterdir()) == ["predictions.parquet", "result.json"]


def trained(bench, format_name):
    step = bench.step("full", format_name=format_name, epochs=20, lr=3e-3)
    bench.train(step)
    return step


def test_dev_score_is_the_score_of_the_predictions(bench, toys):
    step = bench.step("lora", epochs=2)
    trained_score = json.loads((bench.train(step) / "result.json").read_text())["dev_score"]
    directory = bench.predict(step, toys.examples("classification", 16, first=1000))
    assert json.loads((directory / "result.json").read_text())["scores"]["en"] == trained_score


def test_examples_without_gold_are_predicted_but_not_scored(bench, toys):
    step = bench.step("head")
    bench.train(step)
    examples = tuple(replace(example, gold=None) for example in toys.examples("classification", 4))
    directory = bench.predict(step, examples)
    assert json.loads((directory / "result.json").read_text())["scores"] == {"en": None}
    assert set(table(directory)["gold"].to_pylist()) == {"null"}


def test_predictions_do_not_depend_on_the_batch(bench, toys, text, monkeypatch):
    model = compose.for_training(bench.step("full"), [toys.task("classification")], bench.runtime()).model
    features = encode(toys.task("classification"), toys.examples("classification", 30), text()).features
    form = replace(load_format("classification"), reduce=lambda feature, score: score)
    with inference.reduced(model, form, features, "fp32") as whole:
        monkeypatch.setattr(inference, "CPU_TOKENS", 1)
        with inference.reduced(model, form, features, "fp32") as single:
            assert np.allclose(whole, single, atol=1e-5)


class Fixed(torch.nn.Module):
    """Scores every batch with 1, or with another number in one place."""

    def __init__(self, shape, place, number):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(()), requires_grad=False)
        self.shape, self.place, self.number = shape, place, number

    def forward(self, batch):
        scores = self.one.repeat(len(batch.ids), *self.shape(batch))
        scores[self.place] = self.number
        return scores


LABELS, TOKENS = lambda batch: (1, 2), lambda batch: (2, batch.ids.shape[1])


@pytest.mark.parametrize(
    ("format_name", "shape", "place", "number", "refused"),
    [
        ("classification", LABELS, (-1, 0, 1), 2.0, False),
        ("classification", LABELS, (-1, 0, 1), -torch.inf, True),
        ("classification", LABELS, (-1, 0, 1), torch.nan, True),
        ("retrieval", LABELS, (-1, 0, 1), -torch.inf, True),
        ("span", TOKENS, (-1, slice(None), -1), -torch.inf, False),  # padding: the longest row comes first
        ("span", TOKENS, (-1, slice(None), -1), torch.inf, True),
        ("span", TOKENS, (0, slice(None), -1), -torch.inf, True),
        ("span", TOKENS, (-1, 0, 0), -torch.inf, True),
    ],
)
def test_only_padding_may_score_minus_infinity(toys, text, format_name, shape, place, number, refused):
    features = encode(toys.task(format_name), toys.examples(format_name, 12), text()).features
    assert len({feature.length for feature in features}) > 1
    model = Fixed(shape, place, number)
    expected = pytest.raises(inference.NotFiniteError) if refused else contextlib.nullcontext()
    with expected, inference.reduced(model, load_format(format_name), features, "fp32") as kept:
        assert len(kept) == len(features)


# -------------------------------------------------------------------------------------------------------- retrieval


def test_vectors_lie_beside_the_predictions_while_they_are_needed(bench, toys, monkeypatch):
    places = []

    def watched(rows, directory):
        places.append((rows, directory))
        return VectorFile(rows, directory)

    monkeypatch.setattr(inference, "VectorFile", watched)
    directory = bench.predict(bench.backbone, toys.examples("retrieval", 24), "retrieval", 1)
    assert places == [(24, directory)]
    assert sorted(path.name for path in directory.iterdir()) == ["predictions.parquet", "result.json"]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_retrieval_pools_the_declared_layer(bench, toys, text, layer):
    """Against a loop over sentences that runs the whole encoder and picks the layer afterwards."""
    examples = toys.examples("retrieval", 40, first=100)
    found = table(bench.predict(bench.backbone, examples, "retrieval", layer))["pred"].to_pylist()
    encoder = compose.load_encoder(bench.backbone).eval()
    vectors = []
    for example in examples:
        ids = [0, *text().tokenizer.encode(example.fields.text, add_special_tokens=False).ids, 2]
        with torch.inference_mode():
            states = encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
        vectors.append(states[1:-1].mean(0))
    candidates = [index for index, example in enumerate(examples) if example.fields.role == "candidate"]
    expected = []
    for index, example in enumerate(examples):
        if example.fields.role == "query":
            similar = [torch.cosine_similarity(vectors[index], vectors[other], dim=0) for other in candidates]
            expected.append(json.dumps(examples[candidates[int(torch.tensor(similar).argmax())]].item_id))
    assert found == expected


def test_retrieval_searches_within_a_language_and_rows_are_queries(bench, toys):
    """The two sides say the same here, so every query must find its own candidate."""
    examples = toys.examples("retrieval", 24) + toys.examples("retrieval", 24, first=24, language="de")
    directory = bench.predict(bench.backbone, examples, "retrieval", 1)
    rows = table(directory).to_pylist()
    assert [row["language"] for row in rows] == ["en"] * 12 + ["de"] * 12
    assert json.loads((directory / "result.json").read_text())["scores"] == {"en": 100.0, "de": 100.0}
    assert all(row["pred"] == row["gold"] for row in rows)


def test_retrieval_on_a_training_uses_its_encoder_and_not_its_head(bench, toys):
    step = bench.step("pfeiffer", epochs=3, lr=3e-2)
    (bench.train(step) / "head.safetensors").unlink()
    bench.predict(step, toys.examples("retrieval", 24), "retrieval", 2)
    head_only = bench.step("head")
    bench.train(head_only)
    vectors = []
    for model in (bench.backbone, head_only, step):
        data = replace(prediction_of(bench, model), layer=2)
        encoder = compose.for_prediction(data, toys.task("retrieval"), bench.runtime()).encoder
        vectors.append(encoder(torch.tensor([[0, 7, 9, 2]])).last_hidden_state)
    assert torch.equal(vectors[0], vectors[1]) and not torch.equal(vectors[0], vectors[2])


def prediction_of(bench, model):
    return Predict(model, TaskData("toy_retrieval", 1, "m 1", "0"), "test", ("en",), 48, 8, "fp32", 1)


def test_a_layer_beyond_the_encoder_is_refused(bench, toys):
    with pytest.raises(XstiltsError, match="layers 0 to 2; given '3'"):
        bench.predict(bench.backbone, toys.examples("retrieval", 8), "retrieval", 3)


@pytest.mark.parametrize("pooling", ["mean", "mean_no_special", "cls", None])
def test_the_declared_pooling_is_used(bench, toys, text, pooling):
    """Against a loop over sentences; the default leaves the special tokens out."""
    examples = toys.examples("retrieval", 40, first=100)
    task = toys.task("retrieval")
    model = compose.for_prediction(
        replace(prediction_of(bench, bench.backbone), pooling=pooling), task, bench.runtime()
    )
    with inference.reduced(model, load_format("retrieval"), encode(task, examples, text()).features, "fp32") as vectors:
        found = vectors[:]
    encoder = compose.load_encoder(bench.backbone).eval()
    for example, vector in zip(examples, found, strict=True):
        ids = [0, *text().tokenizer.encode(example.fields.text, add_special_tokens=False).ids, 2]
        with torch.inference_mode():
            states = encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0]
        expected = {"mean": states.mean(0), "cls": states[0]}.get(pooling, states[1:-1].mean(0))
        assert np.allclose(vector, expected, atol=1e-5)


def test_scores_are_reduced_batch_by_batch(bench, toys, text):
    """What is kept of a tagged or a long text does not grow with the number of classes, or with its square."""
    for format_name, kind in (("tagging", np.ndarray), ("span", tuple), ("choice", int), ("classification", int)):
        task, examples = toys.task(format_name), toys.examples(format_name, 8)
        model = compose.for_training(bench.step("head", format_name=format_name), [task], bench.runtime()).model
        with inference.reduced(
            model, load_format(format_name), encode(task, examples, text()).features, "fp32"
        ) as kept:
            pass
        assert len(kept) >= 8 and all(isinstance(each, kind) for each in kept)
        assert all(each.ndim == 1 for each in kept if isinstance(each, np.ndarray))


# ---------------------------------------------------------------------------------------------- ranking and mining


def run(bench, step, task, examples, calibration=()):
    directory = bench.directory(step)
    predict.run(step, task, examples, directory, bench.runtime(), calibration)
    return table(directory).to_pylist(), json.loads((directory / "result.json").read_text())


def test_ranking_searches_all_languages_and_scores_those_that_ask(bench, toys):
    """Every text stands in two languages, so both copies come first, and nothing can score higher."""
    sides = {"en": toys.examples("retrieval", 24), "mul": toys.examples("retrieval", 24, language="mul")}
    gold = [(f"{number}|en", f"{number}|mul") for number in range(12)]
    examples = [
        replace(example, gold=None if is_candidate(example) else gold[int(example.item_id)])
        for language, rows in sides.items()
        for example in rows
        if language == "en" or is_candidate(example)
    ]
    task = replace(toys.task("ranking"), metric="map20")
    step = replace(prediction_of(bench, bench.backbone), task=TaskData("toy_ranking", 1, "m 1", "0"))
    rows, result = run(bench, step, task, examples)
    assert len(rows) == 12 and result["scores"] == {"en": 100.0}, "the pool's language is not scored"
    for row in rows:
        assert len(json.loads(row["pred"])) == 20
        assert sorted(json.loads(row["pred"])[:2]) == json.loads(row["gold"])
        assert row["stats"] == [1.0, 1.0]


def mining_examples(toys, first):
    """Of 20 pairs of sentences the queries of 5 and the candidates of 5 others are left out."""
    found = []
    for example in toys.examples("retrieval", 40, first=first):
        number, candidate = int(example.item_id) % 20, is_candidate(example)
        if (number < 5 and candidate) or (5 <= number < 10 and not candidate):
            continue
        gold = None if candidate else (example.item_id,) if number >= 10 else ()
        found.append(replace(example, gold=gold))
    return found


def test_mining_applies_the_threshold_of_the_calibration_split(bench, toys):
    task = replace(toys.task("mining"), metric="mining")
    data = TaskData("toy_mining", 1, "m 1", "0")
    step = replace(prediction_of(bench, bench.backbone), task=data, calibration="dev")
    dev, test = mining_examples(toys, 1000), mining_examples(toys, 2000)
    rows, result = run(bench, step, task, test, dev)
    assert [row["item_id"] for row in rows] == [example.item_id for example in test if not is_candidate(example)]
    assert all(isinstance(json.loads(row["pred"]), str) for row in rows)
    assert result["scores"]["en"] > 50


def test_mining_without_a_calibration_split_is_refused(bench, toys):
    step = replace(prediction_of(bench, bench.backbone), task=TaskData("toy_mining", 1, "m 1", "0"))
    with pytest.raises(XstiltsError, match="needs development data to choose a threshold on"):
        run(bench, step, toys.task("mining"), mining_examples(toys, 0))
