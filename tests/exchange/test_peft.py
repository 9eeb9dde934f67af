import json

import peft
import pytest
import torch

from tests.exchange.workshop import (
    IDS,
    LAYERS,
    attached,
    edit,
    make_classifier,
    make_encoder,
    outputs,
    rewrite,
    save_peft,
)
from xstilts.errors import XstiltsError
from xstilts.exchange import layout, read
from xstilts.exchange import peft as reader
from xstilts.exchange._settings import unknown

FEED_FORWARD = [f"layer.{layer}.output.dense" for layer in range(LAYERS)]
SHAPES = {
    "lora": (
        peft.LoraConfig(r=4, lora_alpha=6, target_modules=["query", "value"]),
        ("lora", {"rank": 4, "alpha": 6}),
    ),
    "all": (
        peft.LoraConfig(r=2, lora_alpha=16, target_modules="all-linear"),
        ("lora", {"rank": 2, "targets": ("query", "key", "value", "attention_output", "intermediate", "output")}),
    ),
    "dense": (
        peft.LoraConfig(r=8, lora_alpha=16, target_modules=["dense"]),
        ("lora", {"targets": ("attention_output", "intermediate", "output")}),
    ),
    "pattern": (
        peft.LoraConfig(r=8, lora_alpha=16, target_modules=r".*self\.(query|key)"),
        ("lora", {"targets": ("query", "key")}),
    ),
    "rslora": (
        peft.LoraConfig(r=4, lora_alpha=8, target_modules=["value"], use_rslora=True),
        ("lora", {"rank": 4, "alpha": 8, "targets": ("value",), "rank_stabilised": True}),
    ),
    "dora": (
        peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], use_dora=True),
        ("dora", {"rank": 4, "alpha": 8}),
    ),
    "ia3": (
        peft.IA3Config(target_modules=["key", "value", *FEED_FORWARD], feedforward_modules=FEED_FORWARD),
        ("ia3", {}),
    ),
    "ia3 as for RoBERTa": (
        peft.IA3Config(target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
        ("ia3", {"targets": ("key", "value", "output", "attention_output")}),
    ),
}


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("name", SHAPES)
def test_what_the_library_saves_computes_the_same_here(tmp_path, name, safe):
    config, (kind, options) = SHAPES[name]
    model = save_peft(tmp_path / "m", config, safe=safe)
    assert layout(tmp_path / "m") == "peft"
    published = read(tmp_path / "m")
    assert (published.method.kind, published.method.options) == (kind, options)
    assert (published.layers, published.hidden, published.remarks) == (LAYERS, 32, ())
    assert published.origin.version == peft.__version__
    expected = outputs(model)
    assert (expected - outputs(make_encoder())).abs().max() > 0.1
    assert torch.allclose(outputs(attached(published)), expected, atol=1e-6)


def test_every_setting_of_the_library_is_known():
    for config in (peft.LoraConfig(), peft.IA3Config()):
        assert unknown("x", config.to_dict(), reader.READ | reader.FIXED.keys(), reader.IDLE) == ()


# ---------------------------------------------------------------------------------------------------------- history


def renamed(change):
    return lambda tensors: {change(key): tensor for key, tensor in tensors.items()}


def with_head(keys):
    """A classifier under the names of some version, besides the module."""

    def change(tensors):
        shapes = {"dense.weight": (32, 32), "dense.bias": (32,), "out_proj.weight": (3, 32), "out_proj.bias": (3,)}
        generator = torch.Generator().manual_seed(4)
        head = {part: torch.randn(shape, generator=generator) for part, shape in shapes.items()}
        return tensors | {key.format(part): head[part].clone() for key in keys for part in head}

    return change


def as_of_2023(tensors):
    return {key.replace("base_model.model.", "base_model.model.roberta."): tensor for key, tensor in tensors.items()}


VARIANTS = {
    "with the adapter's name": renamed(lambda key: key.replace(".weight", ".default.weight")),
    "of a model with a head": as_of_2023,
    "without the wrapper": renamed(lambda key: key.removeprefix("base_model.model.")),
    "injected": renamed(lambda key: key.removeprefix("base_model.model.").replace(".weight", ".other.weight")),
}
HEADS = {
    "present": ["base_model.model.classifier.{}"],
    "historic": ["base_model.model.classifier.modules_to_save.default.{}"],
    "with the untrained one": [
        "base_model.model.classifier.modules_to_save.default.{}",
        "base_model.model.classifier.original_module.{}",
    ],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_historic_keys_of_the_module(published_lora, variant):
    before = read(published_lora)
    rewrite(published_lora / "adapter_model.safetensors", VARIANTS[variant])
    after = read(published_lora)
    assert after.method == before.method and after.remarks == ()
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())


@pytest.mark.parametrize("form", HEADS)
def test_historic_keys_of_heads(published_lora, form):
    rewrite(published_lora / "adapter_model.safetensors", lambda found: with_head(HEADS[form])(as_of_2023(found)))
    edit(published_lora / "adapter_config.json", task_type="SEQ_CLS", modules_to_save=["classifier"])
    published = read(published_lora)
    assert published.head.format == "classification" and published.head.tensors["out_proj.weight"].shape == (3, 32)
    checks = [remark.check for remark in published.remarks]
    assert checks == (["keys"] if form == "with the untrained one" else [])


