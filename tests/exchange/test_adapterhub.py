import json
import math
from types import SimpleNamespace

import adapters
import pytest
import torch
from safetensors import safe_open
from transformers import XLMRobertaConfig

from tests.exchange.workshop import (
    HIDDEN,
    IDS,
    LAYERS,
    SIZES,
    attached,
    edit,
    make_classifier,
    make_encoder,
    outputs,
    randomise,
    rewrite,
    save_adapter,
)
from xstilts.errors import XstiltsError
from xstilts.exchange import _adapters, _shape, layout, read
from xstilts.exchange._settings import unknown
from xstilts.formats._heads import SentenceHead, SpanHead, TokenHead
from xstilts.methods import load_method

CONFIGS = {
    "pfeiffer": (adapters.SeqBnConfig(reduction_factor=4), {"where": "output", "reduction": 4}),
    "houlsby": (
        adapters.DoubleSeqBnConfig(reduction_factor=8),
        {"where": "both", "reduction": 8, "non_linearity": "swish"},
    ),
    "attention": (
        adapters.BnConfig(mh_adapter=True, output_adapter=False, reduction_factor=4, non_linearity="gelu"),
        {"where": "attention", "reduction": 4, "non_linearity": "gelu"},
    ),
    "raw": (
        adapters.BnConfig(mh_adapter=False, output_adapter=True, reduction_factor=16, non_linearity="tanh"),
        {"where": "output", "non_linearity": "tanh", "reads": "raw"},
    ),
    "madx": (
        adapters.SeqBnInvConfig(reduction_factor=2),
        {"where": "output", "reduction": 2, "inverse": True},
    ),
    "madx2": (
        adapters.SeqBnInvConfig(reduction_factor=2, inv_adapter_reduction_factor=4, leave_out=[LAYERS - 1]),
        {"where": "output", "reduction": 2, "inverse": True, "inverse_reduction": 4, "leave_out": (LAYERS - 1,)},
    ),
    "lora": (adapters.LoRAConfig(r=4, alpha=6), {"rank": 4, "alpha": 6}),
    "lora_all": (
        adapters.LoRAConfig(r=2, alpha=2, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True),
        {"rank": 2, "alpha": 2, "targets": ("query", "key", "value", "intermediate", "output")},
    ),
}


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_the_library_saves_computes_the_same_here(tmp_path, name, pickled):
    config, options = CONFIGS[name]
    model = save_adapter(tmp_path / "m", config, pickled=pickled)
    assert layout(tmp_path / "m") == "adapterhub"
    published = read(tmp_path / "m")
    assert published.method.kind == ("lora" if name.startswith("lora") else "bottleneck")
    assert published.method.options == options
    assert (published.layers, published.hidden) == (LAYERS, 32)
    assert published.remarks == ()
    expected = outputs(model)
    assert (expected - outputs(make_encoder())).abs().max() > 0.1
    assert torch.allclose(outputs(attached(published)), expected, atol=1e-6)


def test_the_origin_is_told(language_adapter):
    (language_adapter / "README.md").write_text(
        "---\ntags:\n- adapterhub:en/wiki\nlanguage:\n- en\nlicense: apache-2.0\n---\n\nA card.\n"
    )
    edit(language_adapter / "adapter_config.json", model_name="xlm-roberta-base")
    origin = read(language_adapter).origin
    assert (origin.layout, origin.name, origin.backbone) == ("adapterhub", "en", "xlm-roberta-base")
    assert (origin.model_type, origin.hidden_size, origin.version) == (
        "xlm-roberta",
        32,
        f"adapters.{adapters.__version__}",
    )
    assert (origin.language, origin.task, origin.licence) == ("en", "en/wiki", "apache-2.0")
    assert [name for name, size in origin.files] == ["adapter_config.json", "adapter.safetensors", "README.md"]


