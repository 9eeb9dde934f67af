"""What the libraries let pass without an exception when they load a module: refused here, or put right and told.

The first test shows that the libraries do let it pass, so that a case leaves this list when they mend it.
"""

import json
from dataclasses import dataclass
from typing import Any

import adapters
import peft
import pytest
import torch

from tests.exchange.workshop import (
    HIDDEN,
    LAYERS,
    attached,
    edit,
    make_classifier,
    make_encoder,
    outputs,
    rewrite,
    save_adapter,
    save_peft,
)
from xstilts.errors import XstiltsError
from xstilts.exchange import read

CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Case:
    """One thing that is wrong with a directory.

    Attributes:
        harm: makes it wrong.
        refused: what the error says; None = it is read, and told of.
        remark: the check and whether it is serious, where it is read.
        passes: whether the library loads the directory without an exception.
        layout: of the directory.
        pickled: whether its weights are a ``.bin``.
    """

    harm: Any
    refused: str | None = None
    remark: tuple[str, bool] | None = None
    passes: bool = True
    layout: str = "adapterhub"
    pickled: bool = False

    @property
    def weights(self):
        peft_names = ("adapter_model.safetensors", "adapter_model.bin")
        return (peft_names if self.layout == "peft" else ("adapter.safetensors", "pytorch_adapter.bin"))[self.pickled]


def keys(change):
    """Harm that keeps, renames or drops (None) keys."""
    return lambda path: rewrite(
        path, lambda found: {change(key): found[key] for key in found if change(key) is not None}
    )


def values(change):
    return lambda path: rewrite(path, lambda found: {key: change(tensor) for key, tensor in found.items()})


def settings(**changes):
    return lambda path: edit(path.parent / CONFIG, **changes)


def backbone(prefix):
    """Harm that adds a tensor of the encoder itself."""
    name = f"{prefix}encoder.layer.1.attention.self.query.weight"
    return lambda path: rewrite(path, lambda found: found | {name: torch.zeros(HIDDEN, HIDDEN)})


def emptied(path):
    rewrite(path, lambda found: {})


def truncated(path):
    path.write_bytes(path.read_bytes()[:-50])


def moved_layers(key):
    """A file of an encoder with more layers, of which the lowest is missing."""
    for layer in range(LAYERS, 0, -1):
        key = key.replace(f"layer.{layer - 1}.", f"layer.{layer}.") if f"layer.{layer - 1}." in key else key
        if f"layer.{layer}." in key:
            return key
    return key


def lora_of_old(path):
    edit(path.parent / CONFIG, version="adapters.1.0.1")


