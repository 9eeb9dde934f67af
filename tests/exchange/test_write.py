import warnings
from dataclasses import replace

import adapters
import peft
import pytest
import torch
from transformers import XLMRobertaForQuestionAnswering, XLMRobertaForTokenClassification

from tests.exchange.workshop import HIDDEN, IDS, LAYERS, attached, make_classifier, make_encoder, outputs
from xstilts.errors import XstiltsError
from xstilts.exchange import read, write
from xstilts.methods import load_method
from xstilts.published import Origin, Published, PublishedHead
from xstilts.spec import AdapterConfig

ALL = ("query", "key", "value", "attention_output", "intermediate", "output")
SHAPES = {
    "pfeiffer": ("bottleneck", {"where": "output", "reduction": 4}),
    "houlsby": ("bottleneck", {"where": "both", "reduction": 4, "non_linearity": "swish", "dropout": 0.1}),
    "attention": ("bottleneck", {"where": "attention", "non_linearity": "gelu_new", "reads": "normalised"}),
    "raw": ("bottleneck", {"where": "output", "reads": "raw", "leave_out": (0,)}),
    "madx": ("bottleneck", {"where": "output", "reduction": 2, "inverse": True, "leave_out": (-1,)}),
    "lora": ("lora", {"rank": 4, "alpha": 6.0, "dropout": 0.1}),
    "lora_ffn": ("lora", {"rank": 4, "alpha": 6.0, "targets": ("key", "intermediate", "output")}),
    "rslora": ("lora", {"rank": 3, "alpha": 5.0, "rank_stabilised": True}),
    "lora_all": ("lora", {"rank": 2, "targets": ALL}),
    "dora": ("dora", {"rank": 4, "targets": ("query", "output")}),
    "ia3": ("ia3", {}),
    "ia3_all": ("ia3", {"targets": ("key", "value", "output", "attention_output")}),
}
TO_ADAPTERHUB = ["pfeiffer", "houlsby", "attention", "raw", "madx", "lora", "lora_ffn", "rslora"]
TO_PEFT = ["lora", "lora_ffn", "rslora", "lora_all", "dora", "ia3", "ia3_all"]
HEADS = {"classification": 3, "tagging": 5, "span": 2}


def made(name, head=None):
    """A module of a shape with random weights of a trained size, as it would be published."""
    kind, given = SHAPES[name]
    method = load_method(kind)
    options = method.Options.model_validate(given)
    encoder = make_encoder()
    method.attach(encoder, "m", options)
    method.initialise(encoder, "m")
    generator = torch.Generator().manual_seed(2)
    tensors = {
        stored: encoder.get_parameter(parameter).detach() * 0.9
        + torch.randn(encoder.get_parameter(parameter).shape, generator=generator) * 0.2
        for stored, parameter in method.names(encoder, "m").items()
    }
    config = AdapterConfig(kind=kind, options=options.model_dump(exclude_defaults=True))
    language = "sw" if name == "madx" else None
    origin = Origin("bundle", name="sw", backbone="xlm-roberta-base", language=language, licence="apache-2.0")
    return Published(config, tensors, LAYERS, HIDDEN, made_head(head) if head else None, origin)


