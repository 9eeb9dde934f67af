from pathlib import Path

import pytest

from tests.exchange.test_files import snapshot
from xstilts import exchange, hub
from xstilts.errors import XstiltsError


@pytest.fixture
def asked(monkeypatch, tmp_path, language_adapter):
    """The hub as one snapshot, and what it was asked for."""
    folder = snapshot(tmp_path, language_adapter)
    calls = []

    def give(kind, repo, revision, patterns, instead):
        calls.append((kind, repo, revision, patterns))
        return folder

    monkeypatch.setattr(hub, "snapshot", give)
    return calls


def test_a_directory_is_where_it_is(language_adapter):
    assert exchange.locate(str(language_adapter)) == language_adapter
    assert exchange.load(str(language_adapter)).origin.name == "en"


def test_a_hub_id_is_asked_for_and_read_through_its_links(asked):
    published = exchange.load("AdapterHub/xlm-roberta-base-en-wiki_pfeiffer@abc")
    assert published.origin.name == "en"
    kind, repo, revision, patterns = asked[0]
    assert (kind, repo, revision) == ("model", "AdapterHub/xlm-roberta-base-en-wiki_pfeiffer", "abc")
    assert {"adapter_config.json", "pytorch_adapter.bin", "adapter_model.safetensors", "manifest.json"} <= set(patterns)
    assert not [pattern for pattern in patterns if "*" in pattern]
    exchange.locate("a/b")
    assert asked[1][2] is None


@pytest.mark.parametrize("source", ["", "nothing", "a/b/c", "../x/y", "/etc/x", "./a"])
def test_anything_else_is_refused(asked, source):
    with pytest.raises(XstiltsError, match="neither a directory nor a hub id"):
        exchange.locate(source)
    assert not asked


def test_an_empty_directory_is_no_module(tmp_path):
    (tmp_path / "empty").mkdir()
    for call in (exchange.layout, exchange.read):
        with pytest.raises(XstiltsError, match="is no published module"):
            call(tmp_path / "empty")
    with pytest.raises(XstiltsError, match="is not a directory"):
        exchange.read(Path(tmp_path / "nowhere"))


def test_a_bundle_is_told_by_its_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    assert exchange.layout(tmp_path) == "bundle"