BERT = keys(lambda key: f"bert.{key.removeprefix('roberta.')}")
P = {"layout": "peft"}
OLD = {"layout": "adapterhub lora"}
CASES = {
    "missing keys": Case(keys(lambda key: None if "layer.1." in key else key), "lacks 4 of 20 tensors"),
    "missing inverse block": Case(keys(lambda key: None if "invertible" in key else key), "lacks 8 of 20 tensors"),
    "empty file": Case(emptied, "holds no tensors"),
    "keys of another name": Case(settings(name="de"), remark=("keys", True)),
    "keys of two names": Case(
        keys(lambda key: key.replace("1.output.adapters.en", "1.output.adapters.de")), "one module"
    ),
    "keys of BERT": Case(BERT, "not understood: bert"),
    "says BERT": Case(
        settings(model_type="bert", model_name="bert-base-uncased"), "another kind of model; given 'bert'"
    ),
    "says RoBERTa": Case(settings(model_type="roberta"), "another kind of model; given 'roberta'"),
    "says another size": Case(settings(hidden_size=768), "hidden_size contradicts the weights"),
    "a layer is missing": Case(keys(moved_layers), "lacks 4 of 24 tensors: encoder"),
    "backbone tensors": Case(backbone("roberta."), "holds 1 tensors of the backbone, which must stay as it is"),
    "half precision": Case(values(lambda tensor: tensor.half()), remark=("precision", False)),
    "unknown setting": Case(settings(config__new_attention_norm=True), remark=("settings", False)),
    "other place than configured": Case(settings(config__mh_adapter=True), "lacks 12 of 32 tensors"),
    "truncated": Case(truncated, "is truncated", passes=False),
    "truncated pickle": Case(truncated, "is truncated", passes=False, pickled=True),
    "alpha of adapters before 1.1": Case(lora_of_old, remark=("scaling", False), **OLD),
    "LoRA of another rank than configured": Case(
        settings(config__r=8), "shape that the others imply", passes=False, **OLD
    ),
    "LoRA missing keys": Case(keys(lambda key: None if "lora_B" in key else key), "lacks 6 of 12 tensors", **OLD),
    "PEFT missing keys": Case(keys(lambda key: None if "layer.1" in key else key), "lacks 4 of 12 tensors", **P),
    "PEFT empty file": Case(emptied, "holds no tensors", **P),
    "PEFT keys of BERT": Case(
        keys(lambda key: key.replace("model.encoder", "model.bert.encoder")), "not understood", **P
    ),
    "PEFT backbone tensors": Case(backbone("base_model.model."), "tensors of the backbone", **P),
    "PEFT maps that are not named": Case(settings(target_modules=["query"]), "does not name encoder", **P),
    "PEFT half precision": Case(values(lambda tensor: tensor.half()), remark=("precision", False), **P),
    "PEFT unknown setting": Case(settings(use_magic=True), remark=("settings", False), **P),
    "PEFT head is missing": Case(settings(task_type="SEQ_CLS"), remark=("head", False), **P),
    "PEFT truncated": Case(truncated, "is truncated", passes=False, **P),
    "PEFT truncated pickle": Case(truncated, "is truncated", passes=False, pickled=True, **P),
}


def make(directory, case):
    if case.layout == "peft":
        save_peft(directory, peft.LoraConfig(r=4, target_modules=["query", "value"]), safe=not case.pickled)
    else:
        shape = (
            adapters.LoRAConfig(r=4, alpha=16) if "lora" in case.layout else adapters.SeqBnInvConfig(reduction_factor=2)
        )
        save_adapter(directory, shape, pickled=case.pickled)
    case.harm(directory / case.weights)


def load_in_the_library(directory, case):
    model = make_encoder()
    if case.layout == "peft":
        peft.PeftModel.from_pretrained(model, str(directory))
    else:
        adapters.init(model)
        model.load_adapter(str(directory), use_safetensors=not case.pickled)


