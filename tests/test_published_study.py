"""A user's study of published modules: what the real libraries saved, two lines of TOML each, told before training."""

import json
import os
import pickle
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
import torch

from tests.exchange.workshop import rewrite

ROOT = Path(__file__).parents[1]
MINI = ROOT / "src" / "xstilts" / "mini" / "backbone"
SEEDS = (1, 2, 3)
SYSTEMS = """
[[system]]
name = "full_direct"
label = "full fine-tuning"
mode = "fullft"
adapter = "full"
start = "cold"
recipe = { lr = 1e-4 }

[[system]]
name = "madx"
label = "adapter on language adapters"
mode = "adapter"
adapter = "pfeiffer_r16"
start = "cold"
language_modules = { en = "en_wiki", sw = "sw_wiki", other = "en_wiki" }

[[system]]
name = "lora_direct"
label = "LoRA"
mode = "adapter"
adapter = "lora_r8"
start = "cold"

[[system]]
name = "lora_stack"
label = "LoRA on my LoRA"
mode = "adapter"
adapter = "lora_r8"
start = "stack"

[[comparison]]
name = "language adapters against full fine-tuning"
candidate = "madx"
reference = "full_direct"

[[comparison]]
name = "my LoRA against full fine-tuning"
candidate = "lora_stack"
reference = "full_direct"

[[comparison]]
name = "gain of my LoRA"
candidate = "lora_stack"
reference = "lora_direct"
"""
RECIPE = "{ epochs = 1, batch = 8, lr = 1e-3, max_length = 48, train_examples = 96, dev_examples = 8 }"


def write_study(modules, path):
    """Two lines for each module, systems, and what else a study needs."""
    head = f"""
name = "mine"
title = "My modules"
seeds = {list(SEEDS)}
intermediates = ["my_lora"]
targets = ["mini_xnli"]
languages = ["en", "sw"]
recipe = {{ common = {RECIPE} }}
"""
    named = "".join(f'\n[module.{name}]\nsource = "{modules / name}"\n' for name in ("en_wiki", "sw_wiki", "my_lora"))
    path.write_text(head + named + SYSTEMS)
    return path


def nudge(model, mark, seed, size=0.02):
    """Move a module's weights off where they began, by a trained amount."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if mark in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def save_language_adapter(directory, language, seed, **sizes):
    """As the adapters library saves one, ``.bin`` like the hub's, on an encoder of mini's sizes or others."""
    import adapters
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = json.loads((MINI / "config.json").read_text()) | sizes
    model = XLMRobertaModel(XLMRobertaConfig(**config), add_pooling_layer=False)
    model.config._name_or_path = "mini"
    adapters.init(model)
    model.add_adapter(language, config=adapters.SeqBnInvConfig(reduction_factor=2))
    nudge(model, f".{language}.", seed, 0.04)
    model.save_adapter(str(directory), language)


def save_lora(directory):
    """As PEFT saves one, with the head that was trained with it."""
    import peft
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    config = json.loads((MINI / "config.json").read_text())
    torch.manual_seed(0)
    classifier = XLMRobertaForSequenceClassification(XLMRobertaConfig(**config, num_labels=3))
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"])
    model = peft.get_peft_model(classifier, lora)
    nudge(model, "lora_", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a base model without a name
        model.save_pretrained(str(directory))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models are tiny: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The directories as they were published; never changed."""
    directory = tmp_path_factory.mktemp("published")
    save_language_adapter(directory / "en_wiki", "en", 1)
    save_language_adapter(directory / "sw_wiki", "sw", 2)
    save_lora(directory / "my_lora")
    return directory


@pytest.fixture
def modules(published, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "modules"))


def arguments(study, store, *more):
    where = ["--store", str(store), "--out", str(store.parent / "report"), "--device", "cpu", "--workers", "1"]
    return ["--study", str(study), "--mode", "both", *where, *more]


def run(capsys, study, store, *more):
    """The command in this process: exit code, what was shown, and what was told as an error."""
    code = runpy.run_path(str(ROOT / "experiments" / "run.py"))["main"](arguments(study, store, *more))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture(scope="module")
def finished(published, tmp_path_factory):
    """The study, run as a user runs it; the study's file, the store, and what was shown."""
    directory = tmp_path_factory.mktemp("run")
    study = write_study(published, directory / "mine.toml")
    command = [sys.executable, "experiments/run.py", *arguments(study, directory / "store")]
    return study, directory / "store", subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


