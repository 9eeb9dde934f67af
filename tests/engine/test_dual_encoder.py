"""Retrieval that is trained: pairs in, one encoder for both sides, no head."""

from dataclasses import replace

import pytest

from xstilts.batches import LEAST, micro_batches
from xstilts.engine import predict, train
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format
from xstilts.key import key
from xstilts.spec import Example, Predict, Sentence, TaskData, TextPair, candidate_key

COLOURS = ("red", "green", "blue", "old")
NOUNS = ("dog", "cat", "house", "river", "the", "runs")
# The query names the same thing in other words: only training can tell which ones belong together.
OTHERS = ("near", "sleeps", "北京", "大学", "在", "old river")


def pairs():
    rows = [(f"{colour} {noun}", f"{colour} {OTHERS[place]}") for place, noun in enumerate(NOUNS) for colour in COLOURS]
    return [Example(str(n), "en", str(n), TextPair(one, other), f"c{n}") for n, (one, other) in enumerate(rows)]


def sentences(language="en"):
    found = []
    for pair in pairs():
        candidate = Example(pair.gold, language, pair.gold, Sentence(pair.fields.second, "candidate"), None)
        query = Sentence(pair.fields.first, "query")
        found += [Example(pair.item_id, language, pair.item_id, query, (candidate_key(candidate),)), candidate]
    return found


def trained(bench, toys, **recipe):
    settings = {"epochs": 30, "lr": 3e-3, "batch": 8, "format_name": "ranking", **recipe}
    step = bench.step(settings.pop("method", "full"), **settings)
    task = replace(toys.task("ranking"), metric="map20")
    directory = bench.directory(step)
    train.run(step, [(task, train.TrainingData(pairs(), sentences()))], directory, bench.runtime())
    bench.done[key(step)] = directory
    return step, task, bench.result(directory)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_dual_encoder_learns_which_sentences_belong_together(bench, toys, method):
    step, task, result = trained(bench, toys, method=method)
    untrained = Predict(bench.backbone, TaskData("toy_ranking", 1, "m 1", "0"), "test", ("en",), 48, 8, "fp32")
    predict.run(untrained, task, sentences(), bench.directory(untrained), bench.runtime())
    before = bench.result(bench.directory(untrained))["scores"]["en"]
    assert result["status"] == "ok" and result["head_parameters"] == 0
    assert result["dev_score"] > before + 10
    after = replace(untrained, model=step)
    predict.run(after, task, sentences(), bench.directory(after), bench.runtime())
    assert bench.result(bench.directory(after))["scores"]["en"] == pytest.approx(result["dev_score"])


def test_a_training_of_the_head_alone_is_refused(bench, toys):
    with pytest.raises(XstiltsError, match="nothing would train"):
        trained(bench, toys, method="head")


def test_padding_never_cuts_a_batch_of_pairs_but_micro_batch_does(toys, text):
    examples = [Example(str(n), "en", "c", TextPair("cat", "the red dog " * (n % 3 + 1)), "c") for n in range(32)]
    features = encode(toys.task("ranking"), examples, text()).features
    assert load_format("ranking").coupled and not load_format("span").coupled
    assert [len(part) for part in micro_batches(features, 32, coupled=True)] == [32]
    assert [len(part) for part in micro_batches(features, 12, coupled=True)] == [12, 12, 8]
    assert len(micro_batches(features, 32)[0]) == LEAST


def test_dev_keeps_all_candidates_when_it_takes_a_subset_of_queries(bench, toys):
    _, _, result = trained(bench, toys, dev_examples=4, epochs=1)
    assert result["dev_score"] is not None
