"""The doctor on directories that the real libraries wrote, whole and spoilt; every silent failure of theirs is seen."""

import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xstilts import bundle, doctor
from xstilts.backbone import load_encoder
from xstilts.errors import XstiltsError
from xstilts.spec import AdapterConfig, Cold, Recipe, TaskData, Train

ROOT = Path(__file__).parents[2]
NAME = "FacebookAI/xlm-roberta-base"


def randomise(model, marks):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(mark in name for mark in marks):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)


def save_adapter(backbone, directory, config, safe=False):
    """A module with a name, saved by the adapters library."""
    import adapters

    encoder = load_encoder(backbone)
    encoder.config._name_or_path = "xlm-roberta-base"
    adapters.init(encoder)
    encoder.add_adapter("mod", config=config)
    randomise(encoder, (".mod.",))
    encoder.save_adapter(str(directory), "mod", use_safetensors=safe, with_head=False)
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# mod\n")


def save_peft(backbone, directory, **options):
    """A module saved by PEFT."""
    import peft

    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], **options)
    model = peft.get_peft_model(load_encoder(backbone), config)
    randomise(model, ("lora_A", "lora_B"))
    model.peft_config["default"].base_model_name_or_path = NAME
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# mod\n")


@pytest.fixture
def named(backbone):
    return dataclasses.replace(backbone, name=NAME)


@pytest.fixture
def adapter(named, tmp_path):
    import adapters

    save_adapter(named, tmp_path / "adapter", adapters.SeqBnInvConfig(reduction_factor=2), safe=True)
    return tmp_path / "adapter"


@pytest.fixture
def pickled(named, tmp_path):
    import adapters

    save_adapter(named, tmp_path / "pickled", adapters.SeqBnConfig(reduction_factor=4))
    return tmp_path / "pickled"


@pytest.fixture
def lora(named, tmp_path):
    save_peft(named, tmp_path / "lora")
    return tmp_path / "lora"


@pytest.fixture
def adapters_lora(named, tmp_path):
    import adapters

    save_adapter(named, tmp_path / "adapters_lora", adapters.LoRAConfig(r=4, alpha=16), safe=True)
    return tmp_path / "adapters_lora"


@pytest.fixture
def own(named, tmp_path):
    """A bundle."""
    directory = tmp_path / "own"
    directory.mkdir()
    save_peft(named, tmp_path / "other")
    stored = load_file(tmp_path / "other" / "adapter_model.safetensors")
    tensors = {name.removeprefix("base_model.model.").removesuffix(".weight"): value for name, value in stored.items()}
    assert all(name.startswith("encoder.layer.") for name in tensors)
    save_file(tensors, directory / "encoder.safetensors")
    task = TaskData("mini_mnli", 1, "accuracy@1", "a" * 64)
    method = AdapterConfig(kind="lora", options={"rank": 4, "alpha": 8.0})
    step = Train(named, task, method, Cold(), Recipe(epochs=1, lr=1e-3), 1)
    bundle.write(directory, bundle.contents(step, (), heads=()))
    return directory


def verdicts(diagnosis):
    return {check.name: check.verdict for check in diagnosis.checks}


@pytest.mark.parametrize("layout", ["adapter", "pickled", "lora", "adapters_lora", "own"])
def test_a_sound_directory_is_admitted(named, request, layout):
    directory = request.getfixturevalue(layout)
    diagnosis = doctor.examine(str(directory), named)
    assert diagnosis.verdict in ("ok", "note"), diagnosis.checks
    assert verdicts(diagnosis)["pickle"] == ("note" if layout == "pickled" else "ok")
    assert doctor.admitted(str(directory), named).tensors.keys() == diagnosis.published.tensors.keys()
    found = next(check.found for check in diagnosis.checks if check.name == "backbone")
    assert found.startswith("certain" if layout == "own" else "declared")


def test_a_bundle_of_another_backbone_is_not_admitted(own, other_backbone):
    with pytest.raises(XstiltsError, match="contradicts"):
        doctor.admitted(str(own), other_backbone)


# ---------------------------------------------------------------------------------------------------- spoilt modules


def weights(directory):
    return next(directory.glob("*adapter*.safetensors"))


def rewrite(directory, change):
    path = weights(directory)
    tensors = load_file(path)
    save_file(change(tensors), path)


def renamed(directory, old, new):
    rewrite(directory, lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()})


def configured(directory, **changes):
    path = directory / "adapter_config.json"
    values = json.loads(path.read_text())
    for name, value in changes.items():
        values[name] = value
    path.write_text(json.dumps(values))


def with_setting(directory):
    path = directory / "adapter_config.json"
    values = json.loads(path.read_text())
    values["config"]["unheard_of"] = 1
    path.write_text(json.dumps(values))


def without(directory, part):
    rewrite(directory, lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name})


def valued(directory, value):
    rewrite(directory, lambda tensors: {name: torch.full_like(tensor, value) for name, tensor in tensors.items()})


