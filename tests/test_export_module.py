"""Modules handed on by the command line: the line it tells loads them, in their library, to the same outputs."""

import re
import runpy
import shutil
import warnings
from pathlib import Path

import adapters
import peft
import pytest
import torch
import transformers

from tests.conftest import CONFIG
from xstilts import bundle, exchange
from xstilts.backbone import load_encoder
from xstilts.files import sha256
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig, Cold, Import, Recipe, Stack, TaskData, Train

ROOT = Path(__file__).parents[1]
MAIN = runpy.run_path(str(ROOT / "experiments" / "export_module.py"))["main"]
IDS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 10, 11, 12, 2]])
XNLI = TaskData("mini_xnli", 1, "accuracy 1", "a" * 64)
TAGS = TaskData("mini_panx", 1, "tagging 1", "b" * 64)
LORA = AdapterConfig(kind="lora", options={"rank": 4})
PFEIFFER = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4})
MADX = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 2, "inverse": True})
DORA, IA3, FULL = (AdapterConfig(kind=kind) for kind in ("dora", "ia3", "full"))


def tensors_of(backbone, method):
    """Random weights of a trained size, by stored name."""
    encoder, kind = load_encoder(backbone), load_method(method.kind)
    kind.attach(encoder, "m", kind.Options.model_validate(method.options))
    generator = torch.Generator().manual_seed(4)
    found = {stored: encoder.get_parameter(name).detach() for stored, name in kind.names(encoder, "m").items()}
    return {name: tensor + torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in found.items()}


def head_of(labels):
    """A sentence head, or a word head where there are as many labels as words have."""
    shapes = {"out_proj.weight": (labels, 32), "out_proj.bias": (labels,)}
    if labels == 3:
        shapes |= {"dense.weight": (32, 32), "dense.bias": (32,)}
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def make_bundle(directory, backbone, step, below=(), labels=0):
    """What the store leaves of a step, its own account included."""
    from safetensors.torch import save_file

    directory.mkdir()
    save_file(tensors_of(backbone, step.method), directory / "encoder.safetensors")
    if labels:
        save_file(head_of(labels), directory / "head.safetensors")
    bundle.write(directory, bundle.contents(step, below))
    for name in ("step.json", "result.json", "files.json", "curve.jsonl"):
        (directory / name).write_text("{}")
    return directory


def train(backbone, method, task=XNLI, start=Cold()):  # noqa: B008 - a frozen value
    return Train(backbone, task, method, start, Recipe(epochs=1, lr=1e-3), 1)


def imported(backbone, method=MADX):
    return Import(backbone, method, "c" * 64, "sw", "./sw_wiki", "/somewhere/sw_wiki")


def export(capsys, source, layout, out, *more):
    """Exit code, and what was told."""
    code = MAIN([str(source), "--layout", layout, "--out", str(out), *more])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def told(text, what):
    return re.search(rf"^{what}: (.*)$", text, flags=re.MULTILINE)[1]


def fresh_model(backbone, what):
    """The model that the command asks for."""
    labels = int(number[1]) if (number := re.search(r"with (\d+) labels", what)) else 2
    config = transformers.XLMRobertaConfig(**CONFIG, num_labels=labels)
    encoder = load_encoder(backbone)
    if "after adapters.init" in what:
        adapters.init(encoder)
        return encoder
    library, name = re.match(r"(\w+)\.(\w+) of ", what).groups()
    if name == "XLMRobertaModel":
        return encoder
    model = getattr({"adapters": adapters, "transformers": transformers}[library], name)(config)
    model.roberta.load_state_dict(encoder.state_dict(), strict=False)
    return model


def loaded(backbone, text):
    """Run the line that the command told."""
    place = {"model": fresh_model(backbone, told(text, "where model is")), "peft": peft, "adapters": adapters}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft only warns of missing keys
        exec(told(text, "to load it"), place)
    return place["model"].eval()


def outputs(model):
    with torch.no_grad():
        return model(IDS)[0]


def ours(backbone, directory):
    """What the module gives here: its head's scores, or the last states."""
    published = exchange.load(str(directory))
    encoder, kind = load_encoder(backbone), load_method(published.method.kind)
    kind.attach(encoder, "m", kind.Options.model_validate(published.method.options))
    with torch.no_grad():
        for stored, name in kind.names(encoder, "m").items():
            encoder.get_parameter(name).copy_(published.tensors[stored])
    kind.activate(encoder, (("m",),))
    states = outputs(encoder.eval())
    if published.head is None:
        return states
    head = published.head.tensors
    if "dense.weight" in head:
        states = torch.tanh(states[:, 0] @ head["dense.weight"].T + head["dense.bias"])
    return states @ head["out_proj.weight"].T + head["out_proj.bias"]


