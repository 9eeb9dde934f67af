"""The doctor's judgement: every check in each of its verdicts, and sizes against independent computations."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from xstilts.backbone import load_encoder
from xstilts.doctor import VERDICTS, Check, Diagnosis, diagnose, sizes
from xstilts.doctor.shown import plain
from xstilts.methods import load_method
from xstilts.published import Origin, Published, PublishedHead, Remark
from xstilts.spec import AdapterConfig

NAME = "FacebookAI/xlm-roberta-base"
ORIGIN = Origin(
    layout="adapterhub",
    version="adapters.1.3.0",
    name="mod",
    backbone="xlm-roberta-base",
    model_type="xlm-roberta",
    hidden_size=32,
    licence="apache-2.0",
)
KINDS = {
    "lora": {"rank": 4},
    "dora": {"rank": 4},
    "ia3": {},
    "bottleneck": {"where": "output", "reduction": 2, "inverse": True},
    "full": {},
    "head": {},
}


def attached(backbone, kind, options):
    encoder = load_encoder(backbone).eval()
    method = load_method(kind)
    method.attach(encoder, "m", method.Options.model_validate(options))
    torch.manual_seed(0)
    method.initialise(encoder, "m")
    return encoder, method.names(encoder, "m")


def module(backbone, kind="lora", scale=0.05, options=None):
    """A module that was trained a little: its fresh weights and some noise."""
    options = KINDS[kind] if options is None else options
    encoder, names = attached(backbone, kind, options)
    tensors = {}
    for stored, name in names.items():
        fresh = encoder.get_parameter(name).detach()
        noise = torch.randn(fresh.shape) * (fresh.abs().mean() if kind == "full" else 1)
        tensors[stored] = fresh + scale * noise
    return Published(AdapterConfig(kind=kind, options=options), tensors, 2, 32, None, ORIGIN)


def with_origin(published, **changes):
    return dataclasses.replace(published, origin=dataclasses.replace(published.origin, **changes))


def with_tensors(published, edit):
    tensors = {name: tensor.clone() for name, tensor in published.tensors.items()}
    edit(tensors)
    return dataclasses.replace(published, tensors=tensors)


def scaled(published, factor, part=".lora_B"):
    def edit(tensors):
        for name in tensors:
            if part in name:
                tensors[name] *= factor

    return with_tensors(published, edit)


def head(labels, outputs=3):
    weights = {"out_proj.weight": torch.ones(outputs, 32), "out_proj.bias": torch.zeros(outputs)}
    return PublishedHead("tagging", weights, labels)


def remarked(name, serious=False):
    return lambda p: dataclasses.replace(p, remarks=(Remark(name, "as the reader says", serious),))


def made(kind, scale=0.05):
    return lambda p, backbone: module(backbone, kind, scale)


NAN_HEAD = PublishedHead("span", {"out_proj.bias": torch.tensor([0.0, torch.nan])}, None)
QUERY = "encoder.layer.0.attention.self.query"


def silence(tensors):
    tensors[f"{QUERY}.lora_B"].zero_()


def cut(tensors):
    tensors[f"{QUERY}.lora_A"] = torch.ones(4, 8)


def first_layer_only(tensors):
    for name in list(tensors):
        if name.startswith("encoder.layer.1"):
            tensors.pop(name)


# check, verdict, what is done to a sound LoRA, words of what is found
CASES = [
    ("format", "ok", lambda p: p, "AdapterHub directory, version adapters.1.3.0"),
    ("format", "ok", lambda p: with_origin(p, layout="peft", version=None), "not stated"),
    ("format", "note", lambda p: with_origin(p, version=None), "without a version"),
    ("module", "ok", lambda p: with_origin(p, language="de", task="wiki"), "1,024 parameters, language de, "),
    ("backbone", "ok", lambda p: p, "declared: xlm-roberta-base"),
    ("backbone", "ok", lambda p: with_origin(p, backbone=f"{NAME}@main"), "declared"),
    ("backbone", "warning", lambda p: with_origin(p, backbone=None), "declares no backbone"),
    ("backbone", "warning", lambda p: with_origin(p, backbone="/content/drive/xlmr"), "only the shape fits"),
    ("backbone", "warning", lambda p: with_origin(p, backbone="checkpoint"), "declares 'checkpoint'"),
    ("backbone", "warning", lambda p: with_origin(p, backbone="./xlmr"), "only the shape fits"),
    ("backbone", "warning", lambda p: with_origin(p, backbone="models/xlm-roberta-base"), "only the shape fits"),
    ("backbone", "unsafe", lambda p: with_origin(p, backbone="xlm-roberta-large"), "contradicts"),
    ("backbone", "unsafe", lambda p: with_origin(p, backbone="cardiffnlp/twitter-xlm-roberta-base"), "contradicts"),
    ("backbone", "unsafe", lambda p: with_origin(p, backbone="roberta-base"), "no XLM-R"),
    ("backbone", "unsafe", lambda p: with_origin(p, backbone="google-bert/bert-base-multilingual-cased"), "no XLM-R"),
    ("backbone", "unsafe", lambda p: with_origin(p, model_type="roberta"), "model type roberta"),
    ("backbone", "unsafe", lambda p: with_origin(p, fingerprint="0" * 64), "another xlm-roberta-base"),
    ("scaling", "ok", lambda p: p, "as the file states it"),
    ("scaling", "note", remarked("scaling"), "as the reader says"),
    ("activation", "ok", lambda p: p, "none"),
    ("activation", "note", remarked("activation"), "as the reader says"),
    ("precision", "note", remarked("precision"), "as the reader says"),
    ("settings", "note", remarked("settings"), "as the reader says"),
    ("keys", "warning", remarked("keys", True), "as the reader says"),
    ("below", "warning", remarked("below", True), "as the reader says"),
    ("head", "ok", lambda p: p, "none"),
    ("head", "ok", lambda p: dataclasses.replace(p, head=head(("a", "b", "c"))), "tagging, 3 outputs: a, b, c"),
    ("head", "note", lambda p: dataclasses.replace(p, head=head(None)), "which it does not name"),
    ("head", "note", remarked("head"), "as the reader says"),
    ("head", "warning", lambda p: dataclasses.replace(p, head=head(("a", "b"))), "but 2 labels"),
    ("licence", "ok", lambda p: p, "apache-2.0"),
    ("licence", "warning", lambda p: with_origin(p, licence=None), "not stated"),
    ("tokenizer", "ok", lambda p: p, "none declared"),
    ("tokenizer", "ok", lambda p: with_origin(p, layout="bundle"), "part of the backbone's fingerprint"),
    ("layers", "ok", lambda p: p, "2"),
    ("layers", "unsafe", lambda p: dataclasses.replace(p, layers=12), "made for 12 layers, the backbone has 2"),
    ("hidden size", "ok", lambda p: p, "32"),
    ("hidden size", "ok", lambda p: with_origin(p, hidden_size=None), "32"),
    ("hidden size", "unsafe", lambda p: dataclasses.replace(p, hidden=768), "states of 768 units"),
    ("hidden size", "unsafe", lambda p: with_origin(p, hidden_size=768), "declares 768"),
    ("numbers", "ok", lambda p: p, "all finite"),
    ("numbers", "unsafe", lambda p: scaled(p, torch.nan, QUERY), f"2 tensors, such as {QUERY}.lora_A"),
    ("numbers", "unsafe", lambda p: scaled(p, torch.inf), "NaN or infinity"),
    ("numbers", "unsafe", lambda p: dataclasses.replace(p, head=NAN_HEAD), "NaN"),
    ("tensors", "ok", lambda p: p, "all 8"),
    ("tensors", "unsafe", lambda p: with_tensors(p, lambda t: t.pop(f"{QUERY}.lora_A")), "lacks 1"),
    ("tensors", "unsafe", lambda p: with_tensors(p, first_layer_only), "lacks 4"),
    ("tensors", "unsafe", lambda p: with_tensors(p, lambda t: t.update(x=torch.ones(1))), "has unexpected 1"),
    ("shapes", "ok", lambda p: p, "those of the backbone"),
    ("shapes", "unsafe", lambda p: with_tensors(p, cut), "(4, 8), not (4, 32)"),
    ("deltas", "ok", lambda p: p, "of the weights it changes"),
    ("deltas", "note", lambda p: with_tensors(p, silence), "zero in 1 of 4"),
    ("deltas", "warning", lambda p: scaled(p, 0.0), "zero everywhere"),
    ("deltas", "warning", lambda p: scaled(p, 20.0), "of the weights it changes"),
    ("deltas", "unsafe", lambda p: scaled(p, 1e4), "of the weights it changes"),
    ("probe", "ok", lambda p: p, "6 languages"),
]  # fmt: skip

# the same of the other kinds, and what needs a kind of its own
KIND_CASES = [
    *((check, "ok", made(kind), "") for kind in KINDS for check in ("tensors", "shapes", "deltas", "probe")),
    *(("deltas", "warning", made(kind, 0.0), "zero everywhere") for kind in KINDS if kind != "head"),
    ("deltas", "unsafe", lambda p, b: scaled(module(b, "dora"), 1e5, ".magnitude"), "weights"),
    ("deltas", "unsafe", lambda p, b: scaled(module(b, "ia3"), 1e3, ".scale"), "weights"),
    ("deltas", "unsafe", lambda p, b: scaled(module(b, "full"), 1e3, ".weight"), "weights"),
    ("deltas", "unsafe", lambda p, b: scaled(module(b, "bottleneck"), 1e5, ".up.weight"), "of the states it changes"),
    ("deltas", "warning", lambda p, b: scaled(module(b, "bottleneck"), 80.0, ".up.weight"), "of the states it changes"),
    ("probe", "unsafe", lambda p, b: scaled(module(b, "bottleneck"), 1e38, ".F.2.weight"), "not finite"),
    ("shapes", "unsafe", lambda p, b: dataclasses.replace(
        p, method=AdapterConfig(kind="bottleneck", options={"where": "output", "leave_out": (7,)})), "leave_out"),
    ("activation", "ok", lambda p, b: module(b, "bottleneck"), "relu"),
    ("backbone", "ok", lambda p, b: with_origin(p, fingerprint=b.fingerprint, backbone=None), "certain"),
]  # fmt: skip


@pytest.fixture
def named(backbone):
    return dataclasses.replace(backbone, name=NAME)


def found(checks, name):
    return [check for check in checks if check.name == name]


@pytest.mark.parametrize(("name", "verdict", "change", "words"), CASES)
def test_a_check_has_its_verdict(named, tmp_path, name, verdict, change, words):
    (check,) = found(diagnose(change(module(named)), tmp_path, named), name)
    assert (check.verdict, words in check.found) == (verdict, True), check


@pytest.mark.parametrize(("name", "verdict", "change", "words"), KIND_CASES)
def test_a_check_has_its_verdict_in_every_kind(named, tmp_path, name, verdict, change, words):
    (check,) = found(diagnose(change(module(named), named), tmp_path, named), name)
    assert (check.verdict, words in check.found) == (verdict, True), check


def test_every_verdict_is_seen():
    assert len(CASES) == 56 and len(KIND_CASES) == 38
    assert len({(name, verdict) for name, verdict, *_ in (*CASES, *KIND_CASES)}) == 36


def test_a_sound_module_is_sound_in_everything(named, tmp_path):
    checks = diagnose(module(named), tmp_path, named)
    assert {check.verdict for check in checks} == {"ok"}
    assert len({check.name for check in checks}) == len(checks) == 15


def test_what_was_zero_in_the_backbone_outweighs_nothing(named, tmp_path, monkeypatch):
    """XLM-R's own token types are zero; full fine-tuning changes them."""
    encoder = load_encoder(named)
    with torch.no_grad():
        encoder.embeddings.token_type_embeddings.weight.zero_()
    published = module(named, "full")
    monkeypatch.setattr("xstilts.doctor.weights.load_encoder", lambda backbone: encoder)
    (check,) = found(diagnose(published, tmp_path, named), "deltas")
    assert check.verdict == "ok"


