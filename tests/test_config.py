import shutil
from pathlib import Path

import pytest

from xstilts.config import load_adapter, load_study, resolve_recipe
from xstilts.errors import XstiltsError
from xstilts.methods import method_kinds

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "experiments" / "studies").rglob("*.toml"))
ADAPTERS = sorted((ROOT / "adapter_configs").rglob("*.toml"))

GOOD = """
name = "t"
title = "T"
seeds = [1, 2]
intermediates = ["mini_mnli"]
targets = ["mini_xnli", "mini_tatoeba"]
[recipe.common]
epochs = 1
lr = 1e-3
[recipe.intermediate]
epochs = 2
[task_recipe.mini_mnli]
max_length = 64
[[system]]
name = "direct"
label = "direct"
mode = "adapter"
adapter = "pfeiffer_r16"
start = "cold"
[[system]]
name = "stack"
label = "stack"
mode = "adapter"
adapter = "pfeiffer_r16"
start = "stack"
recipe = { lr = 5e-4 }
[[comparison]]
name = "gain"
candidate = "stack"
reference = "direct"
"""


def load(tmp_path, text):
    path = tmp_path / "t.toml"
    path.write_text(text, encoding="utf-8")
    return load_study(str(path), tmp_path, ROOT / "adapter_configs")


