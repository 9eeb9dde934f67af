import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import XLMRobertaModel, XLMRobertaTokenizerFast

from xstilts import backbone as module
from xstilts.backbone import load_encoder, load_tokenizer, resolve, weights_digest
from xstilts.errors import XstiltsError
from xstilts.formats import Text


@pytest.fixture
def copy(backbone, tmp_path):
    """A copy of the tiny backbone that a test may spoil."""
    target = tmp_path / "copy"
    shutil.copytree(backbone.path, target)
    return target


def reconfigure(directory: Path, **changes) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | changes))


def rewrite(directory: Path, change) -> None:
    path = directory / "model.safetensors"
    save_file({name: t.contiguous() for name, t in change(load_file(path)).items()}, path)


def outputs(encoder):
    ids = torch.tensor([[0, 5, 6, 7, 2, 1], [0, 8, 9, 10, 11, 2]])
    with torch.inference_mode():
        return encoder.eval()(ids, attention_mask=(ids != 1).long()).last_hidden_state


# ---------------------------------------------------------------------------------------------------------- resolve


def test_resolve_tells_layers_and_name(backbone):
    assert (
        backbone.layers == 2 and backbone.name == f"tiny-{backbone.fingerprint[:8]}" and len(backbone.fingerprint) == 64
    )


def test_the_fingerprint_is_of_the_content(backbone, copy):
    assert resolve(str(copy)).fingerprint == backbone.fingerprint
    (copy / "README.md").write_text("nothing that is read")
    assert resolve(str(copy)).fingerprint == backbone.fingerprint
    for file in module.FILES:
        (copy / file).write_bytes((copy / file).read_bytes() + b" ")
        changed = resolve(str(copy)).fingerprint
        assert changed != backbone.fingerprint
        (copy / file).write_bytes((Path(backbone.path) / file).read_bytes())


@pytest.mark.parametrize("file", module.FILES)
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(XstiltsError, match=f"lacks {file}"):
        resolve(str(copy))


def test_pickled_weights_are_never_read(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(XstiltsError, match=r"pickled weights \(pytorch_model.bin\) are never read"):
        resolve(str(copy))


@pytest.mark.parametrize("name", ["minni", "no/such/directory", "./nowhere", "/nowhere", ""])
def test_a_name_that_is_nothing_is_told(name):
    with pytest.raises(XstiltsError, match="neither a directory nor a hub id"):
        resolve(name)


def test_the_nearest_name_is_suggested():
    with pytest.raises(XstiltsError, match="did you mean 'mini'"):
        resolve("minni")


def test_an_unreachable_hub_is_one_clear_error(tmp_path):
    """In a process of its own, because the hub's client reads its settings when it is imported."""
    program = (
        "from xstilts.backbone import resolve\nfrom xstilts.errors import XstiltsError\n"
        "try:\n    resolve('FacebookAI/xlm-roberta-base@main')\nexcept XstiltsError as error:\n    print(error)"
    )
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=settings, check=True)
    assert shown.stdout.startswith(
        "hub: FacebookAI/xlm-roberta-base at main: cannot be downloaded (--backbone also reads"
    )
    assert "HF_HUB_OFFLINE forbids to ask the hub" in shown.stdout and shown.stdout.count("\n") == 1


def test_the_hub_is_asked_for_three_files_and_a_revision(monkeypatch, copy):
    asked = {}

    def download(repo, repo_type, revision, allow_patterns):
        asked.update(repo=repo, kind=repo_type, revision=revision, patterns=allow_patterns)
        return str(copy)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    found = resolve("org/name@abc123")
    assert asked == {"repo": "org/name", "kind": "model", "revision": "abc123", "patterns": list(module.FILES)}
    assert (found.name, found.path) == ("org/name@abc123", str(copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, r"model_type: .*'xlm-roberta'.*given 'bert'"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"hidden_act": "my_module.act"}, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"pad_token_id": 0}, "pad_token_id"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
        ({"num_attention_heads": 3}, "multiple of num_attention_heads"),
    ],
)
def test_a_config_that_is_not_plain_xlmr_is_refused(copy, change, message):
    reconfigure(copy, **change)
    with pytest.raises(XstiltsError, match=message):
        resolve(str(copy))