def test_a_local_backbone_has_no_name_to_compare(backbone, tmp_path):
    (check,) = found(diagnose(module(backbone), tmp_path, backbone), "backbone")
    assert check.verdict == "warning" and backbone.name in check.found


def test_the_tokenizer_beside_a_module_is_compared(named, tmp_path):
    for content, verdict in ((Path(named.path, "tokenizer.json").read_bytes(), "ok"), (b"{}", "warning")):
        (tmp_path / "tokenizer.json").write_bytes(content)
        (check,) = found(diagnose(module(named), tmp_path, named), "tokenizer")
        assert check.verdict == verdict


@pytest.mark.parametrize(
    ("card", "verdict", "words"),
    [
        ("---\nlicense: mit\n---\n# x", "ok", "mit"),
        ("---\nlicense: other\nlicense_name: our-own\n---\n", "ok", "our-own"),
        ("---\nlicense: [mit, cc0]\n---\n", "ok", "mit, cc0"),
        ("---\nlicense: {a: b}\n---\n", "warning", "not stated"),
        ("---\nlicense: mit\n", "warning", "not stated"),
        ("---\n: : {\n---\n", "warning", "not stated"),
        ("license: mit", "warning", "not stated"),
        ("", "warning", "not stated"),
    ],
)
def test_the_licence_is_that_of_the_card(named, tmp_path, card, verdict, words):
    (tmp_path / "README.md").write_text(card)
    published = with_origin(module(named), licence=None)
    (check,) = found(diagnose(published, tmp_path, named), "licence")
    assert (check.verdict, check.found) == (verdict, words)