# ------------------------------------------------------------------------------------------------------ it is done


def test_two_lines_of_toml_put_a_module_into_a_study(finished):
    study, _, shown = finished
    modules = tomllib.loads(study.read_text())["module"]
    assert [list(module) for module in modules.values()] == [["source"]] * 3
    assert shown.returncode == 0 and shown.stderr == ""


def test_full_fine_tuning_is_compared(finished):
    _, store, shown = finished
    lines = shown.stdout.splitlines()
    for candidate in ("adapter on language adapters", "LoRA on my LoRA"):
        (verdict,) = [line for line in lines if line.startswith(f"{candidate} − full fine-tuning")]
        assert re.search(r"[+−]\d+\.\d \[[+−]?\d+\.\d,\s[+−]?\d+\.\d\]\s+\S+", verdict)
    assert (store.parent / "report" / "report.html").is_file()
    outcomes = json.loads((store.parent / "report" / "comparisons.json").read_text())["outcomes"]
    seen = {(each["candidate"], each["reference"]) for each in outcomes}
    assert seen == {("madx", "full_direct"), ("lora_stack", "full_direct"), ("lora_stack", "lora_direct")}
    flag = "conditional on one module that all seeds build on"
    assert all(flag in each["flags"] and each["candidate_seeds"] == len(SEEDS) for each in outcomes)
    text = (store.parent / "report" / "report.md").read_text()
    assert "3 modules are taken as published" in text and "the luck of its training is not counted" in text


def test_every_kind_of_step_is_there(finished):
    _, store, _ = finished
    cells = json.loads((store / "studies" / "mine@mini.json").read_text())["cells"]
    assert len(cells) == 4 * len(SEEDS)
    counts = {}
    for path in store.glob("steps/*/result.json"):
        kind = json.loads(path.read_text())["kind"]
        counts[kind] = counts.get(kind, 0) + 1
    assert counts == {"train": 4 * len(SEEDS), "predict": 4 * len(SEEDS), "import": 3}


def test_what_is_published_is_what_was_used(finished, published):
    from xstilts import bundle, exchange

    _, store, _ = finished
    found = {}
    for path in store.glob("steps/*/manifest.json"):
        if json.loads(path.read_text())["made"] == "imported":
            found[bundle.verify(path.parent).name] = bundle.read(path.parent)
    assert found.keys() == {"en_wiki", "sw_wiki", "my_lora"}
    for name, taken in found.items():
        given = exchange.load(str(published / name))
        assert taken.method == given.method and taken.tensors.keys() == given.tensors.keys()
        assert all(torch.equal(taken.tensors[stored], tensor) for stored, tensor in given.tensors.items())
    assert found["sw_wiki"].origin.language == "sw"


def predicted(store, system, language):
    """(pair of texts, label) of every row of a language, and the training behind it; seed 1."""
    import pyarrow.parquet as pq

    from xstilts.data import Sources, load_examples
    from xstilts.tasks import load_task

    cells = json.loads((store / "studies" / "mine@mini.json").read_text())["cells"]
    cell = next(cell for cell in cells if (cell["system"], cell["seed"]) == (system, SEEDS[0]))
    texts = {row.item_id: row.fields for row in load_examples(load_task("mini_xnli"), "test", (language,), Sources())}
    rows = pq.read_table(store / "steps" / cell["predict"] / "predictions.parquet").to_pylist()
    rows = [(texts[row["item_id"]], json.loads(row["pred"])) for row in rows if row["language"] == language]
    return rows, store / "steps" / cell["train"]


