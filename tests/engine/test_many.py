"""Many models over the same rows say what each says alone, in one pass or in many."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from xstilts import fusion
from xstilts.backbone import load_encoder, weights_digest
from xstilts.engine import carrier, inference, many
from xstilts.engine.carrier import Level, Piece, Setting, Whole
from xstilts.engine.compose import Model
from xstilts.engine.many import Encoded
from xstilts.errors import XstiltsError
from xstilts.formats import encode, load_format, whole
from xstilts.methods import load_method
from xstilts.spec import AdapterConfig

LAYERS = 2
OUTPUT = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4})
NARROW = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 8, "non_linearity": "swish"})
BOTH = AdapterConfig(kind="bottleneck", options={"where": "both", "reduction": 4})
RAW = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4, "reads": "raw"})
UPPER = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4, "leave_out": (0,)})
INVERSE = AdapterConfig(kind="bottleneck", options={"where": "output", "reduction": 4, "inverse": True})
LORA = AdapterConfig(kind="lora", options={"rank": 4, "alpha": 8.0})
KEYS = AdapterConfig(kind="lora", options={"rank": 2, "targets": ("key", "output")})
DORA = AdapterConfig(kind="dora", options={"rank": 4})
IA3 = AdapterConfig(kind="ia3")
FULL = AdapterConfig(kind="full")

# modules of four models each → how many passes they take
KINDS = {
    "output": ((OUTPUT, OUTPUT, OUTPUT, OUTPUT), 1),
    "reductions": ((OUTPUT, NARROW, OUTPUT, NARROW), 1),
    "both": ((BOTH, BOTH, BOTH, BOTH), 1),
    "raw": ((RAW, RAW, RAW, RAW), 1),
    "leave_out": ((UPPER, UPPER, UPPER, UPPER), 1),
    "places": ((UPPER, OUTPUT, UPPER, BOTH), 3),
    "readings": ((RAW, OUTPUT, RAW, OUTPUT), 2),
    "inverse": ((INVERSE, INVERSE, INVERSE, OUTPUT), 4),
    "lora": ((LORA, LORA, LORA, LORA), 4),
    "lora elsewhere": ((LORA, KEYS, LORA, KEYS), 4),
    "dora": ((DORA, DORA, DORA, DORA), 4),
    "ia3": ((IA3, IA3, IA3, IA3), 4),
    "full": ((FULL, FULL, FULL, FULL), 4),
    "mixed": ((OUTPUT, LORA, OUTPUT, FULL), 3),
    "mixed through peft": ((LORA, IA3, DORA, LORA), 4),
}
FORMATS = ("classification", "tagging", "span", "choice", "retrieval")


def drawn(tensors, seed):
    """Values of a trained size, so that no module is the identity."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: tensor.detach() + 0.3 * torch.randn(tensor.shape, generator=random) for name, tensor in tensors.items()
    }


def attached(encoder, method, name):
    kind = load_method(method.kind)
    kind.attach(encoder, name, kind.Options.model_validate(method.options))
    return kind.names(encoder, name)


def piece(backbone, method, seed):
    encoder = load_encoder(backbone)
    names = attached(encoder, method, "m")
    load_method(method.kind).initialise(encoder, "m")
    tensors = drawn({stored: encoder.get_parameter(name) for stored, name in names.items()}, seed)
    return Piece(method, tensors, weights_digest(tensors))


def chain(backbone, *methods, seed):
    return tuple(Level((piece(backbone, method, seed + 100 * number),)) for number, method in enumerate(methods))


def head(task, config, seed):
    return drawn(dict(load_format(task.format).head(task, config).named_parameters()), seed)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def base(backbone):
    return load_encoder(backbone).eval()


@pytest.fixture
def rows(toys, text):
    def made(format_name="classification", count=30, first=0):
        task, examples = toys.task(format_name), toys.examples(format_name, count, first)
        if format_name == "retrieval":  # a query must not be the very text of its candidate
            examples = [replace(each, fields=backwards(each.fields)) if each.gold else each for each in examples]
        return Encoded(examples, encode(task, examples, text(24 if format_name == "span" else 48)).features)

    return made


def backwards(sentence):
    return replace(sentence, text=" ".join(reversed(sentence.text.split()[1:])))


