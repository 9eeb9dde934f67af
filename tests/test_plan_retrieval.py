"""How a study predicts retrieval: at which layer, with which pooling, and what a threshold is chosen on."""

from pathlib import Path

import pytest

from xstilts.config import load_study
from xstilts.key import key
from xstilts.plan import declared_layer, expand
from xstilts.spec import Backbone, Predict, Train

CONFIGS = Path(__file__).parents[1] / "adapter_configs"
STUDY = """
name = "t"
title = "T"
seeds = [1]
targets = [{targets}]
recipe = {{ common = {{ epochs = 1, lr = 1e-3 }} }}
{extra}
system = [{{ name = "full", label = "d", mode = "fullft", adapter = "full", start = "cold" }}]
"""


def predicts(tmp_path, target, extra=""):
    (tmp_path / "t.toml").write_text(STUDY.format(targets=target, extra=extra))
    loaded = load_study(str(tmp_path / "t.toml"), tmp_path, CONFIGS)
    plan = expand(loaded, Backbone("b" * 64, 4, 256, "mini", "/somewhere"), lambda *rows: str(rows), "fp32")
    return [step for step in plan.steps.values() if isinstance(step, Predict)]


@pytest.mark.parametrize(("layers", "layer"), [(24, 14), (12, 8), (4, 3), (6, 4)])
def test_one_layer_is_declared_for_each_depth(layers, layer):
    assert declared_layer(layers) == layer


def test_without_training_a_declared_layer_is_pooled_as_the_study_says(tmp_path):
    (plain,) = {(step.layer, step.pooling) for step in predicts(tmp_path, '"bucc_gold"')}
    assert plain == (3, None)
    (asked,) = {
        (step.layer, step.pooling) for step in predicts(tmp_path, '"bucc_gold"', 'retrieval_layer = 1\npooling = "cls"')
    }
    assert asked == (1, "cls")


def test_a_trained_dual_encoder_is_asked_as_it_was_trained(tmp_path):
    steps = predicts(tmp_path, '"lareqa"', 'retrieval_layer = 1\npooling = "cls"')
    assert {(step.layer, step.pooling, step.calibration) for step in steps} == {(None, None, None)}
    assert all(isinstance(step.model, Train) and step.model.task.name == "lareqa" for step in steps)


def test_mining_names_the_split_of_its_threshold_and_its_key_covers_those_rows(tmp_path):
    mining, gold = predicts(tmp_path, '"bucc_mining"')[0], predicts(tmp_path, '"bucc_gold"')[0]
    assert (mining.calibration, gold.calibration) == ("dev", None)
    assert "('dev', 'test')" in mining.task.fingerprint and "'dev'" not in gold.task.fingerprint
    assert len({key(mining), key(gold)}) == 2


def test_the_pool_of_a_ranking_task_is_no_language_of_its_prediction(tmp_path):
    step = predicts(tmp_path, '"mewsli_x"', 'languages = ["de", "ja"]')[0]
    assert step.languages == ("de", "ja")
