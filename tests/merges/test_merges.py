"""What may be merged, and the shape of what comes out; planned without torch."""

import inspect
import subprocess
import sys

import pytest
from pydantic import ValidationError

from xstilts.errors import XstiltsError
from xstilts.merges import Merge, Part, load_merge, merge_kinds
from xstilts.methods import method_kinds
from xstilts.spec import AdapterConfig

KINDS = ("dare", "linear", "select", "svd", "ties")
METHODS = ("bottleneck", "dora", "full", "head", "ia3", "lora")
DEFAULTS = {"bottleneck": {"where": "output"}}
DEFINED = {
    "linear": {"full", "bottleneck", "lora", "ia3"},
    "svd": {"lora"},
    "ties": {"full", "lora", "ia3"},
    "dare": {"full", "lora", "ia3"},
    "select": {"full", "bottleneck", "lora", "dora", "ia3"},
}


def shape(kind, **options):
    return AdapterConfig(kind=kind, options={**DEFAULTS.get(kind, {}), **options})


def refusal(kind, methods, weights, **options):
    merge = load_merge(kind)
    return merge.refuse(methods, weights, merge.Options(**options))


def result(kind, methods, **options):
    merge = load_merge(kind)
    return merge.method(methods, merge.Options(**options))


def test_the_kinds_are_the_files():
    assert merge_kinds() == KINDS and method_kinds() == METHODS
    with pytest.raises(XstiltsError, match="unknown merge kind; given 'tie', did you mean 'ties'"):
        load_merge("tie")


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_provides_the_protocol(kind):
    merge = load_merge(kind)
    functions = {name: member for name, member in inspect.getmembers(Merge, inspect.isfunction) if name[0] != "_"}
    assert set(functions) == {"refuse", "method", "merge"}
    for name, declared in functions.items():
        here = inspect.signature(getattr(merge, name))
        assert list(here.parameters) == list(inspect.signature(declared).parameters)[1:], f"{kind}.{name}"
    assert merge.Options.model_config["extra"] == "forbid" and merge.Options.model_config["frozen"]
    assert set(merge.REFUSED) >= DEFINED[kind] and merge.Options()


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_is_planned_without_torch(kind):
    program = (
        "import sys; from xstilts.merges import load_merge; from xstilts.spec import AdapterConfig; "
        f"m = load_merge({kind!r}); two = [AdapterConfig(kind='lora')] * 2; "
        "m.refuse(two, None, m.Options()); m.method(two, m.Options()); print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("svd", {"rank": 0}),
        ("svd", {"rank": 2.5}),
        ("ties", {"density": 0.0}),
        ("ties", {"density": 1.1}),
        ("dare", {"drop": 1.0}),
        ("dare", {"drop": -0.1}),
        ("linear", {"rank": 8}),
        ("select", {"rank": 8}),
    ],
)
def test_impossible_options_are_refused(kind, options):
    with pytest.raises(ValidationError):
        load_merge(kind).Options.model_validate(options)


def test_every_method_is_merged_or_refused_with_a_reason():
    reasons = {(kind, method): refusal(kind, [shape(method)] * 2, (1.0, 0.0)) for kind in KINDS for method in METHODS}
    assert len(reasons) == 30
    allowed = {pair for pair, reason in reasons.items() if reason is None}
    assert allowed == {(kind, method) for kind, methods in DEFINED.items() for method in methods} and len(allowed) == 16
    assert all("not defined" not in (reason or "") for reason in reasons.values()), (
        "every reason is a sentence of its own"
    )
    assert {reasons[kind, "head"] for kind in KINDS} == {
        "only heads were trained: the encoder is unchanged, and there is nothing to merge"
    }


LORA, OTHER_LORA = shape("lora"), shape("lora", rank=4)


@pytest.mark.parametrize(
    ("kind", "methods", "weights", "options", "reason"),
    [
        ("linear", [], None, {}, "there is no source"),
        ("linear", [LORA, shape("full")], (0.5, 0.5), {}, "different methods: lora, full"),
        ("ties", [LORA, LORA], (1.0,), {}, "1 weights for 2 sources"),
        ("dare", [LORA, LORA], (1.0, float("nan")), {}, "not a finite number"),
        ("linear", [LORA, LORA], (0.0, 0.0), {}, "all weights are zero"),
        ("linear", [shape("bottleneck")] * 2, (1.0, -0.5), {}, "not linear in its weights"),
        ("linear", [shape("bottleneck")] * 2, (1.0, 1.0), {}, "not linear in its weights"),
        ("linear", [shape("bottleneck")] * 2, (0.0, 0.0), {}, "not linear in its weights"),
        ("linear", [shape("bottleneck"), shape("bottleneck", reduction=8)], None, {}, "differ in reduction"),
        ("linear", [shape("bottleneck"), shape("bottleneck", where="both")], None, {}, "differ in where"),
        ("svd", [LORA, OTHER_LORA], None, {"rank": 13}, "has rank 12 at most"),
        ("ties", [shape("full")] * 2, None, {"rank": 4}, "rank is an option for LoRA"),
        ("select", [LORA, OTHER_LORA], None, {}, "differ in rank"),
        ("select", [LORA, LORA], (0.5, 0.5), {}, "weight 1 to one source"),
        ("select", [LORA, LORA], (2.0, 0.0), {}, "weight 1 to one source"),
        ("select", [LORA, LORA], (1.0,), {}, "weight 1 to one source"),
        ("linear", [shape("dora")] * 2, None, {}, "use select"),
    ],
)
def test_what_is_refused(drawn, kind, methods, weights, options, reason):
    assert reason in refusal(kind, methods, weights, **options)
    if weights is not None and reason != "all weights are zero":  # a merge holds itself to the same
        merge = load_merge(kind)
        with pytest.raises(XstiltsError, match=reason):
            merge.merge([Part(method, {}) for method in methods], weights, merge.Options(**options), {}, 0)


