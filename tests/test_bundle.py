"""Bundles: what is written is read back, and nothing that was changed afterwards is believed."""

import dataclasses
import json
import struct

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from xstilts import bundle
from xstilts.bundle import HeadEntry, Measure
from xstilts.errors import XstiltsError
from xstilts.files import sha256
from xstilts.key import key
from xstilts.methods import load_method
from xstilts.spec import (
    AdapterConfig,
    Cold,
    Combine,
    Fuse,
    Import,
    Mixture,
    Recipe,
    Sampling,
    Stack,
    TaskData,
    Train,
    Warm,
)

MNLI = TaskData("mini_mnli", 1, "accuracy@1", "a" * 64)
QQP = TaskData("mini_qqp", 1, "accuracy@1", "b" * 64, language="sw")
LORA = AdapterConfig(kind="lora", options={"rank": 4})
SMALL = {"rank": 4}
DEV = Measure(name="accuracy on dev", value=71.25, low=68.5, high=74.0, n=400)


COLD = Cold()


def train(backbone, start=COLD, seed=1, mixture=None, task=MNLI):
    return Train(backbone, task, LORA, start, Recipe(epochs=1, lr=1e-3), seed, mixture)


def imported(backbone, source="AdapterHub/xlm-roberta-base-en-wiki_pfeiffer"):
    return Import(backbone, LORA, "c" * 64, "en", source, "/somewhere")


def tensors_of(backbone, kind="lora", options=SMALL):
    from xstilts.backbone import load_encoder

    encoder = load_encoder(backbone)
    method = load_method(kind)
    method.attach(encoder, "m", method.Options.model_validate(options))
    torch.manual_seed(0)
    method.initialise(encoder, "m")
    return {stored: encoder.get_parameter(name).detach().clone() for stored, name in method.names(encoder, "m").items()}


HEAD = {"dense.weight": torch.ones(32, 32), "dense.bias": torch.zeros(32)}
HEAD |= {"out_proj.weight": torch.ones(3, 32), "out_proj.bias": torch.zeros(3)}


@pytest.fixture
def made(backbone, tmp_path):
    """A bundle of a training that was stacked on another."""
    directory = tmp_path / "bundle"
    directory.mkdir()
    header = {"xstilts": "{}"}
    save_file(tensors_of(backbone), directory / "encoder.safetensors", header)
    save_file(HEAD, directory / "head.safetensors", header)
    below = train(backbone, seed=2)
    step = train(backbone, Stack((below,)))
    bundle.write(directory, bundle.contents(step, (below,), (DEV,)))
    return directory, step, below


def manifest_of(directory):
    return json.loads((directory / "manifest.json").read_text())


def change(directory, edit):
    values = manifest_of(directory)
    edit(values)
    (directory / "manifest.json").write_text(json.dumps(values))


def seal(directory):
    """Make the manifest say what the files are, as somebody would who means harm."""

    def edit(values):
        for entry in values["files"]:
            path = directory / entry["name"]
            entry |= {"bytes": path.stat().st_size, "sha256": sha256(path)}

    change(directory, edit)


# ------------------------------------------------------------------------------------------------------- round trip


def test_what_was_written_is_read(made, backbone):
    directory, _, below = made
    found = bundle.read(directory)
    wanted = tensors_of(backbone)
    assert found.tensors.keys() == wanted.keys()
    assert all(torch.equal(found.tensors[name], wanted[name]) for name in wanted)
    assert found.method == LORA and (found.layers, found.hidden) == (2, 32)
    assert found.head.format == "classification" and len(found.head.labels) == 3
    assert all(torch.equal(found.head.tensors[name], tensor) for name, tensor in HEAD.items())
    assert found.origin.fingerprint == backbone.fingerprint and found.origin.layout == "bundle"
    (remark,) = found.remarks
    assert key(below) in remark.what and remark.serious