def alone(backbone, model, task):
    """A model built by itself, from nothing but its method."""
    encoder = load_encoder(backbone)
    blocks = []
    for place, level in enumerate(model.levels):
        block = []
        for number, each in enumerate(level.modules):
            names = attached(encoder, each.method, f"p{place}n{number}")
            for stored, name in names.items():
                encoder.get_parameter(name).data.copy_(each.tensors[stored])
            block.append(f"p{place}n{number}")
        if level.fused_by is not None:
            fusion.attach(encoder, block)
            for stored, name in fusion.names(encoder, block).items():
                encoder.get_parameter(name).data.copy_(level.fused_by[stored])
        blocks.append(tuple(block))
    if model.levels:
        load_method(model.kind).activate(encoder, blocks)
    own = load_format(task.format).head(task, encoder.config)
    own.load_state_dict(model.head)
    return Model(encoder, own).eval()


def scores(model, form, features, count=1):
    """All scores of every feature, one array for each model."""
    kept = form.__class__(form.name, form.encode, form.head, form.join, whole, over_tokens=form.over_tokens)
    with inference.reduced(model, kept, features, "fp32") as values:
        return [[np.split(value, count)[number] for value in values] for number in range(count)]


def close(one, other, tolerance=1e-5):
    for found, wanted in zip(one, other, strict=True):
        known = np.isfinite(wanted)
        np.testing.assert_array_equal(np.isfinite(found), known)
        np.testing.assert_allclose(found[known], wanted[known], atol=tolerance * max(1, np.abs(wanted[known]).max()))


