from pathlib import Path

import pytest

from xstilts.config import load_study
from xstilts.errors import XstiltsError
from xstilts.key import key
from xstilts.lineage import inputs
from xstilts.plan import evictable, expand, label
from xstilts.spec import Backbone, Cold, Predict, Stack, Train, Warm

ROOT = Path(__file__).parents[1]
BACKBONE = Backbone("b" * 64, 4, 256, "mini", "/somewhere")

STUDY = """
name = "t"
title = "T"
seeds = [1, 2]
intermediates = ["mini_mnli", "mini_squad1"]
targets = ["mini_xnli", "mini_tatoeba"]
recipe = { common = { epochs = 1, lr = 1e-3 } }
system = [
  { name = "full_direct", label = "d", mode = "fullft", adapter = "full", start = "cold" },
  { name = "full_warm", label = "w", mode = "fullft", adapter = "full", start = "warm" },
  { name = "adapter_direct", label = "d", mode = "adapter", adapter = "pfeiffer_r16", start = "cold" },
  { name = "adapter_stack", label = "s", mode = "adapter", adapter = "pfeiffer_r16", start = "stack" },
  { name = "adapter_warm", label = "w", mode = "adapter", adapter = "pfeiffer_r16", start = "warm" },
]
"""


def plan_of(tmp_path, text=STUDY, precision="fp32"):
    (tmp_path / "t.toml").write_text(text)
    loaded = load_study(str(tmp_path / "t.toml"), tmp_path, ROOT / "adapter_configs")
    return expand(loaded, BACKBONE, lambda *rows: str(rows), precision)


@pytest.fixture
def plan(tmp_path):
    return plan_of(tmp_path)


def trains(plan):
    return [step for step in plan.steps.values() if isinstance(step, Train)]


def test_counts(plan):
    # cells: direct 2 systems × 2 targets × 2 seeds; with an intermediate 3 × 2 × 2 × 2
    assert len(plan.cells) == 8 + 24
    # trainings: intermediates 2 × 2 seeds × 2 methods; direct 2 × 2; on an intermediate 3 × 2 × 2
    assert len(trains(plan)) == 8 + 4 + 12
    # predictions: one for each training of mini_xnli, each intermediate on mini_tatoeba, and the bare backbone once
    assert len(plan.steps) - len(trains(plan)) == 16 + 8 + 1


def test_an_intermediate_is_trained_once_for_all_that_build_on_it(plan):
    assert plan.asked == 4 + 12 * 2 + 12  # direct, target + source, retrieval's source
    assert plan.asked - len(trains(plan)) == 16


def test_inputs_come_first(plan):
    seen = set()
    for name, step in plan.steps.items():
        assert name == key(step)
        assert {key(source) for source in inputs(step)} <= seen
        seen.add(name)


def test_starts(plan):
    kinds = {(cell.system, type(cell.train.start)) for cell in plan.cells if cell.target == "mini_xnli"}
    assert kinds == {
        ("full_direct", Cold),
        ("full_warm", Warm),
        ("adapter_direct", Cold),
        ("adapter_stack", Stack),
        ("adapter_warm", Warm),
    }


def test_retrieval_is_predicted_straight_from_the_intermediate(plan):
    for cell in (cell for cell in plan.cells if cell.target == "mini_tatoeba"):
        assert cell.train == cell.intermediate_train
        assert cell.predict.layer == 3  # 14/24 of 4 layers, rounded up
        assert (cell.predict.model == BACKBONE) == (cell.intermediate is None)


def test_paired_seeds_build_on_their_own_intermediate_and_fixed_ones_on_the_first(plan, tmp_path):
    assert all(cell.intermediate_train.seed == cell.seed for cell in plan.cells if cell.intermediate)
    fixed = plan_of(tmp_path, STUDY.replace('title = "T"', 'title = "T"\nsource_seeds = "fixed"'))
    assert {cell.intermediate_train.seed for cell in fixed.cells if cell.intermediate} == {1}


def test_mode_selects_systems_and_both_modes_share_the_bare_backbone(plan):
    full, adapter = plan.only("fullft"), plan.only("adapter")
    assert set(full.steps) | set(adapter.steps) == set(plan.steps)
    shared = set(full.steps) & set(adapter.steps)
    assert [plan.steps[name].model for name in shared] == [BACKBONE]


def test_a_mode_without_systems_is_refused(tmp_path):
    lines = [line for line in STUDY.splitlines() if "fullft" not in line]
    with pytest.raises(XstiltsError, match="no system of this mode"):
        plan_of(tmp_path, "\n".join(lines)).only("fullft")


def test_only_full_weights_nobody_builds_on_are_evictable(plan):
    for name in evictable(plan):
        assert plan.steps[name].method.kind == "full"
        assert plan.steps[name].task.name == "mini_xnli"
    assert len(evictable(plan)) == 2 + 4


def test_automatic_precision_is_resolved_and_counts(plan, tmp_path):
    assert {step.recipe.precision for step in trains(plan)} == {"fp32"}
    half = plan_of(tmp_path, precision="bf16")
    assert {step.recipe.precision for step in trains(half)} == {"bf16"}
    assert not set(half.steps) & set(plan.steps)


def test_a_retrieval_task_cannot_be_an_intermediate(tmp_path):
    with pytest.raises(XstiltsError, match="no training rows"):
        plan_of(tmp_path, STUDY.replace('"mini_mnli", ', '"mini_tatoeba", '))