def test_how_many_there_are():
    assert len(CASES) == 29 and sum(case.passes for case in CASES.values()) == 24


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_the_library_lets_it_pass(tmp_path, name):
    make(tmp_path / "m", CASES[name])
    if CASES[name].passes:
        load_in_the_library(tmp_path / "m", CASES[name])
    else:
        with pytest.raises(Exception):  # noqa: B017 - each another
            load_in_the_library(tmp_path / "m", CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_told(tmp_path, name):
    case = CASES[name]
    make(tmp_path / "m", case)
    if case.refused:
        with pytest.raises(XstiltsError, match=case.refused):
            read(tmp_path / "m")
    else:
        published = read(tmp_path / "m")
        assert [(remark.check, remark.serious) for remark in published.remarks] == [case.remark]


# ----------------------------------------------------------------------------------- what is put right, in numbers


def test_another_name_loads_the_weights_that_are_there(language_adapter):
    before = outputs(attached(read(language_adapter)))
    edit(language_adapter / CONFIG, name="de")
    assert torch.equal(outputs(attached(read(language_adapter))), before)


def test_the_scale_of_adapters_before_1_1_is_what_it_was_trained_with(tmp_path):
    save_adapter(tmp_path / "m", adapters.LoRAConfig(r=4, alpha=16))
    lora_of_old(tmp_path / "m" / "adapter.safetensors")
    published = read(tmp_path / "m")
    assert published.method.options == {"rank": 4, "alpha": 4}
    model = make_encoder()
    adapters.init(model)
    model.set_active_adapters(model.load_adapter(str(tmp_path / "m"), use_safetensors=True))
    assert torch.allclose(outputs(attached(published)), outputs(model), atol=1e-6)
    edit(tmp_path / "m" / CONFIG, version="3.2.1")  # of adapter-transformers, which scaled right
    assert read(tmp_path / "m").method.options == {"rank": 4}


@pytest.mark.parametrize("layers", [2, 4])
def test_the_number_of_layers_is_that_of_the_file(tmp_path, layers):
    """The libraries load a module into an encoder with more or fewer layers; here it says for how many it is."""
    save_adapter(tmp_path / "a", adapters.SeqBnConfig(), model=make_encoder(num_hidden_layers=layers))
    save_peft(tmp_path / "p", peft.LoraConfig(target_modules=["query"]), model=make_encoder(num_hidden_layers=layers))
    assert read(tmp_path / "a").layers == read(tmp_path / "p").layers == layers


@pytest.mark.parametrize("hidden", [16, 64])
def test_the_size_of_the_states_is_that_of_the_file(tmp_path, hidden):
    save_adapter(tmp_path / "a", adapters.SeqBnInvConfig(), model=make_encoder(hidden_size=hidden))
    save_peft(tmp_path / "p", peft.LoraConfig(target_modules=["query"]), model=make_encoder(hidden_size=hidden))
    assert read(tmp_path / "a").hidden == read(tmp_path / "p").hidden == hidden


def test_values_that_are_not_numbers_are_left_to_the_doctor(language_adapter):
    rewrite(language_adapter / "adapter.safetensors", lambda found: {key: found[key] * float("nan") for key in found})
    assert all(tensor.isnan().all() for tensor in read(language_adapter).tensors.values())


def test_a_head_of_another_class_is_told(tmp_path):
    """The library warns, and keeps a random head."""
    save_adapter(tmp_path / "m", adapters.SeqBnConfig(), model=make_classifier(), head=True)
    edit(tmp_path / "m" / "head_config.json", model_class="XLMRobertaForMultipleChoice")
    published = read(tmp_path / "m")
    assert published.head is None and [remark.check for remark in published.remarks] == ["head"]


def test_a_head_whose_name_begins_with_another_name(tmp_path):
    """Saving head ``a`` beside head ``ab`` saves both."""
    model = adapters.XLMRobertaAdapterModel(make_encoder().config)
    for name in ("a", "ab"):
        model.add_adapter(name, config=adapters.SeqBnConfig(reduction_factor=4))
        model.add_classification_head(name, num_labels=len(name) + 1)
    model.set_active_adapters("a")
    model.save_adapter(str(tmp_path / "m"), "a", use_safetensors=True)
    published = read(tmp_path / "m")
    assert torch.equal(published.head.tensors["out_proj.weight"], model.heads["a"][4].weight)
    assert [remark.check for remark in published.remarks] == ["head"]
    assert "another head" in published.remarks[0].what


def test_a_head_with_another_count_of_labels_is_refused(tmp_path):
    save_adapter(tmp_path / "m", adapters.SeqBnConfig(), model=make_classifier(), head=True)
    edit(tmp_path / "m" / "head_config.json", num_labels=2, label2id=None)
    with pytest.raises(XstiltsError, match="says 2 labels for states of 32; the weights have 3 for 32"):
        read(tmp_path / "m")


def test_a_composition_beside_a_module_is_told(language_adapter):
    (language_adapter / "adapter_setup.json").write_text(json.dumps({"adapter_composition": "Stack[a,b]"}))
    assert [remark.check for remark in read(language_adapter).remarks] == ["files"]


def test_a_pickle_beside_safetensors_is_not_read(language_adapter):
    (language_adapter / "pytorch_adapter.bin").write_bytes(b"anything")
    assert [remark.check for remark in read(language_adapter).remarks] == ["files"]