def test_the_backbone_s_file_is_not_touched(named, tmp_path):
    before = load_encoder(named).state_dict()
    for kind in KINDS:
        diagnose(module(named, kind), tmp_path, named)
    after = load_encoder(named).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---------------------------------------------------------------------------------------------------------- oracles


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("options", [{"rank": 4}, {"rank": 2, "alpha": 3.0, "targets": ("query", "output")}])
def test_sizes_are_those_of_the_weights_that_peft_merges(backbone, kind, options):
    published = module(backbone, kind, 0.3, options)
    encoder, names = attached(backbone, kind, options)
    base = dict(load_encoder(backbone).named_parameters())
    with torch.no_grad():
        for stored, name in names.items():
            encoder.get_parameter(name).copy_(published.tensors[stored])
    size = sizes.of_weights(published, base)
    assert len(size) == 4
    for path, relative in size.items():
        layer = encoder.get_submodule(path)
        layer.merge()
        weight = base[f"{path}.weight"]
        merged = layer.get_base_layer().weight
        assert relative == pytest.approx(float(((merged - weight).norm() / weight.norm()).detach()), rel=1e-4)


def test_rank_stabilised_lora_is_scaled_by_the_root(backbone):
    base = dict(load_encoder(backbone).named_parameters())
    plain_size = sizes.of_weights(module(backbone, "lora", 0.3, {"rank": 4}), base)
    stable = sizes.of_weights(module(backbone, "lora", 0.3, {"rank": 4, "rank_stabilised": True}), base)
    assert all(stable[path] == pytest.approx(2 * plain_size[path]) for path in plain_size)