def test_languages_restrict_what_is_predicted(tmp_path):
    few = plan_of(tmp_path, STUDY.replace('title = "T"', 'title = "T"\nlanguages = ["en", "de"]'))
    assert {step.languages for step in few.steps.values() if isinstance(step, Predict)} <= {("en", "de"), ("de",)}


def test_labels_are_readable(plan):
    shown = {label(plan, step) for step in plan.steps.values()}
    assert "train mini_xnli · pfeiffer_r16 stack on mini_mnli · seed 2" in shown
    assert "predict mini_tatoeba · bare backbone" in shown


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("retrieval_layer = 5", "layers 0 (embeddings) to 4"),
        ("retrieval_layer = -1", "layers 0 (embeddings) to 4"),
        ("task_recipe = { mini_xnli = { max_length = 257 } }", "positions for 256 tokens"),
    ],
)
def test_what_the_backbone_does_not_have_is_refused_before_anything_runs(tmp_path, line, expected):
    with pytest.raises(XstiltsError) as told:
        plan_of(tmp_path, STUDY.replace('title = "T"', f'title = "T"\n{line}'))
    assert expected in str(told.value)


def test_layer_zero_is_a_layer(tmp_path):
    plan = plan_of(tmp_path, STUDY.replace('title = "T"', 'title = "T"\nretrieval_layer = 0'))
    assert {cell.predict.layer for cell in plan.cells if cell.target == "mini_tatoeba"} == {0}


# -------------------------------------------------------------------------------- mixtures, preliminary tasks, rows

MIXED = STUDY.replace(
    'intermediates = ["mini_mnli", "mini_squad1"]',
    'intermediates = ["mini_mnli", "both"]\n'
    'mixture = [{ name = "both", tasks = ["mini_qqp", "mini_mnli"], sampling = { kind = "capped", cap = 100 } }]',
)


def test_a_mixture_is_one_training_of_several_tasks(tmp_path):
    plan = plan_of(tmp_path, MIXED)
    cells = [cell for cell in plan.cells if cell.intermediate == "both"]
    assert len(cells) == 3 * 2 * 2
    for cell in cells:
        train = cell.intermediate_train
        assert train.task.name == "mini_qqp"
        assert [each.name for each in train.mixture.also] == ["mini_mnli"]
        assert (train.mixture.sampling.kind, train.mixture.sampling.cap) == ("capped", 100)
    assert any(label(plan, step).startswith("train mini_qqp+mini_mnli ·") for step in trains(plan))
    alone = [step for step in trains(plan) if step.mixture is None]
    assert {step.task.name for step in alone} == {"mini_mnli", "mini_xnli"}


def test_a_preliminary_task_is_trained_before_the_target_in_every_arm(tmp_path):
    plan = plan_of(tmp_path, STUDY.replace('title = "T"', 'title = "T"\npreliminary = { mini_xnli = "mini_qqp" }'))
    for cell in (cell for cell in plan.cells if cell.target == "mini_xnli"):
        before = cell.train.start.source
        assert cell.preliminary_train == before
        assert isinstance(cell.train.start, Warm)
        assert (before.task.name, before.seed) == ("mini_qqp", cell.seed)
        if cell.intermediate is None:
            assert before.start == Cold()
        elif cell.system == "adapter_stack":
            assert before.start == Stack((cell.intermediate_train,))
        else:
            assert before.start == Warm(cell.intermediate_train)


def test_an_untrained_target_is_predicted_from_its_preliminary_task(tmp_path):
    plan = plan_of(
        tmp_path, STUDY.replace('title = "T"', 'title = "T"\npreliminary = { mini_tatoeba = "mini_squad1" }')
    )
    for cell in (cell for cell in plan.cells if cell.target == "mini_tatoeba"):
        assert cell.predict.model == cell.train
        assert cell.train.task.name == "mini_squad1"
        assert cell.train != cell.intermediate_train


def test_translated_intermediates_are_other_trainings_and_targets_stay_english(plan, tmp_path):
    asked = []
    (tmp_path / "de.toml").write_text(STUDY.replace('title = "T"', 'title = "T"\nintermediate_language = "de"'))
    loaded = load_study(str(tmp_path / "de.toml"), tmp_path, ROOT / "adapter_configs")
    german = expand(loaded, BACKBONE, lambda *rows: asked.append(rows) or str(rows), "fp32")
    for cell in german.cells:
        assert cell.intermediate is None or cell.intermediate_train.task.language == "de"
        assert cell.train is cell.intermediate_train or cell.train.task.language is None
    assert {rows[3] for rows in asked if rows[0] == "mini_mnli"} == {"de"}
    assert {rows[3] for rows in asked if rows[0] == "mini_xnli"} == {None}
    direct = {key(cell.train) for cell in german.cells if cell.intermediate is None and cell.train}
    assert direct == {key(cell.train) for cell in plan.cells if cell.intermediate is None and cell.train}
    assert any("train mini_mnli@de ·" in label(german, step) for step in trains(german))


def test_what_has_no_translation_is_trained_as_published(tmp_path):
    text = STUDY.replace('"mini_squad1"]', '"mini_ccg"]').replace(
        'title = "T"', 'title = "T"\nintermediate_language = "de"'
    )
    languages = {
        (cell.intermediate, cell.intermediate_train.task.language)
        for cell in plan_of(tmp_path, text).cells
        if cell.intermediate
    }
    assert languages == {("mini_mnli", "de"), ("mini_ccg", None)}