def test_the_manifest_tells_everything(made, backbone):
    directory, step, below = made
    manifest = bundle.verify(directory)
    assert manifest.key == key(step) and manifest.below[0].key == key(below)
    assert manifest.backbone.tokenizer == sha256(directory.__class__(backbone.path) / "tokenizer.json")
    assert manifest.backbone.hidden == 32 and manifest.recipe == step.recipe and manifest.metrics == (DEV,)
    assert manifest.tasks[0].language == "en" and len(manifest.tasks[0].labels) == 3
    assert [licence.of for licence in manifest.licences] == [f"backbone {backbone.name}", "task mini_mnli"]
    listed = {entry.name: entry for entry in manifest.files}
    assert {tensor.key: tensor.shape for tensor in listed["encoder.safetensors"].tensors} == {
        name: tuple(tensor.shape) for name, tensor in tensors_of(backbone).items()
    }


def test_writing_twice_gives_the_same_bytes(made):
    directory, step, below = made
    first = [(directory / name).read_bytes() for name in ("manifest.json", "README.md")]
    bundle.write(directory, bundle.contents(step, (below,), (DEV,)))
    assert [(directory / name).read_bytes() for name in ("manifest.json", "README.md")] == first


def test_no_path_of_the_machine_is_told(made, backbone):
    directory, *_ = made
    told = (directory / "manifest.json").read_text() + (directory / "README.md").read_text()
    assert backbone.path not in told and str(directory.parent) not in told
    about = bundle.contents(imported(backbone, str(directory)), ())
    assert about.start == "imported from bundle" and about.name == "bundle"


def test_without_a_head(made, backbone):
    directory, *_ = made
    (directory / "head.safetensors").unlink()
    bundle.write(directory, bundle.contents(imported(backbone), ()))
    found = bundle.read(directory)
    assert found.head is None and found.origin.language == "en" and found.origin.task is None


def test_an_import_keeps_its_publisher_s_licence(backbone):
    about = bundle.contents(imported(backbone), (), licence="apache-2.0")
    assert about.licences[1].of == "module AdapterHub/xlm-roberta-base-en-wiki_pfeiffer"
    assert about.licences[1].text == "apache-2.0" and len(about.licences) == 2


def test_a_fusion_alone_is_not_read(made):
    directory, step, below = made
    path = directory / "encoder.safetensors"
    save_file({**load_file(path), "encoder.layer.0.output.fusion.query.weight": torch.ones(2, 2)}, path)
    bundle.write(directory, bundle.contents(step, (below,)))
    assert bundle.verify(directory).key == key(step)
    with pytest.raises(XstiltsError, match="holds a fusion"):
        bundle.read(directory)


def test_the_head_of_an_import_is_told_by_its_reader(made, backbone):
    directory, *_ = made
    heads = (HeadEntry(prefix="", format="classification", labels=()),)
    bundle.write(directory, bundle.contents(imported(backbone), (), heads=heads))
    head = bundle.read(directory).head
    assert head.labels is None and head.tensors.keys() == HEAD.keys()


def test_of_a_mixture_the_first_head_is_read(made, backbone):
    directory, *_ = made
    both = {f"{task}.{name}": tensor.clone() for task in ("mini_mnli", "mini_qqp") for name, tensor in HEAD.items()}
    save_file(both, directory / "head.safetensors")
    step = train(backbone, mixture=Mixture((QQP,), Sampling(kind="uniform")))
    bundle.write(directory, bundle.contents(step, ()))
    found = bundle.read(directory)
    assert found.head.tensors.keys() == HEAD.keys()
    assert found.origin.task == "mini_mnli + mini_qqp" and "2 heads" in found.remarks[0].what
    assert [task.language for task in bundle.verify(directory).tasks] == ["en", "sw"]


# what every kind of start is called, and whose rows went into the module
STARTS = {
    "cold": (lambda one, two: Cold(), "on the backbone alone", 1),
    "warm": (lambda one, two: Warm(two), "continues lora trained on mini_qqp, seed 1", 2),
    "stack": (lambda one, two: Stack((one, two)), "new, on top of lora trained on mini_mnli, seed 1", 1),
    "fuse": (lambda one, two: Fuse((one, two), True, 0.01), "attention over lora", 1),
}