def test_sizes_of_states_are_what_the_library_adds(backbone):
    encoder, names = attached(backbone, "bottleneck", KINDS["bottleneck"])
    published = module(backbone, "bottleneck", 0.3)
    with torch.no_grad():
        for stored, name in names.items():
            encoder.get_parameter(name).copy_(published.tensors[stored])
    load_method("bottleneck").activate(encoder, (("m",),))
    seen = {}
    for layer in range(2):
        adapter = encoder.encoder.layer[layer].output.adapters["m"]

        def watch(_, arguments, output, layer=layer):
            seen[f"encoder.layer.{layer}.output"] = float(output[2].norm() / arguments[0].norm())

        adapter.register_forward_hook(watch)
    with torch.no_grad(), sizes.of_states(encoder, names) as size:
        encoder(input_ids=torch.tensor([[0, 5, 6, 7, 2]]))
    assert size.keys() == {*seen, "inverse.F", "inverse.G"}
    assert all(size[path] == pytest.approx(seen[path], rel=1e-5) for path in seen)


# ------------------------------------------------------------------------------------------------------------ shown


def test_the_worst_check_is_the_verdict():
    for worst in range(len(VERDICTS)):
        checks = tuple(Check(f"c{index}", VERDICTS[index], "f", "m") for index in range(worst + 1))
        diagnosis = Diagnosis("x", "mini", checks, None)
        assert diagnosis.verdict == VERDICTS[worst]
        assert diagnosis.sentence.startswith(f"{VERDICTS[worst]}: ")
        assert bool(diagnosis.barred) == (VERDICTS[worst] in ("unsafe", "refused"))
    assert Diagnosis("x", "mini", (), None).verdict == "ok"


def test_machines_get_everything(named, tmp_path):
    published = with_origin(module(named), language="de")
    values = json.loads(json.dumps(plain(Diagnosis("x", NAME, diagnose(published, tmp_path, named), published))))
    assert values["verdict"] == "ok" and len(values["checks"]) == 15
    assert values["module"] == {
        "layout": "adapterhub", "kind": "lora", "options": {"rank": 4}, "layers": 2, "hidden_size": 32,
        "parameters": 1024, "language": "de",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- page


def test_the_page_tells_every_check_and_bound():
    from xstilts.doctor.weights import BOUNDS, SENTENCES

    page = (Path(__file__).parents[2] / "docs" / "published_adapters.md").read_text(encoding="utf-8")
    names = {name for name, *_ in (*CASES, *KIND_CASES)} | {"source", "reading", "files", "pickle", "code", "paths"}
    assert len(names) == 25
    assert not {name for name in names if f"`{name}`" not in page}
    assert not {verdict for verdict in VERDICTS if f"| `{verdict}` |" not in page}
    assert f"above {BOUNDS['weights'][0]:g}: warning | above {BOUNDS['states'][0]:g}: warning" in page
    assert f"above {BOUNDS['weights'][1]:g}: unsafe | above {BOUNDS['states'][1]:g}: unsafe" in page
    assert len(SENTENCES) == 6 and "six sentences" in page