def agreement(model, rows):
    """Share of rows for which a library's model chooses the same label."""
    from tokenizers import Tokenizer

    from xstilts.tasks import load_task

    labels, tokenizer = load_task("mini_xnli").labels, Tokenizer.from_file(str(MINI / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    encoded = tokenizer.encode_batch([(fields.first, fields.second) for fields, _ in rows])
    ids, mask = (torch.tensor([getattr(each, name) for each in encoded]) for name in ("ids", "attention_mask"))
    assert ids.shape[1] <= 48
    with torch.no_grad():
        chosen = model.eval()(input_ids=ids, attention_mask=mask)[0].argmax(-1).tolist()
    return sum(labels[number] == label for number, (_, label) in zip(chosen, rows, strict=True)) / len(rows)


def classifier(kind):
    from safetensors.torch import load_file
    from transformers import XLMRobertaConfig

    model = kind(XLMRobertaConfig(**json.loads((MINI / "config.json").read_text()), num_labels=3))
    weights = {name.removeprefix("roberta."): tensor for name, tensor in load_file(MINI / "model.safetensors").items()}
    model.roberta.load_state_dict(weights, strict=False)
    return model


def test_the_adapters_library_predicts_the_same_under_the_language_adapter(finished, published, tmp_path):
    """The oracle of a swap: the adapter that was trained on English's, exported, in the library on Swahili's."""
    import adapters

    from xstilts.exchange.export import export

    rows, step = predicted(finished[1], "madx", "sw")
    export(str(step), "adapterhub", tmp_path / "task")
    model = classifier(adapters.XLMRobertaAdapterModel)
    for language in ("en", "sw"):
        model.load_adapter(str(published / f"{language}_wiki"))
    task = model.load_adapter(str(tmp_path / "task"), use_safetensors=True)
    model.set_active_adapters(adapters.Stack("sw", task))
    assert len(rows) == 120 and len({label for _, label in rows}) > 1 and agreement(model, rows) == 1
    model.set_active_adapters(adapters.Stack("en", task))
    assert agreement(model, rows) < 1


def test_peft_predicts_the_same(finished, tmp_path):
    import peft
    from transformers import XLMRobertaForSequenceClassification

    from xstilts.exchange.export import export

    rows, step = predicted(finished[1], "lora_direct", "en")
    export(str(step), "peft", tmp_path / "lora")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = peft.PeftModel.from_pretrained(classifier(XLMRobertaForSequenceClassification), str(tmp_path / "lora"))
    assert len(rows) == 120 and agreement(model, rows) == 1


def test_run_again_there_is_nothing_to_do(finished, capsys):
    study, store, _ = finished
    code, text, _ = run(capsys, study, store)
    assert code == 0 and "27 steps, 0 to run" in text


def test_what_lies_elsewhere_or_under_another_name_is_the_same_module(finished, modules, tmp_path, capsys):
    _, store, _ = finished
    code, text, _ = run(capsys, write_study(modules, tmp_path / "mine.toml"), store, "--dry-run")
    assert code == 0 and "27 steps (12 trainings): 27 done, 0 partial, 0 to do" in text


def test_a_module_that_changed_is_told_before_anything_trains(finished, modules, tmp_path, capsys):
    _, store, _ = finished
    rewrite(modules / "my_lora" / "adapter_model.safetensors", lambda tensors: {k: v * 1.1 for k, v in tensors.items()})
    code, text, _ = run(capsys, write_study(modules, tmp_path / "mine.toml"), store, "--dry-run")
    assert code == 0 and "27 steps (12 trainings): 20 done, 0 partial, 7 to do" in text
    undone = [line for line in text.splitlines() if line.startswith("to do")]
    assert len(undone) == 7 and all("my_lora" in line for line in undone)


def test_a_module_that_changes_between_plan_and_run_is_not_used(modules, tmp_path):
    from xstilts import intake
    from xstilts.backbone import resolve
    from xstilts.config import load_study
    from xstilts.errors import XstiltsError

    path = write_study(modules, tmp_path / "mine.toml")
    study = load_study(str(path), ROOT / "experiments" / "studies", ROOT / "adapter_configs").study
    steps = intake.resolve(study, resolve("mini"))
    rewrite(modules / "my_lora" / "adapter_model.safetensors", lambda tensors: {k: v * 1.1 for k, v in tensors.items()})
    (tmp_path / "step").mkdir()
    with pytest.raises(XstiltsError, match="my_lora: changed since the study was planned; run the study again"):
        intake.run(steps["my_lora"], tmp_path / "step")
    assert not list((tmp_path / "step").iterdir())


# -------------------------------------------------------------------------------------------------- it is refused


BIN, LORA = Path("en_wiki/pytorch_adapter.bin"), Path("my_lora/adapter_model.safetensors")
WEIGHT = "encoder.layer.0.attention.self.query.weight"


def spoilt(path, change):
    def spoil(modules):
        rewrite(modules / path, change)

    return spoil


def resaved(**sizes):
    def spoil(modules):
        shutil.rmtree(modules / "en_wiki")
        save_language_adapter(modules / "en_wiki", "en", 1, **sizes)

    return spoil


class Bomb:
    def __reduce__(self):
        return os.system, (f"touch {os.environ['BOMB']}",)


def bomb(modules):
    (modules / BIN).write_bytes(pickle.dumps({"encoder": Bomb()}))


def as_bert(tensors):
    return {f"bert.{name}": tensor for name, tensor in tensors.items()}


def with_backbone(tensors):
    return tensors | {f"base_model.model.roberta.{WEIGHT}": torch.zeros(192, 192)}


def without_one(tensors):
    return {name: tensor for name, tensor in tensors.items() if "layer.2.output" not in name or "up.bias" not in name}


def with_nan(tensors):
    name = next(name for name in sorted(tensors) if "lora_A" in name)
    return tensors | {name: tensors[name] * float("nan")}


def nothing(modules):
    """The module is sound."""


STACK = '[[system]]\nname = "more"\nlabel = "more"\nmode = "adapter"\nadapter = "{}"\nstart = "{}"\n'
OVER_LORA = STACK.format("pfeiffer_r16", "stack")
TWO_INVERSE = STACK.format("madx_r2", "cold") + 'language_modules = { en = "en_wiki", other = "en_wiki" }\n'
# what is done to the modules, what is added to the study, which module or system is named, why it is refused
BROKEN = {
    "another hidden size": (resaved(hidden_size=96), "", "en_wiki", "states of 96 units, the backbone has 192"),
    "another number of layers": (resaved(num_hidden_layers=6), "", "en_wiki", "6 layers, the backbone has 4"),
    "NaN": (spoilt(LORA, with_nan), "", "my_lora", "NaN or infinity in 1 tensors"),
    "a pickle that names code": (bomb, "", "en_wiki", "is a pickle that names code, which is never run"),
    "keys of BERT": (spoilt(BIN, as_bert), "", "en_wiki", "tensors that are not understood: bert."),
    "a tensor is missing": (spoilt(BIN, without_one), "", "en_wiki", "lacks 1 of 24 tensors"),
    "tensors of the backbone": (spoilt(LORA, with_backbone), "", "my_lora", "holds 1 tensors of the backbone"),
    "no directory": (lambda modules: shutil.rmtree(modules / "sw_wiki"), "", "sw_wiki", "no such directory is here"),
    "a LoRA below a bottleneck": (nothing, OVER_LORA, "my_lora", "was trained with another method; given 'lora'"),
    "an inverse block above another": (nothing, TWO_INVERSE, "more", "inverse"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_does_not_fit_is_told_before_anything_trains(name, modules, tmp_path, capsys, monkeypatch):
    spoil, added, named, reason = BROKEN[name]
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    spoil(modules)
    study = write_study(modules, tmp_path / "mine.toml")
    study.write_text(study.read_text() + added)
    code, _, text = run(capsys, study, tmp_path / "store")
    assert code == 2
    assert text.startswith("error: mine: ") and named in text and reason in text and "Traceback" not in text
    others = {"en_wiki", "sw_wiki", "my_lora"} - {named}
    assert added or not any(f"module {other}:" in text for other in others)
    assert not list(tmp_path.glob("store/steps/*")) and not (tmp_path / "exploded").exists()


def test_ten_ways_are_tried():
    assert len(BROKEN) == 10


# ----------------------------------------------------------------------------------------------------- what is told


def study_of(path):
    from xstilts.config import load_study

    return load_study(str(path), ROOT / "experiments" / "studies", ROOT / "adapter_configs").study


def relative_study(modules):
    path = write_study(modules, modules.parent / "mine.toml")
    path.write_text(path.read_text().replace(f"{modules.parent}/", ""))
    return path


def test_paths_are_relative_to_the_studys_file(modules, monkeypatch, tmp_path):
    from xstilts import intake
    from xstilts.backbone import resolve
    from xstilts.errors import XstiltsError

    path = relative_study(modules)
    found = intake.resolve(study_of(path), resolve("mini"), path.parent)
    assert {step.source for step in found.values()} == {str(modules / name) for name in found}
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(XstiltsError, match="relative to the study's file"):
        intake.resolve(study_of(path), resolve("mini"), elsewhere)


def test_warnings_are_told_for_each_module(modules, tmp_path):
    from xstilts import intake
    from xstilts.backbone import resolve

    card = "---\nlicense: mit\n---\n"
    (modules / "en_wiki" / "README.md").write_text(card)
    told = []
    intake.resolve(study_of(write_study(modules, tmp_path / "mine.toml")), resolve("mini"), tell=told.append)
    assert told[0] == "module en_wiki: can be used with mini"
    assert told[1] == "module sw_wiki: can be used with mini; warning: licence: not stated"
    assert told[2].startswith("module my_lora: can be used with mini; warning: backbone: only the shape fits: it decl")


def test_a_dry_run_without_the_backbone_counts_layers(modules, tmp_path, capsys, monkeypatch):
    from xstilts import session
    from xstilts.backbone import announced

    monkeypatch.setattr(session, "_backbone", lambda name, dry_run: (announced("FacebookAI/xlm-roberta-base"), ()))
    code, _, told = run(capsys, write_study(modules, tmp_path / "mine.toml"), tmp_path / "store", "--dry-run")
    assert code == 2 and told.count("made for 4 layers, FacebookAI/xlm-roberta-base has 12") == 3


def test_what_was_imported_stays_as_uncertain_as_it_was(finished):
    from xstilts.backbone import resolve
    from xstilts.doctor import examine

    _, store, _ = finished
    manifests = {json.loads(path.read_text())["name"]: path.parent for path in store.glob("steps/*/manifest.json")}
    found = {check.name: check for check in examine(str(manifests["my_lora"]), resolve("mini")).checks}
    assert found["backbone"].verdict == "note" and "publisher's word only" in found["backbone"].found
    assert found["licence"].verdict == "warning" and "module my_lora: not stated" in found["licence"].found
    trained = next(place for name, place in manifests.items() if name.startswith("mini_xnli_lora"))
    found = {check.name: check for check in examine(str(trained), resolve("mini")).checks}
    assert found["backbone"].found.startswith("certain")


def test_the_directory_that_was_trained_with_is_the_backbone(modules):
    from tests.exchange.workshop import edit
    from xstilts.backbone import resolve
    from xstilts.doctor import examine

    edit(modules / "my_lora" / "adapter_config.json", base_model_name_or_path=str(MINI))
    found = {check.name: check for check in examine(str(modules / "my_lora"), resolve("mini")).checks}
    assert found["backbone"].verdict == "ok" and "the directory of mini" in found["backbone"].found
    assert "rank 8, alpha 16.0, targets query value" in found["module"].found
    assert "task type SEQ_CLS" in found["module"].found


def test_without_the_backbone_modules_are_only_read(modules, tmp_path):
    from dataclasses import replace

    from xstilts import intake
    from xstilts.backbone import resolve

    path, told = write_study(modules, tmp_path / "mine.toml"), []
    stand_in = replace(resolve("mini"), fingerprint="", path="")
    found = intake.resolve(study_of(path), stand_in, tell=told.append)
    assert found.keys() == {"en_wiki", "sw_wiki", "my_lora"}
    assert told[0] == "module en_wiki: not examined, for mini is not here"


# ------------------------------------------------------------------------------------------------ what is written of it


def toml_of(page, heading):
    """The TOML that a section of a page shows, a block after another."""
    section = page.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ") and " python " not in f" {line[4:]}"]
    return "\n".join(lines)


def test_the_readmes_two_lines_are_two_modules():
    from xstilts.study import ModuleTable

    found = tomllib.loads(toml_of(ROOT / "README.md", "Use published modules; publish your own"))
    modules = {name: ModuleTable.model_validate(table) for name, table in found["module"].items()}
    assert modules.keys() == {"en_wiki", "my_lora"}


def test_the_study_of_the_page_can_be_planned(modules, tmp_path, capsys):
    text = toml_of(ROOT / "docs" / "published_adapters.md", "Use one in a study")
    tables = [line for line in text.splitlines() if not line.startswith("intermediates = [") or '"my_lora"' not in line]
    shown = "\n".join(tables).replace('"mnli"', '"mini_mnli"')
    places = {"AdapterHub/xlm-roberta-base-en-wiki_pfeiffer": "en_wiki", "path/to/my_lora": "my_lora"}
    places["AdapterHub/xlm-roberta-base-de-wiki_pfeiffer"] = "sw_wiki"
    for source, name in places.items():
        assert shown.count(f'"{source}"') == 1
        shown = shown.replace(source, str(modules / name))
    head = 'name = "page"\ntitle = "Page"\nseeds = [1]\nintermediates = ["mini_mnli", "my_lora"]\n'
    head += f'targets = ["mini_xnli"]\nlanguages = ["en", "de"]\nrecipe = {{ common = {RECIPE} }}\n'
    (tmp_path / "page.toml").write_text(head + shown)
    code, text, told = run(capsys, tmp_path / "page.toml", tmp_path / "store", "--dry-run")
    assert (code, told) == (0, "")
    assert "lora_r8 stack on" in text and "language adapters" in text and "full warm on mini_mnli" in text