def with_more(directory, name, shape):
    rewrite(directory, lambda tensors: {**tensors, name: torch.zeros(shape)})


def one_layer_more(directory):
    def change(tensors):
        upper = {name: tensor for name, tensor in tensors.items() if "layer.1." in name}
        return tensors | {name.replace("layer.1.", "layer.2."): tensor.clone() for name, tensor in upper.items()}

    rewrite(directory, change)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def evil(directory):
    buffer = io.BytesIO()
    pickle.dump({"a": Evil()}, buffer)
    (directory / "pytorch_adapter.bin").write_bytes(buffer.getvalue())


QUERY = "roberta.encoder.layer.0.attention.self.query.weight"

# what the libraries do without an error → directory, how it is spoilt, the check that sees it, its verdict
SILENT = {
    "missing keys": ("adapter", lambda d: without(d, "layer.0.output.adapters.mod.adapter_up"), "reading", "refused"),
    "missing inverse block": ("adapter", lambda d: without(d, "invertible"), "reading", "refused"),
    "empty file": ("adapter", lambda d: rewrite(d, lambda tensors: {}), "reading", "refused"),
    "keys of two modules": ("adapter", lambda d: renamed(d, "0.output.adapters.mod.", "0.output.adapters.x."),
                            "reading", "refused"),
    "keys of another name": ("adapter", lambda d: renamed(d, ".mod.", ".other."), "keys", "warning"),
    "renamed in the configuration": ("adapter", lambda d: configured(d, name="en"), "keys", "warning"),
    "prefix of BERT": ("adapter", lambda d: renamed(d, "encoder.layer", "bert.encoder.layer"), "reading", "refused"),
    "model type of BERT": ("adapter", lambda d: configured(d, model_type="bert"), "reading", "refused"),
    "English RoBERTa by name": ("lora", lambda d: configured(d, base_model_name_or_path="roberta-base"),
                                "backbone", "unsafe"),
    "another XLM-R by name": ("adapter", lambda d: configured(d, model_name="xlm-roberta-large"), "backbone", "unsafe"),
    "no backbone declared": ("lora", lambda d: configured(d, base_model_name_or_path=None), "backbone", "warning"),
    "hidden size in the configuration": ("adapter", lambda d: configured(d, hidden_size=768), "reading", "refused"),
    "fewer layers": ("adapter", lambda d: without(d, "layer.1."), "layers", "unsafe"),
    "more layers": ("adapter", one_layer_more, "layers", "unsafe"),
    "fewer layers, PEFT": ("lora", lambda d: without(d, "layer.1."), "layers", "unsafe"),
    "backbone tensors": ("adapter", lambda d: with_more(d, QUERY, (32, 32)), "reading", "refused"),
    "backbone tensors, PEFT": ("lora", lambda d: with_more(d, f"base_model.model.{QUERY}", (32, 32)),
                               "reading", "refused"),
    "NaN": ("adapter", lambda d: valued(d, torch.nan), "numbers", "unsafe"),
    "infinity, PEFT": ("lora", lambda d: valued(d, torch.inf), "numbers", "unsafe"),
    "never trained": ("lora", lambda d: valued(d, 0.0), "deltas", "warning"),
    "exploded": ("lora", lambda d: valued(d, 100.0), "deltas", "unsafe"),
    "edited alpha": ("lora", lambda d: configured(d, lora_alpha=8e4), "deltas", "unsafe"),
    "faulty scaling": ("adapters_lora", lambda d: configured(d, version="adapters.1.0.1"), "scaling", "note"),
    "half precision": ("adapter", lambda d: rewrite(d, lambda t: {k: v.half() for k, v in t.items()}),
                       "precision", "note"),
    "unknown setting": ("adapter", with_setting, "settings", "note"),
    "unknown setting, PEFT": ("lora", lambda d: configured(d, unheard_of=1), "settings", "note"),
    "PiSSA": ("lora", lambda d: configured(d, init_lora_weights="pissa"), "reading", "refused"),
    "bit flip of a bundle": ("own", lambda d: flip(d / "encoder.safetensors"), "reading", "refused"),
    "truncated": ("adapter", lambda d: cut(weights(d)), "reading", "refused"),
    "truncated pickle": ("pickled", lambda d: cut(d / "pytorch_adapter.bin"), "reading", "refused"),
    "evil pickle": ("pickled", evil, "reading", "refused"),
    "no weights": ("adapter", lambda d: weights(d).unlink(), "reading", "refused"),
    "no configuration": ("adapter", lambda d: (d / "adapter_config.json").unlink(), "reading", "refused"),
    "no licence": ("adapter", lambda d: (d / "README.md").unlink(), "licence", "warning"),
    "code beside it": ("adapter", lambda d: (d / "modeling.py").write_text(""), "code", "warning"),
    "a link out": ("adapter", lambda d: (d / "more.json").symlink_to("/etc/hostname"), "paths", "unsafe"),
}  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_what_libraries_load_silently_is_seen(named, request, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    layout, spoil, check, verdict = SILENT[name]
    directory = request.getfixturevalue(layout)
    spoil(directory)
    diagnosis = doctor.examine(str(directory), named)
    assert verdicts(diagnosis)[check] == verdict, diagnosis.checks
    assert not (tmp_path / "executed").exists()
    if verdict in doctor.BARRED:
        with pytest.raises(XstiltsError):
            doctor.admitted(str(directory), named)
    else:
        assert doctor.admitted(str(directory), named).tensors


def test_all_silent_failures_are_tried():
    assert len(SILENT) == 36
    assert {check for _, _, check, _ in SILENT.values()} == {
        "reading", "keys", "backbone", "layers", "numbers", "deltas", "scaling", "precision", "settings", "licence",
        "code", "paths",
    }  # fmt: skip


@pytest.mark.parametrize("source", ["nowhere", "../nowhere", "a/b/c", ""])
def test_what_is_not_there_is_refused(named, source):
    diagnosis = doctor.examine(source, named)
    assert (diagnosis.verdict, diagnosis.checks[0].name) == ("refused", "source")


def test_a_reader_that_breaks_is_a_verdict_too(named, adapter, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("deep in a library")

    monkeypatch.setattr(doctor.exchange, "read", broken)
    diagnosis = doctor.examine(str(adapter), named)
    assert diagnosis.verdict == "refused" and "RuntimeError" in diagnosis.sentence


def test_a_snapshot_of_the_hub_consists_of_links(named, adapter, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = snapshot.parent.parent / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for number, path in enumerate(sorted(adapter.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(blobs / str(number))
    monkeypatch.setattr(doctor.exchange.hub, "snapshot", lambda *_, **__: snapshot)
    diagnosis = doctor.examine("a/b", named)
    assert diagnosis.verdict in ("ok", "note") and verdicts(diagnosis)["paths"] == "ok"
    (snapshot / "more").symlink_to(tmp_path)
    assert verdicts(doctor.examine("a/b", named))["paths"] == "unsafe"


def test_files_are_listed_even_if_the_directory_cannot_be_read(named, tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert verdicts(doctor.examine(str(tmp_path), named))["files"] == "refused"


# -------------------------------------------------------------------------------------------------------- the command


def run(*arguments):
    command = [sys.executable, "experiments/doctor.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_command_tells_what_is_usable(adapter, backbone):
    shown = run(adapter, "--backbone", backbone.path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == "" and shown.stdout.splitlines()[-1].startswith("warning: can be used with")


def test_the_command_tells_what_is_not(adapter, backbone):
    valued(adapter, torch.nan)
    shown = run(adapter, "--backbone", backbone.path, "--json")
    values = json.loads(shown.stdout)
    assert (shown.returncode, shown.stderr, values["verdict"]) == (1, "", "unsafe")
    assert [check["check"] for check in values["checks"] if check["verdict"] == "unsafe"] == ["numbers"]
    assert values["module"]["kind"] == "bottleneck"


def test_the_command_refuses_what_is_no_module(tmp_path):
    shown = run(tmp_path)
    assert shown.returncode == 1 and "Traceback" not in shown.stderr
    assert shown.stdout.splitlines()[-1].startswith("refused: ")


def test_the_command_tells_bad_input(adapter):
    shown = run(adapter, "--backbone", "nowhere")
    assert shown.returncode == 2 and shown.stderr.startswith("error: ") and not shown.stdout


def test_help_never_imports_torch():
    program = "import sys, runpy\nsys.argv = ['x', '--help']\n"
    program += "try:\n    runpy.run_path('experiments/doctor.py', run_name='__main__')\n"
    program += "except SystemExit:\n    print('torch' in sys.modules, 'pydantic' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.splitlines()[-1] == "False False"


def test_the_doctor_is_imported_without_torch():
    program = "import sys, xstilts.doctor, xstilts.doctor.shown; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_names_of_files_that_are_no_text(adapter, backbone):
    os.close(os.open(os.fsencode(adapter) + b"/\xff\x1b[2J.bin", os.O_CREAT | os.O_WRONLY))
    (adapter / "loop.py").symlink_to("loop.py")
    for options in ((), ("--json",)):
        shown = run(adapter, *options)
        assert shown.returncode == 1 and "Traceback" not in shown.stderr
        assert "paths" in shown.stdout and "\x1b[2J" not in shown.stdout


def test_what_a_file_says_is_not_markup(adapter, named):
    from rich.console import Console

    from xstilts.doctor.shown import show

    configured(adapter, name="[red]x[/nothing]\x1b[2J")
    console = Console(file=io.StringIO(), width=120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show(doctor.examine(str(adapter), named), console)
    text = console.file.getvalue()
    assert "[red]x" in text and "\x1b" not in text
