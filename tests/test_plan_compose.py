"""Studies that fuse, merge, choose, chain and import modules, expanded into plans."""

from dataclasses import replace
from pathlib import Path

import pytest

from xstilts.config import load_study
from xstilts.errors import XstiltsError
from xstilts.key import key
from xstilts.lineage import chain, inputs, lineage, reads, swapped
from xstilts.plan import evictable, expand, label
from xstilts.spec import AdapterConfig, Backbone, Combine, Fuse, Import, Predict, Stack, Train, Warm

ROOT = Path(__file__).parents[1]
BACKBONE = Backbone("b" * 64, 4, 256, "mini", "/somewhere")
OTHER = Backbone("c" * 64, 4, 256, "other", "/elsewhere")
BOTTLENECK = AdapterConfig(kind="bottleneck", options={"where": "output"})
LANGUAGE = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 2, "inverse": True})
DEEP = {"where": "output", "leave_out": (4,)}
MODULES = {
    "en_wiki": Import(BACKBONE, LANGUAGE, "1" * 64, "en", "org/en", "/en"),
    "de_wiki": Import(BACKBONE, LANGUAGE, "2" * 64, "de", "org/de", "/de"),
    "task": Import(BACKBONE, BOTTLENECK, "3" * 64, None, "org/task", "/task"),
    "lora": Import(BACKBONE, AdapterConfig(kind="lora", options={}), "4" * 64, None, "org/lora", "/lora"),
}

HEAD = """
name = "t"
title = "T"
seeds = [1, 2]
intermediates = {intermediates}
targets = {targets}
languages = {languages}
source_seeds = "{seeds}"
recipe = {{ common = {{ epochs = 1, lr = 1e-3 }} }}
"""


def plan_of(
    tmp_path,
    system,
    intermediates=("mini_mnli", "mini_squad1"),
    targets=("mini_xnli",),
    more="",
    modules=MODULES,
    **head,
):
    text = head_of(intermediates, targets, **head)
    mode = "fullft" if '"full"' in system else "adapter"
    text += f'system = [{{ name = "s", label = "s", mode = "{mode}", {system} }}]\n{more}\n'
    (tmp_path / "t.toml").write_text(text)
    loaded = load_study(str(tmp_path / "t.toml"), tmp_path, ROOT / "adapter_configs")
    wanted = {name: modules[name] for name in loaded.study.module}
    return expand(loaded, BACKBONE, lambda *rows: str(rows), "fp32", wanted)


def module_tables(*names):
    return "".join(f'[module.{name}]\nsource = "org/{name}"\n' for name in names)


def head_of(intermediates, targets, languages=("de", "fr"), seeds="paired"):
    return HEAD.format(intermediates=list(intermediates), targets=list(targets), languages=list(languages), seeds=seeds)


PFEIFFER, LORA, FULL = 'adapter = "pfeiffer_r16"', 'adapter = "lora_r8"', 'adapter = "full"'


def keys(found):
    return {key(step) for step in found}


def steps(plan, kind):
    return [step for step in plan.steps.values() if isinstance(step, kind)]


# ------------------------------------------------------------------------------------------------------------ fusing


def test_a_fusion_takes_all_intermediates_at_once(tmp_path):
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"')
    assert [(cell.intermediate, cell.target, cell.seed) for cell in plan.cells] == [
        ("mini_mnli & mini_squad1", "mini_xnli", 1),
        ("mini_mnli & mini_squad1", "mini_xnli", 2),
    ]
    cell = plan.cells[0]
    assert isinstance(cell.train.start, Fuse) and cell.train.start.on_top
    assert [source.task.name for source in cell.intermediates] == ["mini_mnli", "mini_squad1"]
    assert cell.intermediate_train is None
    fused, own = chain(cell.train)
    assert fused.modules == cell.intermediates and fused.fused_by == cell.train and own.modules == (cell.train,)
    assert keys(reads(cell.predict)) == keys([*cell.intermediates, cell.train])


