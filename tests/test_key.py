"""Keys are pinned: if one of these changes, every artefact anyone ever stored is lost to its study."""

import dataclasses
import subprocess
import sys

import pytest
from pydantic import ValidationError

from xstilts.key import describe, key, stable_int
from xstilts.spec import (
    AdapterConfig,
    Backbone,
    Cold,
    Mixture,
    Predict,
    Recipe,
    Sampling,
    Stack,
    TaskData,
    Train,
    Warm,
)

BACKBONE = Backbone("b" * 64, 4, 256, "mini", "/somewhere")
TASK = TaskData("mini_mnli", 1, "accuracy 1", "d" * 64)
METHOD = AdapterConfig(kind="bottleneck", options={"reduction": 16, "where": "output"})
RECIPE = Recipe(epochs=3, lr=1e-3, precision="fp32")
TRAIN = Train(BACKBONE, TASK, METHOD, Cold(), RECIPE, 1)
ALSO = (dataclasses.replace(TASK, name="mini_qqp"), TaskData("mini_mlm", 1, "accuracy 1", "e" * 64))
MIXED = dataclasses.replace(TRAIN, mixture=Mixture(ALSO, Sampling(kind="proportional")))
PREDICT = Predict(TRAIN, TASK, "test", ("en", "de"), 128, 64, "fp32")

GOLDEN = {
    "cold": (TRAIN, "d2bb677ef48f26612debee954b636058"),
    "warm": (dataclasses.replace(TRAIN, start=Warm(TRAIN)), "1c2b6abc248ef5a0c843ed9c8db111ac"),
    "stack": (dataclasses.replace(TRAIN, start=Stack((TRAIN,))), "efa36a250a723ab25e0c8859308e0dd3"),
    "predict": (PREDICT, "117d34c7fe14fff69f55088edfbb000e"),
    "mixture": (MIXED, "3fb793b536bfc7b0846c938a7c5ccb3c"),
    "mixture, temperature": (
        dataclasses.replace(MIXED, mixture=Mixture(ALSO, Sampling(kind="temperature", temperature=2.0))),
        "cac93d82004c28bd6551833eaddd3217",
    ),
    "mixture, capped": (
        dataclasses.replace(MIXED, mixture=Mixture(ALSO[:1], Sampling(kind="capped", cap=40_000))),
        "07aa5ebd136fc3e1316dd51f68c4d304",
    ),
    "stack on a mixture": (dataclasses.replace(TRAIN, start=Stack((MIXED,))), "48f73ed860f10fa33b56b66c4a1cc8b2"),
    "bare": (dataclasses.replace(PREDICT, model=BACKBONE, layer=3), "d24c424af2f594d914dea84a9572895f"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    step, expected = GOLDEN[name]
    assert key(step) == expected


def test_golden_keys_are_distinct():
    assert len({key(step) for step, _ in GOLDEN.values()}) == len(GOLDEN)


@pytest.mark.parametrize(
    "same",
    [
        dataclasses.replace(TRAIN, backbone=dataclasses.replace(BACKBONE, name="other", path="/elsewhere")),
        dataclasses.replace(TRAIN, recipe=RECIPE.model_copy(update={"gradient_checkpointing": True})),
        dataclasses.replace(
            TRAIN, method=AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 16})
        ),
    ],
)
def test_names_paths_and_speed_do_not_count(same):
    assert key(same) == key(TRAIN)


CHANGED = {
    "batch": 16,
    "epochs": 4,
    "lr": 2e-3,
    "warmup": 0.2,
    "weight_decay": 0.1,
    "max_grad_norm": 2.0,
    "max_length": 64,
    "doc_stride": 32,
    "precision": "bf16",
    "train_examples": 100,
    "dev_examples": 100,
    "evaluations": 3,
    "patience": 2,
    "micro_batch": 4,
    "threads": 8,
}


def test_every_other_recipe_field_counts():
    assert set(CHANGED) | Recipe.unhashed_fields() == set(Recipe.model_fields)
    keys = {key(dataclasses.replace(TRAIN, recipe=RECIPE.model_copy(update={f: v}))) for f, v in CHANGED.items()}
    assert len(keys | {key(TRAIN)}) == len(CHANGED) + 1


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(TRAIN, seed=2),
        dataclasses.replace(TRAIN, task=dataclasses.replace(TASK, fingerprint="e" * 64)),
        dataclasses.replace(TRAIN, task=dataclasses.replace(TASK, version=2)),
        dataclasses.replace(TRAIN, task=dataclasses.replace(TASK, metric="accuracy 2")),
        dataclasses.replace(TRAIN, backbone=dataclasses.replace(BACKBONE, fingerprint="c" * 64)),
        dataclasses.replace(
            TRAIN, method=AdapterConfig(kind="bottleneck", options={"reduction": 8, "where": "output"})
        ),
    ],
)
def test_what_changes_the_result_counts(other):
    assert key(other) != key(TRAIN)


def test_tasks_sampling_and_order_of_a_mixture_count():
    sampling = MIXED.mixture.sampling
    mixtures = [
        Mixture(ALSO, sampling),
        Mixture(ALSO[::-1], sampling),
        Mixture(ALSO[:1], sampling),
        Mixture((), sampling),
        Mixture(ALSO, Sampling(kind="uniform")),
        Mixture(ALSO, Sampling(kind="temperature", temperature=2.0)),
        Mixture(ALSO, Sampling(kind="temperature", temperature=5.0)),
        Mixture(ALSO, Sampling(kind="capped", cap=10)),
    ]
    keys = {key(dataclasses.replace(TRAIN, mixture=mixture)) for mixture in mixtures}
    assert len(keys | {key(TRAIN)}) == len(mixtures) + 1
    assert MIXED.tasks == (TASK, *ALSO) and TRAIN.tasks == (TASK,)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "temperature"},
        {"kind": "temperature", "cap": 10},
        {"kind": "temperature", "temperature": 0.5},
        {"kind": "capped"},
        {"kind": "capped", "cap": 0},
        {"kind": "capped", "cap": 10, "temperature": 2.0},
        {"kind": "uniform", "cap": 10},
        {"kind": "proportional", "temperature": 2.0},
        {"kind": "square root"},
        {},
    ],
)
def test_a_sampling_that_says_too_much_or_too_little_is_refused(given):
    with pytest.raises(ValidationError):
        Sampling(**given)


def test_order_of_a_stack_counts():
    other = dataclasses.replace(TRAIN, seed=2)
    stacks = [dataclasses.replace(TRAIN, start=Stack(pair)) for pair in ((TRAIN, other), (other, TRAIN))]
    assert key(stacks[0]) != key(stacks[1])


def test_key_is_the_same_in_another_process():
    program = "from xstilts.key import stable_int; print(stable_int('xnli', 7))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(shown) == stable_int("xnli", 7)


def test_stable_int_separates_its_parts():
    assert stable_int("a", "b") != stable_int("ab") != stable_int("a", "b", "")
    assert 0 <= stable_int("x") < 2**63


def test_description_names_what_the_key_leaves_out():
    shown = describe(dataclasses.replace(TRAIN, start=Warm(TRAIN)))
    assert shown["backbone"]["name"] == "mini"
    assert shown["start"]["source"]["key"] == key(TRAIN)