CONVERTED = {
    "bottleneck with a head": ("adapterhub", PFEIFFER, XNLI, 3),
    "bottleneck with a head for words": ("adapterhub", PFEIFFER, TAGS, 7),
    "LoRA to adapters": ("adapterhub", LORA, XNLI, 3),
    "LoRA to PEFT": ("peft", LORA, XNLI, 3),
    "LoRA to PEFT, words": ("peft", LORA, TAGS, 7),
    "DoRA": ("peft", DORA, XNLI, 3),
    "IA3": ("peft", IA3, XNLI, 3),
    "language adapter": ("adapterhub", MADX, None, 0),
    "published LoRA to PEFT": ("peft", LORA, None, 0),
    "published LoRA to adapters": ("adapterhub", LORA, None, 0),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_the_line_that_is_told_loads_it_to_the_same_outputs(name, backbone, tmp_path, capsys):
    layout, method, task, labels = CONVERTED[name]
    step = train(backbone, method, task) if task else imported(backbone, method)
    source = make_bundle(tmp_path / "step", backbone, step, labels=labels)
    code, text = export(capsys, source, layout, tmp_path / "out")
    assert code == 0 and told(text, "written to") == str(tmp_path / "out")
    theirs = outputs(loaded(backbone, text))
    assert torch.allclose(theirs, ours(backbone, source), atol=1e-5)
    assert theirs.shape == ((2, 3) if labels == 3 else (2, 6, labels or 32))


def test_a_bundle_is_copied_without_the_stores_own_account(backbone, tmp_path, capsys):
    source = make_bundle(tmp_path / "step", backbone, train(backbone, LORA), labels=3)
    code, text = export(capsys, source, "bundle", tmp_path / "out", "--backbone", backbone.path)
    assert code == 0 and told(text, "to load it") == f'module.mini_xnli_lora_s1.source = "{tmp_path / "out"}"'
    names = {"encoder.safetensors", "head.safetensors", "README.md", "manifest.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert all(sha256(tmp_path / "out" / name) == sha256(source / name) for name in names)
    assert bundle.verify(tmp_path / "out") == bundle.verify(source)


def test_the_line_of_a_bundle_is_one_of_a_study(backbone, tmp_path, capsys):
    import tomllib

    source = make_bundle(tmp_path / "step", backbone, imported(backbone))
    _, text = export(capsys, source, "bundle", tmp_path / "out")
    module = tomllib.loads(told(text, "to load it"))["module"]
    assert exchange.load(module["sw_wiki"]["source"]).origin.language == "sw"
    assert "note: backbone: imported from" in text and "its publisher's word only" in text


@pytest.mark.parametrize("layout", ["adapterhub", "peft", "bundle"])
def test_what_lies_below_is_named(layout, backbone, tmp_path, capsys):
    below = imported(backbone, LORA)
    source = make_bundle(tmp_path / "step", backbone, train(backbone, LORA, start=Stack((below,))), (below,), 3)
    code, text = export(capsys, source, layout, tmp_path / "out")
    assert code == 0
    assert told(text, "warning: below").startswith("it was trained on top of published lora sw_wiki [")
    assert "is not in what was written" in text
    card = (tmp_path / "out" / "README.md").read_text()
    assert "published lora sw_wiki" in card and "entailment, neutral, contradiction" in card


def test_the_card_states_the_terms_of_all_that_went_in(backbone, tmp_path, capsys):
    source = make_bundle(tmp_path / "step", backbone, imported(backbone, LORA))
    export(capsys, source, "peft", tmp_path / "out")
    assert "license: other\n" in (tmp_path / "out" / "README.md").read_text()
    assert exchange.load(str(tmp_path / "out")).origin.licence == exchange.load(str(source)).origin.licence


def spoilt(directory):
    path = directory / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


REFUSED = {
    "a bottleneck to PEFT": ("peft", PFEIFFER, lambda place: None, "PEFT has no bottleneck adapters"),
    "DoRA to adapters": ("adapterhub", DORA, lambda place: None, "is another function than this one"),
    "IA3 to adapters": ("adapterhub", IA3, lambda place: None, "scales other places"),
    "full fine-tuning": ("peft", FULL, lambda place: None, "it adds no module to the encoder"),
    "a flipped bit": ("peft", LORA, spoilt, "is not the file that the manifest describes"),
    "a flipped bit, copied": ("bundle", LORA, spoilt, "is not the file that the manifest describes"),
    "weights that were evicted": ("peft", LORA, lambda p: (p / "encoder.safetensors").unlink(), "run its study again"),
    "a stranger's file": ("bundle", LORA, lambda p: (p / "x.py").touch(), "is not in the manifest"),
    "a prediction": ("peft", LORA, lambda p: (p / "manifest.json").unlink(), "is no published module: neither"),
    "no bundle": ("bundle", LORA, lambda p: (p / "manifest.json").unlink(), "is no bundle: it has no manifest.json"),
    "nothing": ("peft", LORA, shutil.rmtree, "neither a directory nor a hub id 'org/name'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_handed_on_is_refused_with_the_reason(name, backbone, tmp_path, capsys):
    layout, method, spoil, reason = REFUSED[name]
    source = make_bundle(tmp_path / "step", backbone, train(backbone, method))
    spoil(source)
    code, text = export(capsys, source, layout, tmp_path / "out")
    assert code == 2 and text.startswith("error: ") and reason in text
    assert not (tmp_path / "out").exists()


def test_nan_is_not_handed_on(backbone, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    make_bundle(tmp_path / "step", backbone, train(backbone, LORA))
    export(capsys, tmp_path / "step", "peft", tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    save_file({name: tensor * float("nan") for name, tensor in load_file(path).items()}, path)
    code, text = export(capsys, tmp_path / "theirs", "adapterhub", tmp_path / "out")
    assert code == 2 and "NaN or infinity" in text and not (tmp_path / "out").exists()


def test_nothing_is_overwritten(backbone, tmp_path, capsys):
    source = make_bundle(tmp_path / "step", backbone, train(backbone, LORA))
    for layout in ("peft", "bundle"):
        code, text = export(capsys, source, layout, source)
        assert code == 2 and "exists and is not empty" in text


def test_the_doctor_is_asked_where_a_backbone_is_named(backbone, other_backbone, tmp_path, capsys):
    source = make_bundle(tmp_path / "step", backbone, train(backbone, LORA))
    code, text = export(capsys, source, "peft", tmp_path / "out", "--backbone", other_backbone.path)
    assert code == 2 and "contradicts: it was trained on another" in text and not (tmp_path / "out").exists()