@pytest.mark.parametrize(
    ("kind", "methods", "weights"),
    [
        ("linear", [LORA, OTHER_LORA], (1.0, -2.0)),
        ("linear", [shape("full")] * 3, (1.0, 1.0, -1.0)),
        ("linear", [shape("bottleneck")] * 3, (1 / 3, 1 / 3, 1 / 3)),
        ("linear", [shape("bottleneck")] * 2, None),
        ("ties", [LORA, OTHER_LORA], (1.0, -0.5)),
        ("svd", [LORA, OTHER_LORA], (0.0, 1.0)),
        ("select", [shape("dora")] * 2, (0.0, 1.0)),
    ],
)
def test_what_is_not_refused(kind, methods, weights):
    assert refusal(kind, methods, weights) is None


RANK4 = {"rank": 4, "alpha": 8.0}


@pytest.mark.parametrize(
    ("kind", "sources", "options", "expected"),
    [
        ("linear", [{}], {}, {}),
        ("linear", [{}, {}], {}, {}),  # rank 16, alpha 16: the defaults' alpha, so only the rank is said
        ("linear", [RANK4, {"rank": 2}], {}, {"rank": 6, "alpha": 6.0}),
        ("linear", [{"dropout": 0.1}, {"dropout": 0.1}], {}, {"dropout": 0.1}),
        ("linear", [{"dropout": 0.1}, {}], {}, {}),
        (
            "linear",
            [{"targets": ("value", "key")}, {"targets": ("query", "key")}],
            {},
            {"targets": ("key", "query", "value")},
        ),
        ("linear", [{"rank_stabilised": True}, {"rank_stabilised": True}], {}, {}),
        ("svd", [RANK4, RANK4], {}, RANK4),
        ("svd", [{**RANK4, "rank_stabilised": True}] * 2, {}, {**RANK4, "rank_stabilised": True}),
        ("svd", [{**RANK4, "targets": ("value", "query")}] * 2, {}, {**RANK4, "targets": ("value", "query")}),
        ("svd", [RANK4, {"rank": 2, "alpha": 8.0}], {}, RANK4),
        ("svd", [RANK4, {"rank": 2}], {}, {"rank": 4, "alpha": 4.0}),
        ("svd", [{**RANK4, "rank_stabilised": True}, RANK4], {}, {"rank": 4, "alpha": 4.0}),
        ("svd", [RANK4, RANK4], {"rank": 2}, {"rank": 2, "alpha": 8.0}),
        ("ties", [RANK4], {}, RANK4),
        ("ties", [RANK4, RANK4], {}, {"alpha": 8.0}),
        ("ties", [RANK4, RANK4], {"rank": 3}, {"rank": 3, "alpha": 8.0}),
        ("dare", [RANK4, RANK4], {}, {"alpha": 8.0}),
        ("select", [RANK4, {"rank": 4, "alpha": 8.0, "dropout": 0.0}], {}, RANK4),
    ],
)
def test_the_shape_of_merged_loras(kind, sources, options, expected):
    methods = [shape("lora", **source) for source in sources]
    if kind in ("linear", "dare") and len(sources) == 2 and "rank" not in sources[0]:
        expected = {"rank": 16, **expected}
    assert refusal(kind, methods, None, **options) is None
    assert result(kind, methods, **options) == AdapterConfig(kind="lora", options=expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_other_shapes_stay_and_say_no_default(kind, method):
    if method not in DEFINED[kind] or (method == "lora" and kind != "select"):
        return
    said = shape(method, **{"bottleneck": {"reduction": 16}, "lora": {"rank": 8}, "dora": {"rank": 8}}.get(method, {}))
    assert result(kind, [said, shape(method)]) == shape(method)


def test_scales_of_other_places_are_joined():
    methods = [shape("ia3", targets=("value",)), shape("ia3", targets=("key",))]
    assert result("linear", methods) == shape("ia3", targets=("key", "value"))
    assert result("linear", methods) == result("ties", methods) == result("dare", methods[::-1])


def test_sources_that_hold_other_tensors_are_refused(drawn):
    one, two = drawn.parts("full", 2)
    broken = Part(two.method, {name: tensor for name, tensor in two.tensors.items() if "bias" not in name})
    for kind in ("linear", "ties", "dare"):
        with pytest.raises(XstiltsError, match="source 2 does not hold the tensors of the first one"):
            drawn.merge(kind, [one, broken], (0.5, 0.5))