def models_of(backbone, methods, task, config):
    return [
        Whole(f"model {n}", chain(backbone, method, seed=n + 1), head(task, config, n + 50))
        for n, method in enumerate(methods)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_model_says_what_it_says_alone(kind, count, backbone, base, encoder_config, toys, rows):
    methods, most = KINDS[kind]
    task, form, given = toys.task("classification"), load_format("classification"), rows()
    models = models_of(backbone, methods[:count], task, encoder_config)
    before = weights_digest(base.state_dict())
    served = many.predict(models, base, Setting(task), given)
    expected = [alone(backbone, model, task) for model in models]
    for model, one in zip(expected, served, strict=True):
        assert one.predictions == inference.predict(model, task, given.examples, encoded(given), "fp32")
        assert one.remark is None
    taken = {one.together for one in served}
    assert sorted(number for numbers in taken for number in numbers) == list(range(count))
    if count == 4:
        assert len(taken) == most
    for own in many._carried(models):
        carried = carrier.carry({number: models[number] for number in own}, base, Setting(task))
        for numbers in [each for each in taken if each[0] in own]:
            found = scores(carried.model(numbers), form, given.features, len(numbers))
            for number, one in zip(numbers, found, strict=True):
                close(one, scores(expected[number], form, given.features)[0])
    assert weights_digest(base.state_dict()) == before
    assert not hasattr(base, "adapters_config") and not hasattr(base, "peft_config")


def encoded(given):
    from xstilts.formats import Encoded as Features

    return Features(given.features, 0)


def test_the_kinds_are_all_there():
    from xstilts.methods import method_kinds

    used = {method.kind for methods, _ in KINDS.values() for method in methods}
    assert used == set(method_kinds()) - {"head"} and len(KINDS) == 15


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_served_in_one_pass(format_name, backbone, base, encoder_config, toys, rows):
    task, given = toys.task(format_name), rows(format_name)
    models = models_of(backbone, (OUTPUT, OUTPUT, OUTPUT), task, encoder_config)
    served = many.predict(models, base, Setting(task), given)
    assert {one.together for one in served} == {(0, 1, 2)}
    for model, one in zip(models, served, strict=True):
        expected = inference.predict(alone(backbone, model, task), task, given.examples, encoded(given), "fp32")
        assert one.predictions == expected and one.remark is None
    assert len({str(one.predictions) for one in served}) > 1, "the models do not all say the same"


def test_a_layer_and_a_pooling_are_those_of_a_single_prediction(backbone, base, encoder_config, toys, rows):
    task, given = toys.task("retrieval"), rows("retrieval")
    models = models_of(backbone, (OUTPUT, OUTPUT), task, encoder_config)
    served = many.predict(models, base, Setting(task, layer=1, pooling="cls"), given)
    assert served[0].together == (0, 1)
    for model, one in zip(models, served, strict=True):
        reference = alone(backbone, model, task)
        reference.encoder.encoder.layer = reference.encoder.encoder.layer[:1]
        reference.head.how = "cls"
        assert one.predictions == inference.predict(reference, task, given.examples, encoded(given), "fp32")
    with pytest.raises(XstiltsError, match="layers 0 to 2"):
        many.predict(models, base, Setting(task, layer=3), given)


def test_mining_sets_its_threshold_for_each_model(backbone, base, toys, rows):
    task = replace(toys.task("retrieval"), format="mining")

    def mined(count, first):
        given = rows("retrieval", count, first)
        gold = [None if each.gold is None else (each.gold,) for each in given.examples]
        examples = [replace(each, gold=one) for each, one in zip(given.examples, gold, strict=True)]
        return Encoded(examples, given.features)

    dev, test = mined(40, 100), mined(40, 0)
    models = models_of(backbone, (OUTPUT, OUTPUT), task, base.config)
    served = many.predict(models, base, Setting(task), test, dev)
    form = load_format("mining")
    for model, one in zip(models, served, strict=True):
        reference = alone(backbone, model, task)
        with inference.reduced(reference, form, dev.features, "fp32") as values:
            join = form.calibrate(task, dev.examples, dev.features, values)
        with inference.reduced(reference, form, test.features, "fp32") as values:
            assert one.predictions == join(task, test.examples, test.features, values)
    with pytest.raises(XstiltsError, match="development data"):
        many.predict(models, base, Setting(task), test)


STACKS = {
    "a shared module below": ((OUTPUT, OUTPUT), True, 1),
    "a shared language adapter below": ((INVERSE, OUTPUT), True, 1),
    "a shared module with fewer places below": ((UPPER, OUTPUT), True, 1),
    "a shared module that reads otherwise below": ((RAW, OUTPUT), True, 1),
    "a shared module with more places below": ((OUTPUT, UPPER), True, 3),
    "each its own module below": ((OUTPUT, OUTPUT), False, 3),
    "LoRA on a shared LoRA": ((LORA, LORA), True, 3),
    "IA3 on its own IA3": ((IA3, IA3), False, 3),
    "three, two of them shared": ((INVERSE, OUTPUT, BOTH), True, 1),
}


@pytest.mark.parametrize("name", STACKS)
def test_modules_that_lie_on_others(name, backbone, base, encoder_config, toys, rows):
    methods, shared, expected = STACKS[name]
    task, form, given = toys.task("classification"), load_format("classification"), rows()
    below = chain(backbone, *methods[:-1], seed=7)
    models = [
        Whole(
            f"model {n}",
            (
                *(below if shared else chain(backbone, *methods[:-1], seed=n)),
                *chain(backbone, methods[-1], seed=n + 20),
            ),
            head(task, encoder_config, n),
        )
        for n in range(3)
    ]
    served = many.predict(models, base, Setting(task), given)
    assert len({one.together for one in served}) == expected and not any(one.remark for one in served)
    carried = carrier.carry(dict(enumerate(models)), base, Setting(task))
    for number, one in enumerate(served):
        reference = alone(backbone, models[number], task)
        assert one.predictions == inference.predict(reference, task, given.examples, encoded(given), "fp32")
        found = scores(carried.model(one.together), form, given.features, len(one.together))
        close(found[one.together.index(number)], scores(reference, form, given.features)[0])


def test_what_is_shared_is_attached_once(backbone, base, encoder_config, toys):
    task = toys.task("classification")
    below = chain(backbone, OUTPUT, seed=7)
    again = tuple(Level((Piece(OUTPUT, dict(level.modules[0].tensors), level.modules[0].digest),)) for level in below)
    models = {
        n: Whole("m", (*shared, *chain(backbone, OUTPUT, seed=n)), head(task, encoder_config, n))
        for n, shared in enumerate((below, again))
    }
    carried = carrier.carry(models, base, Setting(task))
    assert carried.chains[0][0] == carried.chains[1][0] and len({*sum(carried.chains.values(), ())}) == 3
    own = {id(parameter) for parameter in base.parameters()}
    assert own <= {id(parameter) for parameter in carried.encoder.parameters()}, "one copy of the backbone"


def test_fusions_over_the_same_modules_are_kept_apart(backbone, base, encoder_config, toys, rows):
    task, given = toys.task("classification"), rows()
    modules = tuple(piece(backbone, OUTPUT, seed) for seed in (1, 2))
    encoder = load_encoder(backbone)
    for name in "ab":
        attached(encoder, OUTPUT, name)
    fusion.attach(encoder, "ab")
    fresh = {stored: encoder.get_parameter(name) for stored, name in fusion.names(encoder, "ab").items()}
    models = [
        Whole(f"model {seed}", (Level(modules, drawn(fresh, seed)), *top), head(task, encoder_config, seed))
        for seed, top in ((3, ()), (4, ()), (5, chain(backbone, OUTPUT, seed=9)))
    ]
    served = many.predict(models, base, Setting(task), given)
    for model, one in zip(models, served, strict=True):
        assert one.together == (models.index(model),)
        reference = alone(backbone, model, task)
        assert one.predictions == inference.predict(reference, task, given.examples, encoded(given), "fp32")


def test_the_bare_backbone_with_heads(backbone, base, encoder_config, toys, rows):
    task, given = toys.task("classification"), rows()
    models = [Whole(f"head {n}", (), head(task, encoder_config, n)) for n in range(2)]
    for model, one in zip(models, many.predict(models, base, Setting(task), given), strict=True):
        reference = alone(backbone, model, task)
        assert one.predictions == inference.predict(reference, task, given.examples, encoded(given), "fp32")


def wrong_scores(monkeypatch):
    """A library that gives every module the output of the first."""
    from adapters.methods.bottleneck import BottleneckLayer

    right = BottleneckLayer.compose_single
    first = {}

    def wrong(self, name, state, lvl=0):
        return right(self, first.setdefault(id(self), name), state, lvl) if lvl else right(self, name, state, lvl)

    monkeypatch.setattr(BottleneckLayer, "compose_parallel", spoiled(BottleneckLayer.compose_parallel, wrong))


def spoiled(compose, single):
    def parallel(self, setup, state, lvl=0):
        self.compose_single = single.__get__(self)
        try:
            return compose(self, setup, state, lvl)
        finally:
            del self.compose_single

    return parallel


def no_replication(monkeypatch):
    from adapters.methods.bottleneck import BottleneckLayer

    def parallel(self, setup, state, lvl=0):
        return BottleneckLayer.compose_single(self, setup[0], BottleneckLayer.pre_block(self, setup[0], state))

    monkeypatch.setattr(BottleneckLayer, "compose_parallel", parallel)


def failing(monkeypatch):
    from adapters.methods.bottleneck import BottleneckLayer

    def parallel(self, setup, state, lvl=0):
        raise KeyError(setup[0])

    monkeypatch.setattr(BottleneckLayer, "compose_parallel", parallel)


def not_numbers(monkeypatch):
    from adapters.methods.bottleneck import BottleneckLayer

    right = BottleneckLayer.compose_parallel

    def parallel(self, setup, state, lvl=0):
        found = right(self, setup, state, lvl)
        return found._replace(hidden_states=found.hidden_states * float("nan"))

    monkeypatch.setattr(BottleneckLayer, "compose_parallel", parallel)


WRONG = {
    wrong_scores: "scores differ by",
    no_replication: "RuntimeError",
    failing: "KeyError",
    not_numbers: "differ by nan",
}


@pytest.mark.parametrize("break_library", WRONG, ids=lambda function: function.__name__)
def test_where_the_library_is_wrong_there_is_one_pass_each_and_a_remark(
    break_library, backbone, base, encoder_config, toys, rows, monkeypatch
):
    task, given = toys.task("classification"), rows()
    models = models_of(backbone, (OUTPUT, OUTPUT, OUTPUT), task, encoder_config)
    right = many.predict(models, base, Setting(task), given)
    assert {one.together for one in right} == {(0, 1, 2)}
    break_library(monkeypatch)
    served = many.predict(models, base, Setting(task), given)
    assert [one.together for one in served] == [(0,), (1,), (2,)]
    assert all(WRONG[break_library] in one.remark and one.remark.endswith("so one by one") for one in served)
    assert [one.predictions for one in served] == [one.predictions for one in right]


def test_no_more_than_so_many_are_computed_together(backbone, encoder_config, toys):
    task = toys.task("classification")
    models = models_of(backbone, [OUTPUT] * (many.MOST + 3), task, encoder_config)
    assert [len(numbers) for numbers in many.passes(models, LAYERS)] == [many.MOST, 3]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 30, 100])