@pytest.mark.parametrize("name", STARTS)
def test_starts_are_told_in_words_with_keys(backbone, name):
    one, two = train(backbone), train(backbone, task=QQP)
    start, words, licences = STARTS[name]
    about = bundle.contents(train(backbone, start(one, two)), ())
    assert words in about.start
    assert name in ("cold",) or key(two) in about.start
    assert len(about.licences) == 1 + licences


def test_all_starts_are_told():
    assert len(STARTS) == 4


def test_a_combination_tells_weights_tasks_and_the_first_ones_head(backbone):
    one, two = train(backbone), train(backbone, task=QQP)
    merge = AdapterConfig(kind="linear")
    about = bundle.contents(Combine(backbone, (one, two), merge, LORA, 0, (0.5, -1.0)), ())
    assert (
        about.start.startswith("linear merge of 0.5 × lora") and f"-1 × lora trained on mini_qqp, seed 1 [{key(two)}]"
    )
    assert [task.name for task in about.tasks] == ["mini_mnli", "mini_qqp"] and len(about.heads) == 1
    assert about.name == "merged_linear_lora"
    decided = bundle.contents(Combine(backbone, (one, two), merge, LORA, 0, None, "learned"), ())
    assert decided.start.endswith("weights: learned")


def test_licences_of_backbones(backbone):
    from xstilts.backbone import resolve

    large = dataclasses.replace(backbone, name="FacebookAI/xlm-roberta-large@main")
    assert bundle.backbone_licence(large) == "MIT"
    assert bundle.backbone_licence(resolve("mini")) == "unicode-license-v3"
    assert bundle.backbone_licence(backbone) == ""


# ------------------------------------------------------------------------------------------------------ model card


def test_the_model_card_is_what_hubs_read(made):
    directory, step, below = made
    text = (directory / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "xstilts" and front["language"] == ["en"] and "lora" in front["tags"]
    assert front["license"] == "other" and "base_model" not in front  # a directory is no repository
    for said in (key(step), key(below), "68.50 to 74.00", "[module.mini_mnli_lora_s1]", "| encoder.safetensors |"):
        assert said in text
    assert sha256(directory / "encoder.safetensors") in text


def test_the_toml_of_the_card_is_a_study_s(made):
    import tomllib

    from xstilts.study import ModuleTable

    text = (made[0] / "README.md").read_text()
    table = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    ((_, module),) = table["module"].items()
    assert ModuleTable.model_validate(module).source


def test_a_backbone_of_the_hub_is_the_base_model(made, backbone):
    directory, step, below = made
    on_hub = dataclasses.replace(backbone, name="FacebookAI/xlm-roberta-base@abc")
    bundle.write(directory, dataclasses.replace(bundle.contents(step, (below,)), backbone=on_hub))
    front = yaml.safe_load((directory / "README.md").read_text().split("---\n")[1])
    assert front["base_model"] == "FacebookAI/xlm-roberta-base"


def test_a_text_from_outside_stays_in_its_cell(made, backbone):
    directory, *_ = made
    about = dataclasses.replace(
        bundle.contents(train(backbone), ()), licences=(bundle.Licence(of="task x", text="a | b\n\n# <script>"),)
    )
    bundle.write(directory, about)
    assert "| task x | a \\| b # &lt;script> |" in (directory / "README.md").read_text()


def test_names_from_outside_neither_link_nor_show(made, backbone):
    """A picture in a card calls its server whenever somebody looks at the card."""
    directory, *_ = made
    odd = dataclasses.replace(backbone, name="x` ![y](https://x.org/y.png)\n# z")
    below = (bundle.Below(key="0" * 32, what="[a](https://x.org) | <b>\\"),)
    bundle.write(directory, dataclasses.replace(bundle.contents(train(backbone), ()), backbone=odd, below=below))
    text = (directory / "README.md").read_text()
    assert "encoder `x' ![y](https://x.org/y.png) # z` (" in text
    assert "1. \\[a\\](https://x.org) \\| &lt;b>\\\\: `" in text


def test_what_was_read_is_not_changed_by_the_file(made):
    directory, *_ = made
    found = bundle.read(directory)
    before = {name: tensor.clone() for name, tensor in found.tensors.items()}
    path = directory / "encoder.safetensors"
    with path.open("r+b") as stream:
        stream.seek(data_start(path))
        stream.write(b"\x01" * (path.stat().st_size - data_start(path)))
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in before.items())


