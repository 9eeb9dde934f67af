"""Published modules, fetched through the hub's real client from a server that speaks its protocol."""

import warnings

import pytest
import torch

from xstilts.backbone import load_encoder

NAME = "AdapterHub/xlm-roberta-tiny-en-wiki_pfeiffer"


@pytest.fixture
def published(hub, backbone, tmp_path):
    """An AdapterHub language adapter, pickled as the hub's are, and a LoRA of peft, each in a repository."""
    import adapters
    from peft import LoraConfig, get_peft_model

    language = load_encoder(backbone)
    adapters.init(language)
    language.add_adapter("en", config=adapters.BnConfig(mh_adapter=False, output_adapter=True, reduction_factor=2,
                         non_linearity="relu", inv_adapter="nice", inv_adapter_reduction_factor=2))  # fmt: skip
    language.save_adapter(str(tmp_path / "en"), "en")
    lora = get_peft_model(load_encoder(backbone), LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"]))
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft wonders about the base model's name
        lora.save_pretrained(tmp_path / "lora")
    return {
        "language": hub.add("model", NAME, tmp_path / "en", commit="a" * 40),
        "lora": hub.add("model", "someone/my-lora", tmp_path / "lora", commit="b" * 40),
    }


@pytest.fixture
def doctor(against_hub, backbone):
    def call(source, offline=False):
        process = against_hub("experiments/doctor.py", source, "--backbone", backbone.path, offline=offline)
        shown, errors = process.communicate(timeout=120)
        return process.returncode, shown + errors

    return call


@pytest.mark.parametrize("source", [NAME, f"{NAME}@{'a' * 40}", "someone/my-lora"])
def test_a_module_is_taken_from_the_hub_and_then_from_its_cache(published, doctor, source):
    code, shown = doctor(source)
    assert code == 0, shown
    again, offline = doctor(source, offline=True)
    assert again == 0 and offline == shown


@pytest.mark.parametrize(
    "fault",
    ["altered_small", "gated", "private", "down"],
)
def test_what_the_hub_cannot_give_is_refused_in_one_clear_message(published, doctor, fault):
    published["language"].fault = fault
    code, shown = doctor(NAME)
    assert code != 0 and "Traceback" not in shown and NAME in shown


def test_what_is_not_there_is_told(published, doctor):
    code, shown = doctor("AdapterHub/xlm-roberta-tiny-fr-wiki_pfeiffer")
    assert code != 0 and "Traceback" not in shown and "a directory is read as well" in shown
    code, shown = doctor(NAME, offline=True)
    assert code != 0 and "Traceback" not in shown