def test_what_is_compared_is_short_and_has_padding(count, rows):
    features = rows(count=30).features
    some = [features[index] for index in many._some(features, count)]
    lengths = sorted(feature.length for feature in features)
    assert len(some) == len({id(feature) for feature in some}) == min(count, 30)
    assert max(feature.length for feature in some) <= lengths[max(count, 15, 1) - 1 if count < 30 else -1]
    assert count == 1 or len({feature.length for feature in some}) > 1


@pytest.mark.parametrize("format_name", ["classification", "choice"])
def test_the_encoder_never_sees_more_rows_than_in_a_pass_of_one(
    format_name, backbone, base, encoder_config, toys, rows, monkeypatch
):
    task, given = toys.task(format_name), rows(format_name)
    seen = {}

    def watched(numbers):
        models = models_of(backbone, [OUTPUT] * numbers, task, encoder_config)
        carried = carrier.carry(dict(enumerate(models)), base, Setting(task))
        carried.encoder.encoder.layer[-1].register_forward_hook(
            lambda module, inputs, output: seen.setdefault(numbers, []).append(output[0].shape[:2].numel())
        )
        form = load_format(format_name)
        scores(carried.model(range(numbers)), form, given.features, numbers)

    monkeypatch.setattr(inference, "CPU_TOKENS", 240)
    for numbers in (1, 4):
        watched(numbers)
    assert max(seen[4]) <= 240 and sum(seen[4]) == 4 * sum(seen[1]) and len(seen[4]) > len(seen[1])