# --------------------------------------------------------------------------------------------------------- refusals


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def data_start(path):
    return 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]


def rewrite(directory, edit):
    """Save other tensors, and let the manifest's checksums, but not its list, follow."""
    path = directory / "encoder.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    seal(directory)


def replace_header(directory, header):
    text = json.dumps(header).encode()
    (directory / "encoder.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"1234")


FIRST = "encoder.layer.0.attention.self.query.lora_A"
TAMPERED = {
    "a bit of the data": (lambda d: flip(d / "encoder.safetensors", -1), "sha256 differs"),
    "a bit of the header": (lambda d: flip(d / "encoder.safetensors", 20), "sha256 differs"),
    "a bit of the length": (lambda d: flip(d / "encoder.safetensors", 0), "sha256 differs"),
    "a bit of the head": (lambda d: flip(d / "head.safetensors", data_start(d / "head.safetensors")), "sha256 differs"),
    "a letter of the card": (lambda d: flip(d / "README.md", 30), "README.md: is not the file"),
    "truncated": (lambda d: (d / "encoder.safetensors").write_bytes(b"1234"), "size or sha256 differs"),
    "missing weights": (lambda d: (d / "encoder.safetensors").unlink(), "the store evicted these weights"),
    "missing card": (lambda d: (d / "README.md").unlink(), "is missing"),
    "missing manifest": (lambda d: (d / "manifest.json").unlink(), "is missing"),
    "extra file": (lambda d: (d / "pytorch_adapter.bin").write_bytes(b"x"), "not in the manifest"),
    "extra directory": (lambda d: (d / "code").mkdir(), "not in the manifest"),
    "directory in place of a file": (
        lambda d: ((d / "README.md").unlink(), (d / "README.md").mkdir()),
        "no regular file",
    ),
    "sealed, header too long": (
        lambda d: ((d / "encoder.safetensors").write_bytes(struct.pack("<Q", 50 << 30) + b"{}"), seal(d)),
        "header is longer",
    ),
    "sealed, shorter than a length": (
        lambda d: ((d / "encoder.safetensors").write_bytes(b"1234"), seal(d)),
        "header is longer",
    ),
    "sealed, header no JSON": (
        lambda d: ((d / "encoder.safetensors").write_bytes(struct.pack("<Q", 2) + b"{]"), seal(d)),
        "not a readable safetensors",
    ),
    "sealed, header nested": (
        lambda d: ((d / "encoder.safetensors").write_bytes(struct.pack("<Q", 10**5) + b"[" * 10**5), seal(d)),
        "nested too deep",
    ),
    "sealed, header a list": (
        lambda d: ((d / "encoder.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]"), seal(d)),
        "no object",
    ),
    "sealed, header of no tensors": (
        lambda d: ((d / "encoder.safetensors").write_bytes(struct.pack("<Q", 7) + b'{"a":1}'), seal(d)),
        "does not list tensors",
    ),
    "sealed, header of infinite shapes": (
        lambda d: (replace_header(d, {FIRST: {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}), seal(d)),
        "does not list tensors",
    ),
    "sealed, header of types that are lists": (
        lambda d: (replace_header(d, {FIRST: {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}), seal(d)),
        "other tensors than",
    ),
    "a language that is none": (lambda d: change(d, lambda m: m.update(language="x\n`<b>")), "language"),
    "larger than any": (lambda d: change(d, lambda m: m["files"][0].update(bytes=2**40)), "bytes"),
    "sealed, NaN": (lambda d: rewrite(d, lambda t: t[FIRST].fill_(torch.nan)), "NaN or infinity"),
    "sealed, a tensor less": (lambda d: rewrite(d, lambda t: t.pop(FIRST)), "other tensors than its manifest"),
    "sealed, a tensor more": (lambda d: rewrite(d, lambda t: t.update(more=torch.ones(1))), "other tensors than"),
    "sealed, another shape": (lambda d: rewrite(d, lambda t: t.update({FIRST: torch.ones(2)})), "other tensors than"),
    "sealed, another type": (lambda d: rewrite(d, lambda t: t.update({FIRST: t[FIRST].half()})), "other tensors than"),
    "schema of the future": (lambda d: change(d, lambda m: m.update(schema_version=2)), "schema_version"),
    "field of the future": (lambda d: change(d, lambda m: m.update(more=1)), "extra inputs"),
    "field missing": (lambda d: change(d, lambda m: m.pop("method")), "field required"),
    "other type in the list": (
        lambda d: change(d, lambda m: m["files"][0]["tensors"][0].update(dtype="I8")),
        "dtype",
    ),
    "path in a name": (lambda d: change(d, lambda m: m["files"][0].update(name="../encoder.safetensors")), "name"),
    "no weights named": (lambda d: change(d, lambda m: m["files"].pop(0)), "must name encoder.safetensors"),
    "a file twice": (lambda d: change(d, lambda m: m["files"].append(m["files"][0])), "each file once"),
    "unknown kind": (lambda d: change(d, lambda m: m["method"].update(kind="lorra")), "did you mean 'lora'"),
    "kind as a path": (lambda d: change(d, lambda m: m["method"].update(kind="../lora")), "kind"),
    "unknown option": (lambda d: change(d, lambda m: m["method"]["options"].update(r=4)), "extra inputs"),
    "more layers than it has": (lambda d: change(d, lambda m: m["backbone"].update(layers=1)), "do not have"),
    "NaN in a metric": (lambda d: change(d, lambda m: m["metrics"][0].update(value=float("nan"))), "finite"),
    "no JSON": (lambda d: (d / "manifest.json").write_text("{"), "json"),
    "nested JSON": (lambda d: (d / "manifest.json").write_text('{"a":' * 10**5), "json"),
    "not UTF-8": (lambda d: (d / "manifest.json").write_bytes(b"\xff\xfe"), "json"),
    "huge manifest": (lambda d: (d / "manifest.json").write_bytes(b" " * 8_000_001), "larger than any manifest"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_nothing_that_was_changed_is_read(made, name):
    directory, *_ = made
    tamper, told = TAMPERED[name]
    tamper(directory)
    with pytest.raises(XstiltsError) as raised:
        bundle.read(directory)
    assert told.lower() in str(raised.value).lower()


def test_all_ways_of_tampering_are_tried():
    assert len(TAMPERED) == 43


def test_all_problems_are_told_at_once(made):
    directory, *_ = made
    flip(directory / "encoder.safetensors", -1)
    flip(directory / "head.safetensors", -1)
    (directory / "more.txt").write_text("")
    with pytest.raises(XstiltsError) as raised:
        bundle.verify(directory)
    assert len(raised.value.problems) == 3


def test_what_the_store_and_hubs_add_is_not_minded(made):
    directory, *_ = made
    for name in ("step.json", "result.json", "files.json", "curve.jsonl", ".gitattributes"):
        (directory / name).write_text("{}")
    bundle.verify(directory)


@pytest.mark.parametrize(
    ("tensors", "told"), [(None, "is missing"), ({"a": torch.ones(2, dtype=torch.float16)}, "dtype")]
)
def test_only_sound_tensors_are_published(made, backbone, tensors, told):
    directory, step, _ = made
    (directory / "encoder.safetensors").unlink()
    if tensors:
        save_file(tensors, directory / "encoder.safetensors")
    with pytest.raises(XstiltsError, match=told):
        bundle.write(directory, bundle.contents(step, ()))


def test_writing_needs_no_torch():
    import subprocess
    import sys

    program = "import sys, xstilts.bundle; print('torch' in sys.modules, 'safetensors' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