def problems(tmp_path, text):
    with pytest.raises(XstiltsError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_everything_shipped_is_counted():
    assert [path.stem for path in STUDIES] == ["mini", "mini_compose", "mirror", "real_sample", "xtreme", "xtreme_r"]
    bottlenecks = ["houlsby_r16", "madx_r2", "pfeiffer_r16", "pfeiffer_r16_madx2"]
    others = ["dora_r8", "full", "head", "ia3", "lora_r8", "lora_r8_rs"]
    assert [path.stem for path in ADAPTERS] == sorted(bottlenecks + others)
    assert method_kinds() == ("bottleneck", "dora", "full", "head", "ia3", "lora")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_study_is_sound_and_named_by_its_file(path):
    loaded = load_study(path.stem, path.parent, ROOT / "adapter_configs")
    assert loaded.study.name == path.stem
    assert {system.mode for system in loaded.study.system} == {"fullft", "adapter"}


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_shipped_adapter_config_is_sound(path):
    assert load_adapter(path).kind in method_kinds()


def test_recipe_layers_are_laid_over_one_another(tmp_path):
    study = load(tmp_path, GOOD).study
    direct, stack = study.system
    assert resolve_recipe(study, direct, "target", "mini_xnli").epochs == 1
    intermediate = resolve_recipe(study, stack, "intermediate", "mini_mnli")
    assert (intermediate.epochs, intermediate.max_length, intermediate.lr) == (2, 64, 5e-4)


TWICE = """[[comparison]]
name = "gain"
candidate = "direct"
reference = "stack"
[[comparison]]"""

BAD = {
    "unknown key, nearest": (
        "seeds = [1, 2]",
        "seeds = [1, 2]\ntarget = []",
        ["unknown key", "did you mean 'targets'"],
    ),
    "unknown task": ('"mini_xnli"', '"mini_xnl"', ["unknown task", "did you mean 'mini_xnli'"]),
    "unknown adapter": (
        'adapter = "pfeiffer_r16"\nstart = "stack"',
        'adapter = "pfeifer_r16"\nstart = "stack"',
        ["did you mean 'pfeiffer_r16'"],
    ),
    "unknown start": ('start = "stack"', 'start = "stak"', ["did you mean 'stack'"]),
    "unknown system": ('candidate = "stack"', 'candidate = "stok"', ["unknown system", "did you mean 'stack'"]),
    "unknown recipe field": ("lr = 1e-3", "lr = 1e-3\nepoch = 3", ["unknown key", "did you mean 'epochs'"]),
    "value out of range": ("lr = 1e-3", "lr = -1.0", ["lr", "greater than 0", "-1.0"]),
    "wrong type is not coerced": ("epochs = 1", 'epochs = "1"', ["epochs", "'1'"]),
    "missing": ('title = "T"\n', "", ["title: is missing"]),
    "not TOML": ('title = "T"', "title = T", ["not valid TOML", "line 3"]),
    "two seeds alike": ("[1, 2]", "[1, 1]", ["seeds: given twice"]),
    "recipe of a task not in the study": (
        "[task_recipe.mini_mnli]",
        "[task_recipe.mini_qqp]",
        ["not a task of this study"],
    ),
    "mode and adapter differ": ('mode = "adapter"', 'mode = "fullft"', ["does not fit adapter kind"]),
    "void recipe": ('adapter = "pfeiffer_r16"\nstart = "stack"', 'adapter = "head"\nstart = "stack"', ["is refused"]),
    "unknown language": ("seeds = [1, 2]", 'seeds = [1, 2]\nlanguages = ["xx"]', ["no target task has this language"]),
    "two comparisons alike": ("[[comparison]]", TWICE, ["comparison.name: given twice"]),
    "a system with itself": ('reference = "direct"', 'reference = "stack"', ["compares a system with itself"]),
    "unknown recipe role": ("[recipe.intermediate]", "[recipe.intermediat]", ["did you mean 'intermediate'"]),
    "intermediates missing": ('intermediates = ["mini_mnli"]\n', "", ["needs intermediates"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_study_is_told_where_what_and_nearest(tmp_path, name):
    before, after, expected = BAD[name]
    assert before in GOOD
    told = problems(tmp_path, GOOD.replace(before, after, 1))
    for part in expected:
        assert part in told


def test_names_are_told_beside_what_is_wrong_with_the_structure(tmp_path):
    text = GOOD.replace('"mini_xnli"', '"mini_xnl"').replace('start = "stack"', 'start = "stak"')
    told = problems(tmp_path, text)
    assert "mini_xnl" in told and "stak" in told and "at least" not in told


def test_all_problems_are_told_at_once(tmp_path):
    text = GOOD.replace('"mini_xnli"', '"mini_xnl"').replace('"mini_mnli"]', '"nope"]').replace("lr = 1e-3", "lr = 0.0")
    told = problems(tmp_path, text)
    assert all(part in told for part in ("mini_xnl", "nope", "greater than 0"))


def test_unknown_study_names_the_nearest():
    with pytest.raises(XstiltsError, match="did you mean 'mini'"):
        load_study("mimi", ROOT / "experiments" / "studies", ROOT / "adapter_configs")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kind = "lora"\n[options]\nrnak = 8', "did you mean 'rank'"),
        ('kind = "lorra"', "did you mean 'lora'"),
        ('kind = "lora"\n[options]\nrank = 0', "rank"),
    ],
)
def test_bad_adapter_config(tmp_path, text, expected):
    shutil.copytree(ROOT / "adapter_configs", tmp_path / "configs")
    (tmp_path / "configs" / "pfeiffer_r16.toml").write_text(text)
    (tmp_path / "t.toml").write_text(GOOD)
    with pytest.raises(XstiltsError, match=expected):
        load_study(str(tmp_path / "t.toml"), tmp_path, tmp_path / "configs")


MIXTURE = """
[[mixture]]
name = "both"
tasks = ["mini_mnli", "mini_qqp"]
sampling = { kind = "temperature", temperature = 2.0 }
"""


def test_a_mixture_is_an_intermediate(tmp_path):
    study = load(tmp_path, GOOD.replace('["mini_mnli"]', '["mini_mnli", "both"]') + MIXTURE).study
    assert study.members("both") == ("mini_mnli", "mini_qqp")
    assert study.members("mini_mnli") == ("mini_mnli",)
    assert study.tasks == ("mini_mnli", "mini_qqp", "mini_xnli", "mini_tatoeba")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIXTURE.replace('"mini_qqp"', '"mini_qpq"'), "mixture both: tasks: unknown task; given 'mini_qpq'"),
        (MIXTURE.replace('"both"', '"mini_ccg"'), "mixture: has the name of a task"),
        (MIXTURE.replace('"mini_qqp"', '"mini_mnli"'), "tasks: given twice"),
        (MIXTURE.replace(", temperature = 2.0", ""), "temperature belongs to kind = 'temperature'"),
        (MIXTURE.replace("temperature = 2.0", "temperature = 2.0, cap = 3"), "cap belongs to kind = 'capped'"),
        (MIXTURE + MIXTURE, "mixture.name: given twice"),
        (MIXTURE, "mixture: is not among the intermediates; given 'both'"),
        (MIXTURE.replace('"mini_qqp"', '"mini_tatoeba"'), "mixture both: the task has no training rows"),
    ],
)
def test_what_is_wrong_with_a_mixture_is_told(tmp_path, text, expected):
    assert expected in problems(tmp_path, GOOD + text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('preliminary = { mini_xnli = "mini_qpq" }', "preliminary: unknown task; given 'mini_qpq'"),
        ('preliminary = { mini_pawsx = "mini_qqp" }', "not a target of this study; given 'mini_pawsx'"),
        ('preliminary = { mini_xnli = "mini_xnli" }', "a task before itself"),
        ('preliminary = { mini_xnli = "mini_mlm" }', "masked language modelling can only be intermediate"),
        ('preliminary = { mini_xnli = "mini_tatoeba" }', "preliminary: the task has no training rows"),
        ('subsets = ["mini_qqp"]', "subsets: not a task of this study; given 'mini_qqp'"),
        ('pooling = "max"', "pooling"),
        ('targets = ["mini_mlm"]', "targets: masked language modelling is only trained, never tested"),
    ],
)
def test_what_is_wrong_with_the_protocol_is_told(tmp_path, line, expected):
    text = GOOD.replace('targets = ["mini_xnli", "mini_tatoeba"]\n', "") if line.startswith("targets") else GOOD
    assert expected in problems(tmp_path, text.replace('title = "T"', f'title = "T"\n{line}'))