def test_a_configuration_of_the_first_versions(published_lora):
    """Its settings are gone, and it may not name the head that the file holds."""
    rewrite(published_lora / "adapter_model.safetensors", lambda found: with_head(HEADS["present"])(as_of_2023(found)))
    config = {
        "base_model_name_or_path": "xlm-roberta-base",
        "bias": "none",
        "enable_lora": None,
        "fan_in_fan_out": False,
    }
    config |= {"inference_mode": True, "lora_alpha": 8, "lora_dropout": 0.1, "merge_weights": False, "r": 4}
    config |= {
        "modules_to_save": None,
        "peft_type": "LORA",
        "target_modules": ["query", "value"],
        "task_type": "SEQ_CLS",
    }
    (published_lora / "adapter_config.json").write_text(json.dumps(config))
    published = read(published_lora)
    assert published.method.options == {"rank": 4, "alpha": 8, "dropout": 0.1}
    assert published.head is not None and published.origin.version is None
    assert published.origin.backbone == "xlm-roberta-base"
    assert [remark.check for remark in published.remarks] == ["head"]


def test_a_head_saved_by_the_library(tmp_path):
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query"], task_type="SEQ_CLS")
    model = save_peft(tmp_path / "m", config, model=make_classifier())
    published = read(tmp_path / "m")
    assert published.remarks == ()
    found = published.head.tensors
    with torch.no_grad():
        states = torch.tanh(outputs(attached(published))[:, 0] @ found["dense.weight"].T + found["dense.bias"])
        scores = states @ found["out_proj.weight"].T + found["out_proj.bias"]
        assert torch.allclose(scores, model(IDS).logits, atol=1e-6)


def test_heads_that_are_none_of_ours_are_left_with_a_remark(published_lora):
    def scores(tensors):
        return tensors | {"base_model.model.score.weight": torch.zeros(1, 32)}

    rewrite(published_lora / "adapter_model.safetensors", scores)
    published = read(published_lora)
    assert published.head is None and [remark.check for remark in published.remarks] == ["head"]


@pytest.mark.parametrize("place", ["pooler", "roberta.pooler", "lm_head"])
def test_what_lies_above_the_encoder_is_left_out(published_lora, place):
    """``dense`` among the targets means that of the pooler or of a masked language model's head, too."""

    def more(tensors):
        return tensors | {f"base_model.model.{place}.dense.lora_A.weight": torch.zeros(4, 32)}

    rewrite(published_lora / "adapter_model.safetensors", more)
    assert [remark.check for remark in read(published_lora).remarks] == ["keys"]


def test_numbers_of_layers_that_are_no_numbers(published_lora):
    edit(published_lora / "adapter_config.json", target_modules=["query", "value", f"layer.{'9' * 5000}.query"])
    read(published_lora)


# --------------------------------------------------------------------------------------------------------- refused

REFUSED = {
    "peft_type": "ADALORA",
    "bias": "all",
    "lora_bias": True,
    "enable_lora": [True, False, True],
    "use_qalora": True,
    "layer_replication": [[0, 1]],
    "target_parameters": ["weight"],
    "trainable_token_indices": [3],
    "alora_invocation_tokens": [1],
    "rank_pattern": {"query": 8},
    "alpha_pattern": {"query": 16},
    "init_lora_weights": "pissa_niter_16",
    "layers_to_transform": [0, 1],
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_no_method_here_can_do_is_refused_by_name(published_lora, setting):
    edit(published_lora / "adapter_config.json", **{setting: REFUSED[setting]})
    with pytest.raises(XstiltsError, match=setting):
        read(published_lora)


@pytest.mark.parametrize("initial", ["pissa", "olora", "corda", "loftq", "lora_ga", "of_tomorrow"])
def test_starts_that_change_the_backbone_are_refused(published_lora, initial):
    edit(published_lora / "adapter_config.json", init_lora_weights=initial)
    with pytest.raises(XstiltsError, match="changes the weights of the backbone"):
        read(published_lora)


def test_patterns_that_change_nothing_are_accepted(published_lora):
    before = read(published_lora)
    changes = {"rank_pattern": {"query": 4}, "alpha_pattern": {"value": 8}, "layers_to_transform": list(range(LAYERS))}
    edit(published_lora / "adapter_config.json", **changes)
    assert read(published_lora).method == before.method


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["query"], "does not name encoder.layer.0.attention.self.value"),
        (["query", "value", "key"], "no tensors for encoder.layer.0.attention.self.key"),
        (["query", "value", "layer.7.attention.self.key"], "no tensors for layer.7.attention.self.key"),
    ],
)
def test_maps_that_are_named_and_maps_that_are_there_must_be_the_same(published_lora, targets, message):
    edit(published_lora / "adapter_config.json", target_modules=targets)
    with pytest.raises(XstiltsError, match=message):
        read(published_lora)


def test_a_pattern_from_anywhere_is_never_run(published_lora):
    """This one takes ages to fail."""
    edit(published_lora / "adapter_config.json", target_modules="(.*.*)*.*(.*.*)*x(query|value)!")
    assert read(published_lora).method.kind == "lora"


def test_modules_in_some_layers_only_are_refused(tmp_path):
    config = peft.LoraConfig(r=4, target_modules=["query"], layers_to_transform=[1, 2], layers_pattern="layer")
    save_peft(tmp_path / "m", config)
    with pytest.raises(XstiltsError, match="lacks 2 of 6 tensors: encoder"):
        read(tmp_path / "m")


@pytest.mark.parametrize("target", ["word_embeddings", "LayerNorm"])
def test_parts_of_the_backbone_that_were_trained_are_refused(tmp_path, target):
    save_peft(tmp_path / "m", peft.LoraConfig(r=4, target_modules=["query"], modules_to_save=[target]))
    with pytest.raises(XstiltsError, match="tensors of the backbone"):
        read(tmp_path / "m")