SPOILED = {
    "a module of other tensors": lambda model: Whole("m", model.levels[:1], {}),
    "a head of another size": lambda model: Whole(
        "m", model.levels, model.head | {"out_proj.weight": torch.zeros(5, 32)}
    ),
    "an unknown tensor": lambda model: Whole("m", (spoilt(model.levels[0]),), model.head),
}


def spoilt(level):
    (own,) = level.modules
    return Level((Piece(own.method, {**own.tensors, "encoder.layer.0.output.more": torch.zeros(1)}, "0"),))


@pytest.mark.parametrize("name", SPOILED)
def test_what_does_not_fit_is_refused(name, backbone, base, encoder_config, toys, rows):
    task = toys.task("classification")
    (model,) = models_of(backbone, [OUTPUT], task, encoder_config)
    with pytest.raises(XstiltsError, match=r"module m: .* tensors are missing, unknown or of another shape"):
        many.predict([SPOILED[name](model)], base, Setting(task), rows())


def test_scores_that_are_no_numbers_are_told(backbone, base, encoder_config, toys, rows):
    task = toys.task("classification")
    models = models_of(backbone, (OUTPUT, OUTPUT), task, encoder_config)
    spoiled_head = {name: tensor * float("nan") for name, tensor in models[1].head.items()}
    with pytest.raises(XstiltsError, match="module b: its scores are not finite numbers"):
        many.predict([models[0], Whole("b", models[1].levels, spoiled_head)], base, Setting(task), rows())


def test_both_ways_are_measured(tmp_path):
    """The benchmark runs, on sizes that are too small to say anything."""
    out = tmp_path / "many.json"
    sizes = ["--models", "2", "--rows", "12", "--rounds", "1"]
    command = [sys.executable, "benchmarks/many.py", *sizes, "--out", str(out)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=200)
    assert shown.returncode == 0, shown.stderr
    runs = json.loads(out.read_text())["runs"]
    assert {(run["way"], run["passes"]) for run in runs} == {("together", 1), ("alone", 2)} and len(runs) == 4
    assert "alone / together" in shown.stdout