def test_a_fusion_without_a_module_on_top_is_another_step(tmp_path):
    without = plan_of(tmp_path, f'{PFEIFFER}, start = "fuse", fuse = {{ on_top = false, regularisation = 0.5 }}')
    train = without.cells[0].train
    assert train.start.regularisation == 0.5
    assert [block.modules for block in chain(train)] == [train.start.sources]
    assert key(train) != key(plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"').cells[0].train)


@pytest.mark.parametrize("adapter", [LORA, FULL])
def test_only_bottlenecks_are_fused(tmp_path, adapter):
    with pytest.raises(XstiltsError, match=r"'fuse' with .* is refused"):
        plan_of(tmp_path, f'{adapter}, start = "fuse"')


def test_a_fusion_is_not_learned_without_training_rows(tmp_path):
    with pytest.raises(XstiltsError, match="mini_tatoeba has no training rows"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', targets=("mini_xnli", "mini_tatoeba"))


def test_after_a_preliminary_task_the_fusion_is_continued(tmp_path):
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', more='[preliminary]\nmini_xnli = "mini_pawsx"')
    train = plan.cells[0].train
    assert isinstance(train.start, Warm) and isinstance(train.start.source.start, Fuse)
    fused, own = chain(train)
    assert fused.fused_by == train and own.modules == (train,)  # nothing of the preliminary training is read any more
    assert train.start.source not in lineage(train)


# ----------------------------------------------------------------------------------------------------------- merging


def merge_of(tmp_path, merge, adapter=LORA, **rest):
    return plan_of(tmp_path, f'{adapter}, start = "merge", merge = {{ {merge} }}', **rest)


@pytest.mark.parametrize(("into", "start"), [("warm", Warm), ("stack", Stack)])
def test_a_merged_module_is_a_start(tmp_path, into, start):
    plan = merge_of(tmp_path, f'kind = "svd", into = "{into}"')
    (combine,) = [step for step in steps(plan, Combine) if step.seed == 1]
    assert combine.weights == (0.5, 0.5) and combine.method == plan.loaded.adapters["lora_r8"]
    assert plan.cells[0].train.start == (start(combine) if start is Warm else start((combine,)))
    assert inputs(combine) == plan.cells[0].intermediates


def test_a_sum_of_deltas_has_another_rank_and_is_no_warm_start(tmp_path):
    assert steps(merge_of(tmp_path, 'kind = "linear"'), Combine)[0].method.options["rank"] == 16
    with pytest.raises(XstiltsError, match="the same options"):
        merge_of(tmp_path, 'kind = "linear", into = "warm"')


def test_a_direct_merge_has_the_targets_own_module_first(tmp_path):
    plan = merge_of(tmp_path, 'into = "direct", weights = [0.5, -0.5]')
    cell = plan.cells[0]
    assert isinstance(cell.predict.model, Combine) and cell.train == cell.predict.model
    assert cell.train.weights == (1.0, 0.5, -0.5)
    assert [source.task.name for source in cell.train.sources] == ["mini_xnli", "mini_mnli", "mini_squad1"]
    assert cell.intermediates == cell.train.sources
    assert reads(cell.predict) == (cell.train,)  # one module, whole in itself


def test_a_merge_is_predicted_from_directly_in_retrieval(tmp_path):
    plan = merge_of(tmp_path, 'into = "direct"', targets=("mini_tatoeba",))
    model = plan.cells[0].predict.model
    assert model.weights == (0.5, 0.5) and [source.task.name for source in model.sources] == [
        "mini_mnli",
        "mini_squad1",
    ]
    stacked = merge_of(tmp_path, 'kind = "linear"', targets=("mini_tatoeba",))
    assert stacked.cells[0].predict.model == model


@pytest.mark.parametrize(
    ("decide", "proxies", "reads_rows"), [("text", 0, True), ("few_shot", 2, False), ("learned", 0, True)]
)
def test_weights_that_are_decided(tmp_path, decide, proxies, reads_rows):
    kind = 'into = "direct"' if decide == "learned" else 'kind = "select"'
    plan = merge_of(tmp_path, f'decide = "{decide}", {kind}')
    combine = steps(plan, Combine)[0]
    assert combine.weights is None and combine.decided == decide
    assert len(combine.proxies or ()) == proxies
    assert (combine.task is not None) == (combine.recipe is not None) == reads_rows
    assert combine.method.kind == "lora"


def test_short_trainings_decide_and_come_first(tmp_path):
    plan = merge_of(tmp_path, 'kind = "select", decide = "few_shot", proxy = { train_examples = 16 }')
    combine = steps(plan, Combine)[0]
    assert {proxy.recipe.train_examples for proxy in combine.proxies} == {16}
    assert [proxy.start for proxy in combine.proxies] == [Stack((source,)) for source in combine.sources]
    order = list(plan.steps)
    assert all(order.index(key(proxy)) < order.index(key(combine)) for proxy in combine.proxies)


def test_full_models_that_are_merged_are_kept(tmp_path):
    plan = merge_of(tmp_path, 'into = "warm"', adapter=FULL)
    kept = {name for name, step in plan.steps.items() if isinstance(step, Train | Combine)} - evictable(plan)
    assert {plan.steps[name].task.name for name in kept if isinstance(plan.steps[name], Train)} == {
        "mini_mnli",
        "mini_squad1",
    }
    assert {type(plan.steps[name]) for name in kept} == {Train, Combine}


MISFITS = {
    "weights or decided": ('decide = "text", kind = "select", weights = [1.0, 0.0]', "given or decided"),
    "select without a decision": ('kind = "select"', "'text' or 'few_shot'"),
    "decision without select": ('decide = "text"', "'text' or 'few_shot'"),
    "learned without own": ('decide = "learned"', "into = 'direct'"),
    "chosen directly": ('decide = "text", kind = "select", into = "direct"', "no head of the target"),
    "proxy without few_shot": ("proxy = { epochs = 1 }", "few_shot"),
    "too few weights": ("weights = [1.0]", "needs one for each of 2 intermediates"),
    "unknown kind": ('kind = "linaer"', "did you mean 'linear'"),
    "unknown option": ('kind = "svd", options = { rnak = 2 }', "unknown key"),
    "unknown decision": ('decide = "tets"', "input should be.*did you mean 'text'"),
    "unknown key": ('kidn = "svd"', "system.0.merge: unknown key.*did you mean 'kind'"),
    "own without direct": ("own = 0.5", "own belongs to into = 'direct'"),
    "own that is learned": ('decide = "learned", into = "direct", own = 0.5', "own belongs to into = 'direct'"),
    "proxy too long": (
        'kind = "select", decide = "few_shot", proxy = { max_length = 257 }',
        "max_length: the backbone has positions for 256 tokens; given '257'",
    ),
    "proxy unknown": ('kind = "select", decide = "few_shot", proxy = { epocs = 1 }', "did you mean 'epochs'"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_merge_that_does_not_fit_together_is_refused(tmp_path, name):
    merge, message = MISFITS[name]
    with pytest.raises(XstiltsError, match=message):
        merge_of(tmp_path, merge)


def test_negative_weights_of_bottlenecks_are_refused_before_anything_trains(tmp_path):
    with pytest.raises(XstiltsError, match=r"s: .*refused"):
        merge_of(tmp_path, "weights = [1.5, -0.5]", adapter=PFEIFFER)


def test_bottlenecks_that_began_at_other_weights_are_not_averaged(tmp_path):
    """Only the first seed's own module began where the intermediates of ``fixed`` seeds did."""
    system = f'{PFEIFFER}, start = "merge", merge = {{ into = "direct", own = 0.5, weights = [0.25, 0.25] }}'
    assert plan_of(tmp_path, system).cells
    with pytest.raises(XstiltsError, match="began at the same weights"):
        plan_of(tmp_path, system, seeds="fixed")
    assert plan_of(tmp_path, system.replace(PFEIFFER, LORA), seeds="fixed").cells


def test_a_loss_that_is_not_there_teaches_no_weights(tmp_path):
    with pytest.raises(XstiltsError, match="lareqa has no loss on its dev rows"):
        merge_of(tmp_path, 'decide = "learned", into = "direct"', targets=("lareqa",), languages=("de",))


def test_what_a_start_does_not_need_is_refused(tmp_path):
    with pytest.raises(XstiltsError, match="belongs to start = 'merge'"):
        plan_of(tmp_path, f'{LORA}, start = "stack", merge = {{ into = "warm" }}')
    with pytest.raises(XstiltsError, match="'cold' has no intermediates"):
        plan_of(tmp_path, f'{LORA}, start = "cold", intermediates = ["mini_mnli"]')


def test_untrained_targets_cannot_decide(tmp_path):
    with pytest.raises(XstiltsError, match="no training rows, by which"):
        merge_of(tmp_path, 'kind = "select", decide = "text"', targets=("mini_tatoeba",))


# ------------------------------------------------------------------------------------------------- chains, subsets


CHAIN = '[[chain]]\nname = "squad_mnli"\ntasks = ["mini_squad1", "mini_mnli"]\n'


@pytest.mark.parametrize(("start", "kind"), [("stack", Stack), ("warm", Warm)])
def test_the_order_of_a_chain_is_what_is_written(tmp_path, start, kind):
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "{start}"', intermediates=("squad_mnli",), more=CHAIN)
    source = plan.cells[0].intermediate_train
    assert source.task.name == "mini_mnli" and isinstance(source.start, kind)
    (first,) = inputs(source)
    assert first.task.name == "mini_squad1"
    assert len(lineage(plan.cells[0].train)) == (3 if kind is Stack else 1)
    turned = CHAIN.replace('["mini_squad1", "mini_mnli"]', '["mini_mnli", "mini_squad1"]')
    other = plan_of(tmp_path, f'{PFEIFFER}, start = "{start}"', intermediates=("squad_mnli",), more=turned)
    assert other.cells[0].intermediate_train.task.name == "mini_squad1"


def test_chains_of_full_models_go_on_whatever_becomes_of_them(tmp_path):
    soup = 'start = "merge", merge = { into = "warm" }'
    plan = plan_of(tmp_path, f"{FULL}, {soup}", intermediates=("squad_mnli", "mini_qqp"), more=CHAIN)
    (chained, _) = plan.cells[0].intermediates
    assert isinstance(chained.start, Warm) and chained.start.source.task.name == "mini_squad1"


def test_chains_share_their_beginnings(tmp_path):
    more = CHAIN + '[[chain]]\nname = "squad_qqp"\ntasks = ["mini_squad1", "mini_qqp"]\n'
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "stack"', intermediates=("squad_mnli", "squad_qqp"), more=more)
    trained = [step.task.name for step in steps(plan, Train) if step.seed == 1]
    assert sorted(trained) == ["mini_mnli", "mini_qqp", "mini_squad1", "mini_xnli", "mini_xnli"]


def test_chains_on_the_same_first_module_can_be_fused_and_others_cannot(tmp_path):
    more = CHAIN + '[[chain]]\nname = "squad_qqp"\ntasks = ["mini_squad1", "mini_qqp"]\n'
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', intermediates=("squad_mnli", "squad_qqp"), more=more)
    below, fused, _ = chain(plan.cells[0].train)
    assert below.modules[0].task.name == "mini_squad1" and len(fused.modules) == 2
    with pytest.raises(XstiltsError, match="same modules below"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', intermediates=("squad_mnli", "mini_qqp"), more=CHAIN)


def test_a_system_may_use_some_of_the_intermediates(tmp_path):
    plan = plan_of(tmp_path, f'{PFEIFFER}, start = "stack", intermediates = ["mini_squad1"]')
    assert {cell.intermediate for cell in plan.cells} == {"mini_squad1"}
    with pytest.raises(XstiltsError, match=r"not one of the study.*did you mean 'mini_squad1'"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "stack", intermediates = ["mini_squad2"]')


# ------------------------------------------------------------------------------------------------ published modules


def test_a_published_module_is_an_intermediate_like_any_other(tmp_path):
    plan = plan_of(
        tmp_path, f'{PFEIFFER}, start = "stack"', intermediates=("task", "mini_mnli"), more=module_tables("task")
    )
    own = [cell for cell in plan.cells if cell.intermediate == "task"]
    assert all(cell.intermediate_train == MODULES["task"] for cell in own)
    assert chain(own[0].train)[0].modules == (MODULES["task"],)
    assert len(steps(plan, Import)) == 1 and reads(MODULES["task"]) == ()
    assert label(plan, MODULES["task"]) == "import org/task"
    assert "on org/task" in label(plan, own[0].train)


def test_what_a_module_is_called_and_where_it_lies_is_not_in_its_key():
    moved = replace(MODULES["task"], source="elsewhere", path="/x", language="sw")
    assert key(moved) == key(MODULES["task"])
    assert key(replace(moved, fingerprint="5" * 64)) != key(moved)


@pytest.mark.parametrize(
    ("adapter", "start", "module", "message"),
    [
        (PFEIFFER, "stack", "lora", "org/lora was trained with another method.*allowed: bottleneck"),
        (LORA, "stack", "task", "org/task was trained with another method.*allowed: lora"),
        (PFEIFFER, "warm", "en_wiki", "the same options"),
        (FULL, "warm", "task", "org/task was trained with another method.*allowed: full"),
    ],
)
def test_a_module_that_does_not_fit_is_refused_before_anything_trains(tmp_path, adapter, start, module, message):
    with pytest.raises(XstiltsError, match=message):
        plan_of(tmp_path, f'{adapter}, start = "{start}"', intermediates=(module,), more=module_tables(module))


def test_a_module_of_another_backbone_is_refused(tmp_path):
    foreign = {"task": replace(MODULES["task"], backbone=OTHER)}
    with pytest.raises(XstiltsError, match="trained on another backbone"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "stack"', ("task",), more=module_tables("task"), modules=foreign)


MADX = f'{PFEIFFER}, language_modules = {{ en = "en_wiki", de = "de_wiki", other = "en_wiki" }}'


def test_language_adapters_lie_under_everything_and_are_swapped(tmp_path):
    more = module_tables("en_wiki", "de_wiki")
    plan = plan_of(tmp_path, f'{MADX}, start = "stack"', ("mini_mnli",), ("mini_xnli", "mini_tatoeba"), more)
    for cell in plan.cells:
        assert cell.intermediate_train.start == Stack((MODULES["en_wiki"],))
        assert chain(cell.train)[0].modules == (MODULES["en_wiki"],)
        swap = cell.predict.swap
        assert swap.out == MODULES["en_wiki"]
        assert dict(swap.by) == {
            language: MODULES["de_wiki" if language == "de" else "en_wiki"] for language in cell.predict.languages
        }
        assert MODULES["de_wiki"] in reads(cell.predict)
    nli = next(cell for cell in plan.cells if cell.target == "mini_xnli")
    assert len(lineage(nli.train)) == 3  # the language adapter once, though both trainings lie on it


@pytest.mark.parametrize(
    ("start", "intermediates", "kinds"),
    [
        ("stack", ("task",), [Import, Import, Train]),
        ("merge", ("task", "other"), [Import, Combine, Train]),
    ],
)
def test_a_published_task_module_is_put_on_the_language_adapter(tmp_path, start, intermediates, kinds):
    modules = MODULES | {"other": replace(MODULES["task"], fingerprint="6" * 64)}
    more = module_tables("en_wiki", "de_wiki", *intermediates)
    plan = plan_of(tmp_path, f'{MADX}, start = "{start}"', intermediates, more=more, modules=modules)
    for cell in plan.cells:
        blocks = chain(cell.train)
        assert [type(block.modules[0]) for block in blocks] == kinds
        assert blocks[0].modules == (MODULES["en_wiki"],)
        in_german = swapped(blocks, cell.predict.swap, "de")
        assert in_german[0].modules == (MODULES["de_wiki"],) and in_german[1:] == blocks[1:]


def test_short_trainings_on_published_modules_lie_on_the_language_adapter(tmp_path):
    more = module_tables("en_wiki", "de_wiki", "task")
    merge = 'merge = { kind = "select", decide = "few_shot" }'
    plan = plan_of(tmp_path, f'{MADX}, start = "merge", {merge}', ("task",), more=more)
    (proxy,) = steps(plan, Combine)[0].proxies
    assert [block.modules for block in chain(proxy)] == [(MODULES["en_wiki"],), (MODULES["task"],), (proxy,)]


@pytest.mark.parametrize(
    ("start", "targets"), [("warm", ("mini_xnli",)), ("fuse", ("mini_xnli",)), ("stack", ("mini_tatoeba",))]
)
def test_a_model_without_the_language_adapter_that_would_be_swapped_is_refused(tmp_path, start, targets):
    more = module_tables("en_wiki", "de_wiki", "task")
    with pytest.raises(XstiltsError, match="does not lie on org/en, which would take no part"):
        plan_of(tmp_path, f'{MADX}, start = "{start}"', ("task",), targets, more)


def test_a_module_takes_part_once(tmp_path):
    modules = MODULES | {"twin": MODULES["task"]}
    with pytest.raises(XstiltsError, match="the same module takes part twice"):
        plan_of(
            tmp_path,
            f'{PFEIFFER}, start = "fuse"',
            ("task", "twin"),
            more=module_tables("task", "twin"),
            modules=modules,
        )
    plain = {
        name: replace(MODULES["task"], fingerprint=number * 64) for name, number in (("en_wiki", "6"), ("de_wiki", "7"))
    }
    with pytest.raises(XstiltsError, match="the same module takes part twice"):  # in German
        plan_of(tmp_path, f'{MADX}, start = "stack"', ("de_wiki",), more=module_tables(*plain), modules=plain)


def test_a_fusion_of_one_module_with_an_inverse_block_is_refused(tmp_path):
    with pytest.raises(XstiltsError, match="not if it is fused"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', ("en_wiki",), more=module_tables("en_wiki"))
    assert plan_of(tmp_path, f'{PFEIFFER}, start = "fuse"', ("mini_mnli",)).cells


def test_layers_that_the_backbone_lacks_are_told_before_anything_trains(tmp_path):
    modules = {"task": replace(MODULES["task"], method=AdapterConfig(kind="bottleneck", options=DEEP))}
    with pytest.raises(XstiltsError, match="the encoder has layers 0 to 3"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "stack"', ("task",), more=module_tables("task"), modules=modules)


def test_names_of_modules_can_stand_among_the_intermediates(tmp_path):
    with pytest.raises(XstiltsError, match=r"module.a & b.*should match pattern"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "stack"', ("a & b",), more='[module."a & b"]\nsource = "x"\n')


def test_without_intermediates_the_target_lies_on_the_language_adapter(tmp_path):
    more = module_tables("en_wiki", "de_wiki")
    plan = plan_of(tmp_path, f'{MADX}, start = "cold"', (), ("mini_xnli", "mini_tatoeba"), more)
    trained = next(cell for cell in plan.cells if cell.target == "mini_xnli")
    assert trained.train.start == Stack((MODULES["en_wiki"],))
    assert next(cell for cell in plan.cells if cell.target == "mini_tatoeba").predict.model == MODULES["en_wiki"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{ de = "de_wiki" }', "needs 'en'"),
        ('{ en = "en_wiki", de = "de_wiki" }', "none for fr"),
        ('{ en = "en_wiki", de = "de_wiky", other = "en_wiki" }', "did you mean 'de_wiki'"),
        ('{ en = "en_wiki", dee = "de_wiki", other = "en_wiki" }', "no target task has this language"),
    ],
)
def test_language_adapters_that_are_wrong_are_told(tmp_path, table, message):
    more = module_tables("en_wiki", "de_wiki")
    with pytest.raises(XstiltsError, match=message):
        plan_of(tmp_path, f'{PFEIFFER}, start = "cold", language_modules = {table}', (), ("mini_xnli",), more)


def test_a_module_that_nothing_uses_is_told(tmp_path):
    with pytest.raises(XstiltsError, match="neither among the intermediates"):
        plan_of(tmp_path, f'{PFEIFFER}, start = "stack"', more=module_tables("task"))


def test_all_that_cannot_be_composed_is_told_at_once(tmp_path):
    text = head_of(["task", "lora"], ["mini_xnli"]) + module_tables("task", "lora")
    text += """
[[system]]
name = "bottlenecks"
label = "b"
mode = "adapter"
adapter = "pfeiffer_r16"
start = "stack"
[[system]]
name = "loras"
label = "l"
mode = "adapter"
adapter = "lora_r8"
start = "stack"
"""
    (tmp_path / "t.toml").write_text(text)
    loaded = load_study(str(tmp_path / "t.toml"), tmp_path, ROOT / "adapter_configs")
    with pytest.raises(XstiltsError) as told:
        expand(loaded, BACKBONE, lambda *rows: str(rows), "fp32", MODULES)
    assert [problem.where.split(": ")[1] for problem in told.value.problems] == ["system bottlenecks", "system loras"]


def test_every_step_is_told_in_a_line(tmp_path):
    plan = merge_of(tmp_path, 'kind = "select", decide = "few_shot"')
    lines = [label(plan, step) for step in plan.steps.values()]
    assert len(set(lines)) == len(lines)
    assert any(line.startswith("merge select of lora · mini_mnli, mini_squad1 · decided by few_shot") for line in lines)
    assert all(isinstance(step, Train | Combine | Predict) for step in plan.steps.values())


def test_a_date_is_no_value_of_any_key(tmp_path):
    with pytest.raises(XstiltsError, match=r"system.0.adapter: input should be a valid string; given .*2020-01-01"):
        plan_of(tmp_path, 'adapter = 2020-01-01, start = "stack"')