def made_head(format_name):
    count = HEADS[format_name]
    generator = torch.Generator().manual_seed(3)
    shapes = {"out_proj.weight": (count, HIDDEN), "out_proj.bias": (count,)}
    if format_name == "classification":
        shapes |= {"dense.weight": (HIDDEN, HIDDEN), "dense.bias": (HIDDEN,)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    named = format_name != "span"
    return PublishedHead(format_name, tensors, tuple(f"label {n}" for n in range(count)) if named else None)


def in_adapters(directory, safe=True, model=None):
    model = model or make_encoder()
    adapters.init(model)
    info = {}
    model.set_active_adapters(model.load_adapter(str(directory), use_safetensors=safe, loading_info=info))
    assert not info["missing_keys"] and not info["unexpected_keys"]
    return model.eval()


def in_peft(directory, model=None, trainable=False):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it only warns of missing keys
        return peft.PeftModel.from_pretrained(model or make_encoder(), str(directory), is_trainable=trainable).eval()


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("name", TO_ADAPTERHUB)
def test_adapters_loads_it_to_the_same_outputs(tmp_path, name, pickled):
    published = made(name)
    assert write(published, tmp_path / "out", "adapterhub", pickled) == ()
    theirs = outputs(in_adapters(tmp_path / "out", safe=not pickled))
    assert (theirs - outputs(make_encoder())).abs().max() > 0.1
    assert torch.allclose(theirs, outputs(attached(published)), atol=1e-6)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("name", TO_PEFT)
def test_peft_loads_it_to_the_same_outputs(tmp_path, name, pickled):
    published = made(name)
    assert write(published, tmp_path / "out", "peft", pickled) == ()
    theirs = outputs(in_peft(tmp_path / "out"))
    assert (theirs - outputs(make_encoder())).abs().max() > 0.1
    assert torch.allclose(theirs, outputs(attached(published)), atol=1e-6)


def gradients(model, rename):
    """Of a fixed function of the outputs, by stored name."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    target = torch.randn(2, 6, HIDDEN, generator=torch.Generator().manual_seed(8))
    (model(IDS)[0] * target).sum().backward()
    return {rename(name): parameter.grad for name, parameter in model.named_parameters() if "lora" in name}


@pytest.mark.parametrize("name", ["lora", "lora_ffn", "rslora"])
def test_lora_has_the_same_gradients_in_both_libraries(tmp_path, name):
    published = made(name)
    write(published, tmp_path / "a", "adapterhub")
    write(published, tmp_path / "p", "peft")
    wanted = gradients(attached(published), lambda key: key.removesuffix(".m.weight"))
    there = gradients(in_adapters(tmp_path / "a"), lambda key: key.replace(".loras.sw", ""))
    other = gradients(
        in_peft(tmp_path / "p", trainable=True),
        lambda key: key.removeprefix("base_model.model.").removesuffix(".default.weight"),
    )
    assert wanted.keys() == there.keys() == other.keys() == published.tensors.keys()
    for stored, gradient in wanted.items():
        scale = gradient.abs().max()
        assert torch.allclose(there[stored], gradient, atol=float(scale) * 1e-5)
        assert torch.allclose(other[stored], gradient, atol=float(scale) * 1e-5)


def same(first, second):
    assert (first.method, first.layers, first.hidden) == (second.method, second.layers, second.hidden)
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())
    assert (first.head is None) == (second.head is None)
    if first.head and second.head:
        assert (first.head.format, first.head.labels) == (second.head.format, second.head.labels)
        assert all(torch.equal(tensor, second.head.tensors[name]) for name, tensor in first.head.tensors.items())
    assert (first.origin.backbone, first.origin.licence) == (second.origin.backbone, second.origin.licence)
    assert (first.origin.name, first.origin.language) == (second.origin.name, second.origin.language)


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize(
    ("name", "layout"), [(name, "adapterhub") for name in TO_ADAPTERHUB] + [(name, "peft") for name in TO_PEFT]
)
def test_import_export_import_is_the_identity(tmp_path, name, layout, pickled):
    write(made(name, "classification"), tmp_path / "0", layout, pickled)
    first = read(tmp_path / "0")
    assert first.remarks == () and first.head is not None
    write(first, tmp_path / "1", layout, pickled)
    same(read(tmp_path / "1"), first)
    assert all(torch.equal(tensor, first.tensors[stored]) for stored, tensor in made(name).tensors.items())


def test_lora_goes_from_one_library_to_the_other_and_back(tmp_path):
    write(made("lora"), tmp_path / "0", "peft")
    write(read(tmp_path / "0"), tmp_path / "1", "adapterhub")
    write(read(tmp_path / "1"), tmp_path / "2", "peft")
    first, last = read(tmp_path / "0"), read(tmp_path / "2")
    assert first.method == last.method and first.layers == last.layers
    assert all(torch.equal(tensor, last.tensors[name]) for name, tensor in first.tensors.items())


def test_rslora_keeps_its_scale_where_its_name_is_unknown(tmp_path):
    write(made("rslora"), tmp_path / "out", "adapterhub")
    method = read(tmp_path / "out").method
    assert method.options == {"rank": 3, "alpha": pytest.approx(5 * 3**0.5)}


# ----------------------------------------------------------------------------------------------------------- heads


def scores(published):
    found, states = published.head.tensors, outputs(attached(published))
    if published.head.format == "classification":
        states = torch.tanh(states[:, 0] @ found["dense.weight"].T + found["dense.bias"])
    return states @ found["out_proj.weight"].T + found["out_proj.bias"]


def theirs(model, format_name):
    with torch.no_grad():
        found = model(IDS)
    return torch.stack([found.start_logits, found.end_logits], -1) if format_name == "span" else found.logits


@pytest.mark.parametrize("format_name", HEADS)
def test_adapters_loads_heads(tmp_path, format_name):
    published = made("pfeiffer", format_name)
    assert write(published, tmp_path / "out", "adapterhub") == ()
    model = adapters.XLMRobertaAdapterModel(make_encoder().config)
    model.roberta.load_state_dict(make_encoder().state_dict(), strict=False)
    model = in_adapters(tmp_path / "out", model=model)
    assert model.active_head == "sw"
    assert torch.allclose(theirs(model, format_name), scores(published), atol=1e-6)
    assert read(tmp_path / "out").head.labels == published.head.labels


@pytest.mark.parametrize("format_name", HEADS)
def test_peft_loads_heads(tmp_path, format_name):
    published = made("lora", format_name)
    assert write(published, tmp_path / "out", "peft") == ()
    classes = {"tagging": XLMRobertaForTokenClassification, "span": XLMRobertaForQuestionAnswering}
    if format_name == "classification":
        model = make_classifier()
    else:
        config = make_encoder().config
        config.num_labels = HEADS[format_name]
        model = classes[format_name](config).eval()
        model.roberta.load_state_dict(make_encoder().state_dict())
    assert torch.allclose(theirs(in_peft(tmp_path / "out", model), format_name), scores(published), atol=1e-6)


@pytest.mark.parametrize("layout", ["adapterhub", "peft"])
def test_a_head_that_the_library_does_not_have_is_told(tmp_path, layout):
    choice = PublishedHead("choice", made_head("classification").tensors, None)
    published = replace(made("lora"), head=choice)
    remarks = write(published, tmp_path / "out", layout)
    assert [remark.check for remark in remarks] == ["head"]
    assert read(tmp_path / "out").head is None


# ---------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("name", "layout", "reason"),
    [
        *((name, "peft", "PEFT has no bottleneck adapters") for name in ("pfeiffer", "madx")),
        ("dora", "adapterhub", "unless alpha equals the rank"),
        ("ia3", "adapterhub", "scales other places"),
        ("lora_all", "adapterhub", "no LoRA on the output of attention"),
    ],
)
def test_what_a_library_does_not_have_is_refused(tmp_path, name, layout, reason):
    with pytest.raises(XstiltsError, match=reason):
        write(made(name), tmp_path / "out", layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["full", "head"])
@pytest.mark.parametrize("layout", ["adapterhub", "peft"])
def test_only_modules_are_written(tmp_path, kind, layout):
    published = replace(made("lora"), method=AdapterConfig(kind=kind))
    with pytest.raises(XstiltsError, match="adds no module"):
        write(published, tmp_path / "out", layout)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    for name in ("out", "link", "file"):
        with pytest.raises(XstiltsError, match="not empty"):
            write(made("lora"), tmp_path / name, "peft")
    (tmp_path / "empty").mkdir()
    write(made("lora"), tmp_path / "empty", "peft")
    assert (tmp_path / "empty" / "adapter_config.json").is_file()


def test_a_directory_is_never_half_written(tmp_path, monkeypatch):
    import safetensors.torch

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(XstiltsError, match="the disk is full"):
        write(made("lora"), tmp_path / "out", "peft")
    assert not list(tmp_path.iterdir())
