"""Directories saved by the real libraries."""

import pytest

from tests.exchange.workshop import save_adapter, save_peft


@pytest.fixture
def published_lora(tmp_path):
    import peft

    directory = tmp_path / "lora"
    save_peft(directory, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"]))
    return directory


@pytest.fixture
def language_adapter(tmp_path):
    import adapters

    directory = tmp_path / "en"
    save_adapter(directory, adapters.SeqBnInvConfig(reduction_factor=2))
    return directory