ALIASES = "".join(f"a{n + 1}: &a{n + 1}\n  <<: [*a{n}, *a{n}]\n" for n in range(40))
CARDS = {
    "aliases that double": (f"a0: &a0 {{x: 1}}\n{ALIASES}license: mit\n", None, "en", ["card"]),
    "no YAML": ("a: [\n", None, "en", ["card"]),
    "nested": ("[" * 20_000 + "\n", None, "en", ["card"]),
    "an object of Python": ("license: !!python/object/apply:os.getcwd []\n", None, "en", ["card"]),
    "digits": (f"license: {'1' * 60_000}\n", None, "en", ["card"]),
    "too long": ("license: mit\n" + "# x\n" * 20_000, None, "en", []),
    "a long licence": (f"license: {'x' * 60_000}\n", "x" * 200, "en", []),
    "a licence that moves the cursor": ('license: "a\\e[2J\\nb\\ud800"\n', "a�[2J b�", "en", []),
    "a licence by its name": ("license: other\nlicense_name: ours\n", "ours", "en", []),
    "a language that is none": ("language: '` ![x](https://x.org/x.png)'\n", None, "en", []),
    "a language that YAML takes for false": ("language: no\n", None, "no", []),
    "two languages": ("language: [de, fr]\n", None, "en", []),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_card_is_read_with_care(language_adapter, case):
    """Nothing in it is run or grows, what it says stays on one line, and the module is read whatever it says."""
    text, licence, language, remarks = CARDS[case]
    (language_adapter / "README.md").write_text(f"---\n{text}---\n\nA card.\n")
    published = read(language_adapter)
    assert (published.origin.licence, published.origin.language) == (licence, language)
    assert [remark.check for remark in published.remarks] == remarks


# ----------------------------------------------------------------------------------------- adapter-transformers 1


def legacy(directory, kind="text_lang", where="output", activation="relu", inverse=True, weights=True):
    """A directory as adapter-transformers 1 wrote it, made by hand, in a file that is no zip."""
    generator = torch.Generator().manual_seed(3)
    word = {"text_lang": "lang", "text_task": "task"}.get(kind, "task")
    places = {"output": [f"output.layer_text_{word}_adapters"]}
    places["both"] = [*places["output"], f"attention.output.attention_text_{word}_adapters"]
    shapes = {"adapter_down.0.weight": (8, HIDDEN), "adapter_down.0.bias": (8,)}
    shapes |= {"adapter_up.weight": (HIDDEN, 8), "adapter_up.bias": (HIDDEN,)}
    tensors = {
        f"roberta.encoder.layer.{layer}.{place}.en.{part}": shape
        for layer in range(LAYERS)
        for place in places[where]
        for part, shape in shapes.items()
    }
    if inverse and weights:
        parts = {"0.weight": (8, 16), "0.bias": (8,), "2.weight": (16, 8), "2.bias": (16,)}
        tensors |= {
            f"roberta.invertible_lang_adapters.en.{block}.{part}": shape
            for block in "FG"
            for part, shape in parts.items()
        }
    config = {
        "original_ln_before": where == "output",
        "original_ln_after": True,
        "residual_before_ln": True,
        "adapter_residual_before_ln": False,
        "ln_before": False,
        "ln_after": False,
        "mh_adapter": where == "both",
        "output_adapter": True,
        "non_linearity": activation,
        "reduction_factor": 4,
    }
    if inverse:
        config["invertible_adapter"] = {"block_type": "nice", "non_linearity": activation, "reduction_factor": 2}
    about = {"name": "en", "model_type": "xlm-roberta", "hidden_size": HIDDEN, "config": config}
    about |= {"type": kind} if kind else {}
    directory.mkdir()
    (directory / "adapter_config.json").write_text(json.dumps(about))
    found = {key: torch.randn(shape, generator=generator) * 0.3 for key, shape in tensors.items()}
    torch.save(found, directory / "pytorch_adapter.bin", _use_new_zipfile_serialization=False)
    return directory


def as_the_library_loads_it(directory):
    model = make_encoder()
    adapters.init(model)
    model.set_active_adapters(model.load_adapter(str(directory)))
    return model


LEGACY = [
    {"kind": "text_lang"},
    {"kind": "text_lang", "where": "both"},
    {"kind": "text_task", "inverse": False},
    {"kind": "text_task", "weights": False},  # names an inverse block that it does not have
    {"kind": "text_lang", "activation": "gelu"},  # which is gelu_new today
    {"kind": "text_task", "activation": "gelu_orig", "inverse": False, "where": "both"},
]


@pytest.mark.parametrize("form", LEGACY, ids=str)
def test_directories_of_the_first_version_load_exactly(tmp_path, form):
    directory = legacy(tmp_path / "v1", **form)
    published = read(directory)
    assert torch.equal(outputs(attached(published)), outputs(as_the_library_loads_it(directory)))
    assert published.origin.version is None
    assert published.origin.language == ("en" if form["kind"] == "text_lang" else None)
    activation = {"gelu": "gelu_new", "gelu_orig": "gelu"}.get(form.get("activation", "relu"), "relu")
    assert published.method.options.get("non_linearity", "relu") == activation
    expected = {"activation"} if "activation" in form else set()
    expected |= {"format"} if form.get("weights") is False else set()
    assert {remark.check for remark in published.remarks} == expected


def test_without_a_type_an_inverse_block_that_is_missing_is_an_error(tmp_path):
    """The library loads a random one."""
    with pytest.raises(XstiltsError, match="lacks 8 of 20 tensors: inverse"):
        read(legacy(tmp_path / "v1", kind=None, weights=False))


# -------------------------------------------------------------------------------------------------------- settings

REFUSED = {
    "original_ln_after": False,
    "ln_before": True,
    "ln_after": True,
    "is_parallel": True,
    "scaling": 2.0,
    "use_gating": True,
    "cross_adapter": True,
    "phm_layer": True,
    "stochastic_depth": 0.1,
    "inv_adapter": "glow",
    "residual_before_ln": "post_add",
    "reduction_factor": {"0": 2, "default": 4},
    "non_linearity": "softplus",
    "architecture": "prefix_tuning",
    "mh_adapter": "yes",
    "leave_out": [-1],
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_no_method_here_can_do_is_refused_by_name(language_adapter, setting):
    edit(language_adapter / "adapter_config.json", **{f"config__{setting}": REFUSED[setting]})
    with pytest.raises(XstiltsError, match=setting):
        read(language_adapter)


LORA_REFUSED = {"composition_mode": "scale", "use_gating": True, "use_dora": True, "vera_d": 0.1, "leave_out": [0]}


@pytest.mark.parametrize("setting", LORA_REFUSED)
def test_lora_that_is_something_else_is_refused_by_name(tmp_path, setting):
    save_adapter(tmp_path / "m", adapters.LoRAConfig())
    edit(tmp_path / "m" / "adapter_config.json", **{f"config__{setting}": LORA_REFUSED[setting]})
    with pytest.raises(XstiltsError, match=setting):
        read(tmp_path / "m")


def test_every_setting_of_the_library_is_known():
    """So a new version of it shows itself here, and not in results."""
    for config, read_here, fixed, idle in (
        (adapters.SeqBnInvConfig(), _adapters.READ, _adapters.FIXED, _adapters.IDLE),
        (adapters.LoRAConfig(), _adapters.LORA_READ, _adapters.LORA_FIXED, _adapters.LORA_IDLE),
    ):
        assert unknown("x", config.to_dict(), read_here | fixed.keys(), idle) == ()


def test_a_reduction_that_is_the_same_everywhere_may_be_spelled_by_layer(language_adapter):
    edit(language_adapter / "adapter_config.json", config__reduction_factor={"1": 2.0, "default": 2.0})
    assert read(language_adapter).method.options["reduction"] == 2


def test_keys_may_lack_the_name_of_the_encoder(tmp_path):
    model = save_adapter(tmp_path / "m", adapters.SeqBnConfig(reduction_factor=4), model=make_classifier())
    keys = list(adapters_keys(tmp_path / "m"))
    assert all(key.startswith("roberta.") for key in keys)
    before = read(tmp_path / "m")
    rewrite(
        tmp_path / "m" / "adapter.safetensors",
        lambda tensors: {key.removeprefix("roberta."): tensor for key, tensor in tensors.items()},
    )
    after = read(tmp_path / "m")
    assert before.tensors.keys() == after.tensors.keys()
    assert torch.allclose(outputs(attached(after)), outputs(model.roberta), atol=1e-6)


def adapters_keys(directory):
    with safe_open(directory / "adapter.safetensors", "pt") as file:
        return file.keys()


# ----------------------------------------------------------------------------------------------------------- heads

HEADS = {
    "classification": ("add_classification_head", {"num_labels": 3}, "classification"),
    "named": ("add_classification_head", {"num_labels": 2, "id2label": {0: "no", 1: "yes"}}, "classification"),
    "tagging": ("add_tagging_head", {"num_labels": 5}, "tagging"),
    "span": ("add_qa_head", {"num_labels": 2}, "span"),
    "choice": ("add_multiple_choice_head", {"num_choices": 4, "layers": 2}, "choice"),
}
NO_HEADS = {
    "one layer": ("add_classification_head", {"num_labels": 3, "layers": 1}),
    "relu": ("add_classification_head", {"num_labels": 3, "activation_function": "relu"}),
    "pooler": ("add_classification_head", {"num_labels": 3, "use_pooler": True}),
    "multilabel": ("add_classification_head", {"num_labels": 3, "multilabel": True}),
    "language model": ("add_masked_lm_head", {}),
}


def save_with_head(directory, function, arguments, name="en"):
    model = adapters.XLMRobertaAdapterModel(XLMRobertaConfig(**SIZES)).eval()
    model.roberta.load_state_dict(make_encoder().state_dict(), strict=False)
    model.add_adapter(name, config=adapters.SeqBnConfig(reduction_factor=4))
    getattr(model, function)(name, **arguments)
    randomise(model, f".{name}.")
    model.set_active_adapters(name)
    model.active_head = name
    model.save_adapter(str(directory), name, use_safetensors=True)
    return model


def ours(published):
    """What our head gives on the states of our encoder."""

    from transformers import XLMRobertaConfig

    config, found = XLMRobertaConfig(**SIZES), published.head
    count = found.tensors["out_proj.weight"].shape[0]
    head = {"tagging": lambda: TokenHead(config, count), "span": lambda: SpanHead(config)}.get(
        found.format, lambda: SentenceHead(config, count)
    )().eval()
    head.load_state_dict(found.tensors)
    batch = SimpleNamespace(targets=range(len(IDS)), ids=torch.full_like(IDS, 9))
    with torch.no_grad():
        return head(outputs(attached(published)), batch)


@pytest.mark.parametrize("case", HEADS)
def test_heads_of_the_library_are_heads_of_ours(tmp_path, case):
    function, arguments, format_name = HEADS[case]
    model = save_with_head(tmp_path / "m", function, arguments)
    published = read(tmp_path / "m")
    assert published.head.format == format_name and published.remarks == ()
    assert published.head.labels == (("no", "yes") if case == "named" else None)
    with torch.no_grad():
        if format_name == "choice":
            theirs = model(IDS.repeat(2, 1)).logits.reshape(-1)[:2]
        elif format_name == "span":
            found = model(IDS)
            theirs = torch.stack([found.start_logits, found.end_logits], dim=1)
        else:
            theirs = model(IDS).logits
    assert torch.allclose(ours(published).reshape(theirs.shape), theirs, atol=1e-6)


@pytest.mark.parametrize("case", NO_HEADS)
def test_other_heads_are_left_with_a_remark(tmp_path, case):
    save_with_head(tmp_path / "m", *NO_HEADS[case])
    published = read(tmp_path / "m")
    assert published.head is None
    assert [remark.check for remark in published.remarks] == ["head"]


def test_heads_of_transformers_classes(tmp_path):
    model = save_adapter(tmp_path / "m", adapters.SeqBnConfig(reduction_factor=4), model=make_classifier(), head=True)
    published = read(tmp_path / "m")
    assert published.head.format == "classification" and published.head.labels is None
    with torch.no_grad():
        assert torch.allclose(ours(published)[:, 0], model(IDS).logits, atol=1e-6)


def test_label_counts_must_agree(tmp_path):
    save_with_head(tmp_path / "m", *HEADS["named"][:2])
    for changes, message in (
        ({"config__label2id": {"no": 0, "yes": 1, "maybe": 2}}, "with 3 labels has 2 outputs"),
        ({"config__label2id": {"no": 0, "yes": 2}}, "must number the labels from 0"),
        ({"config__label2id": None, "config__num_labels": 4}, "says 4 labels"),
    ):
        edit(tmp_path / "m" / "head_config.json", **changes)
        with pytest.raises(XstiltsError, match=message):
            read(tmp_path / "m")


@pytest.mark.parametrize(("hidden", "layers", "parameters"), [(768, 12, 7_387_776), (1024, 24, 25_728_512)])
def test_published_language_adapters_have_as_many_parameters_as_their_files(hidden, layers, parameters):
    """29.6 MB for XLM-R base, 103 MB for large, as the hub lists ``…-wiki_pfeiffer``."""
    options = load_method("bottleneck").Options(where="output", reduction=2, inverse=True)
    sizes = {_shape.HIDDEN: hidden, _shape.UNITS: hidden // 2}
    layer = [[sizes[size] for size in shape] for shape in _shape._inside("bottleneck", options).values()]
    inverse = _shape._inverse(hidden, options.inverse_reduction).values()
    assert layers * sum(map(math.prod, layer)) + sum(map(math.prod, inverse)) == parameters