def test_several_problems_of_a_config_are_told_at_once(copy):
    reconfigure(copy, model_type="bert", vocab_size=-1)
    with pytest.raises(XstiltsError) as caught:
        resolve(str(copy))
    assert len(caught.value.problems) == 2


def test_a_config_that_is_not_json_is_refused(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(XstiltsError, match="is not JSON"):
        resolve(str(copy))


# ----------------------------------------------------------------------------------------------------------- encoder


def test_the_encoder_computes_what_the_library_computes(backbone):
    reference = XLMRobertaModel.from_pretrained(backbone.path, add_pooling_layer=False)
    assert torch.equal(outputs(load_encoder(backbone)), outputs(reference))


def test_names_of_code_and_kernels_in_a_config_are_ignored(copy):
    plain = outputs(load_encoder(resolve(str(copy))))
    reconfigure(
        copy,
        auto_map={"AutoModel": "evil.Evil"},
        attn_implementation="org/kernel",
        _attn_implementation="flash_attention_2",
        _attn_implementation_internal="org/kernel",
        is_decoder=True,
        torch_dtype="float16",
        output_attentions=True,
    )
    encoder = load_encoder(resolve(str(copy)))
    assert torch.equal(outputs(encoder), plain)
    assert encoder.config._attn_implementation == "sdpa" and not encoder.config.is_decoder


def test_a_checkpoint_of_the_whole_model_is_read(copy, backbone):
    def as_masked_lm(tensors):
        extra = {"lm_head.bias": torch.zeros(300), "roberta.pooler.dense.weight": torch.zeros(32, 32)}
        constant = {"roberta.embeddings.position_ids": torch.arange(66)}
        return {f"roberta.{name}": tensor for name, tensor in tensors.items()} | extra | constant

    rewrite(copy, as_masked_lm)
    assert torch.equal(outputs(load_encoder(resolve(str(copy)))), outputs(load_encoder(backbone)))


def test_half_precision_weights_become_fp32(copy, backbone):
    rewrite(copy, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    encoder = load_encoder(resolve(str(copy)))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert torch.allclose(outputs(encoder), outputs(load_encoder(backbone)), atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {n: v for n, v in t.items() if "layer.1.output.dense.bias" not in n}, "layer.1.output.dense.bias"),
        (lambda t: {**t, "encoder.layer.2.output.dense.bias": torch.zeros(32)}, "layer.2.output.dense.bias"),
        (lambda t: {**t, "embeddings.LayerNorm.bias": torch.zeros(31)}, "embeddings.LayerNorm.bias"),
        (lambda t: {f"bert.{n}": v for n, v in t.items()}, "does not fit its config.json"),
        (lambda t: {**t, "embeddings.LayerNorm.bias": torch.full((32,), float("nan"))}, "not finite"),
        (lambda t: {**t, "embeddings.LayerNorm.bias": torch.zeros(32, dtype=torch.int32)}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, change, message):
    rewrite(copy, change)
    with pytest.raises(XstiltsError, match=message):
        load_encoder(resolve(str(copy)))


def test_unreadable_weights_are_refused(copy):
    (copy / "model.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(XstiltsError, match="not a readable safetensors file"):
        load_encoder(resolve(str(copy)))


def test_files_that_change_after_planning_are_noticed(copy):
    found = resolve(str(copy))
    rewrite(copy, lambda tensors: {name: tensor + 1e-3 for name, tensor in tensors.items()})
    with pytest.raises(XstiltsError, match="changed since the study was planned"):
        load_encoder(found)


def test_a_large_encoder_is_not_kept_beside_the_model(copy, monkeypatch):
    found = resolve(str(copy))
    expected = load_encoder(found).state_dict()
    module._encoder_tensors.cache_clear()
    monkeypatch.setattr(module, "LARGE", 0)
    encoder = load_encoder(found)
    assert module._encoder_tensors.cache_info().currsize == 0
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())
    rewrite(copy, lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())
    with pytest.raises(XstiltsError, match="changed since the study was planned"):
        load_encoder(found)


def test_two_encoders_share_nothing(backbone):
    first = load_encoder(backbone)
    before = outputs(load_encoder(backbone))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert torch.equal(outputs(load_encoder(backbone)), before)


# --------------------------------------------------------------------------------------------------------- tokenizer

TEXTS = (
    "the red dog",
    "北京大学 在 北京",
    "สวัสดีครับ",
    "وَلَد ٢٠٢٠",
    "ﬁne ½ cafe\u0301",
    "",
    "  two  spaces ",
    "\u200b",
)


def test_special_tokens_are_not_read_out_of_a_text(backbone):
    ids = Text(load_tokenizer(backbone), 64, 8).ids(["a <pad> b </s> <s> <mask>"])[0]
    assert not set(ids.tolist()) & {0, 1, 2}


def test_token_ids_are_those_of_the_usual_class(backbone):
    usual = XLMRobertaTokenizerFast(tokenizer_file=str(Path(backbone.path) / "tokenizer.json"))
    text = Text(load_tokenizer(backbone), 64, 8)
    for first in TEXTS:
        assert text.row(text.ids([first])[0]).ids.tolist() == usual(first)["input_ids"]
        pair = text.row(*text.ids([first, "near the house"]))
        assert pair.ids.tolist() == usual(first, "near the house")["input_ids"]


def test_truncation_is_that_of_the_usual_class(backbone):
    usual = XLMRobertaTokenizerFast(tokenizer_file=str(Path(backbone.path) / "tokenizer.json"))
    text = Text(load_tokenizer(backbone), 16, 8)
    long, longer, short = "the old dog " * 6, "near the river " * 9, "red cat"
    for first, second in [(long, longer), (longer, long), (short, longer), (longer, short), (short, short)]:
        row = text.row(*text.ids([first, second]))
        expected = usual(first, second, truncation="longest_first", max_length=16)["input_ids"]
        assert len(row.ids) == len(expected) and row.cut == (len(usual(first, second)["input_ids"]) > 16)
        assert row.ids.tolist() == expected


def test_saved_truncation_and_padding_are_switched_off(copy):
    tokenizer = load_tokenizer(resolve(str(copy)))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(copy / "tokenizer.json"))
    load_tokenizer.cache_clear()
    assert len(load_tokenizer(resolve(str(copy))).encode("the red dog runs to the blue house").ids) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"<pad>"', '"[PAD]"'), "must be the tokens 0 1 2 3"),
        (lambda text: text[:-9], "cannot be read"),
    ],
)
def test_a_foreign_tokenizer_is_refused(copy, change, message):
    path = copy / "tokenizer.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(XstiltsError, match=message):
        load_tokenizer(resolve(str(copy)))


def test_more_tokens_than_embeddings_are_refused(copy):
    reconfigure(copy, vocab_size=100)
    with pytest.raises(XstiltsError, match="the encoder has embeddings for 100"):
        load_tokenizer(resolve(str(copy)))


# ------------------------------------------------------------------------------------------------------------ digest


def test_the_digest_sees_names_and_every_bit(backbone):
    tensors = dict(load_encoder(backbone).named_parameters())
    digest = weights_digest(tensors)
    assert digest == weights_digest(dict(reversed(tensors.items())))
    renamed = {("x" + name if "word" in name else name): tensor for name, tensor in tensors.items()}
    assert weights_digest(renamed) != digest
    with torch.no_grad():
        weight = tensors["encoder.layer.1.output.dense.weight"]
        weight[3, 4] = torch.nextafter(weight[3, 4], torch.tensor(9.0))
    assert weights_digest(tensors) != digest
