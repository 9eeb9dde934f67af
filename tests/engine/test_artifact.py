"""Reading with suspicion is tested in test_compose.py, on the artefacts of a training."""

import pytest
import torch

from xstilts.engine import artifact
from xstilts.errors import XstiltsError


def test_what_is_saved_is_loaded(tmp_path):
    tensors = {"a": torch.randn(3, 2), "b": torch.arange(3), "empty": torch.zeros(0)}
    artifact.save(tmp_path / "x.safetensors", tensors, {"part": "test"})
    found = artifact.load(tmp_path / "x.safetensors", tensors, {"part": "test"})
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert artifact.facts(tmp_path / "x.safetensors") == {"part": "test"}


def test_no_tensors_at_all_are_a_file_too(tmp_path):
    artifact.save(tmp_path / "x.safetensors", {}, {"part": "test"})
    assert artifact.load(tmp_path / "x.safetensors", {}, {"part": "test"}) == {}


def test_saving_replaces_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    artifact.save(path, {"a": torch.zeros(2)}, {})

    def die(tensors, name, facts):
        name.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(artifact, "save_file", die)
        with pytest.raises(KeyboardInterrupt):
            artifact.save(path, {"a": torch.ones(2)}, {})
    assert torch.equal(artifact.load(path, {"a": torch.zeros(2)}, {})["a"], torch.zeros(2))
    artifact.save(path, {"a": torch.ones(2)}, {})
    assert [found.name for found in tmp_path.iterdir()] == ["x.safetensors"]


def test_all_missing_tensors_are_counted_and_some_named(tmp_path):
    artifact.save(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(XstiltsError, match=r"lacks 4 of 5 tensors: t0, t1, t2, …"):
        wanted = {"a": torch.zeros(1)} | {f"t{number}": torch.zeros(1) for number in range(4)}
        artifact.load(tmp_path / "x.safetensors", wanted, {})


def test_a_disk_that_refuses_is_one_clear_error(tmp_path):
    with pytest.raises(XstiltsError, match="cannot be written"):
        artifact.save(tmp_path / "nowhere" / "x.safetensors", {"a": torch.zeros(1)}, {})


def test_the_same_tensors_and_facts_are_the_same_bytes(tmp_path):
    """Wherever and whenever they are written, so that files can be compared by their checksums."""
    facts = {f"fact{number}": "x" for number in range(8)}
    artifact.save(tmp_path / "one", {"a": torch.ones(2), "b": torch.zeros(3)}, facts)
    artifact.save(tmp_path / "two", {"b": torch.zeros(3), "a": torch.ones(2)}, dict(reversed(facts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_tensors_come_one_by_one_and_only_those_with_the_prefix(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {"a.one": torch.ones(2), "a.two": torch.zeros(3), "b.one": torch.full((2,), torch.nan)}
    artifact.save(path, tensors, {})
    wanted = {name: tensors[name] for name in ("a.one", "a.two")}
    found = artifact.stream(path, wanted, {}, "a.")
    assert next(found)[0] == "a.one" and torch.equal(next(found)[1], torch.zeros(3)) and not list(found)
    with pytest.raises(XstiltsError, match=r"lacks 1 of 3 tensors: a\.three"):
        next(artifact.stream(path, {**wanted, "a.three": torch.zeros(1)}, {}, "a."))
    with pytest.raises(XstiltsError, match=r"holds unexpected 1 of 1 tensors: a\.two"):
        next(artifact.stream(path, {"a.one": torch.ones(2)}, {}, "a."))
    with pytest.raises(XstiltsError, match="NaN"):
        next(artifact.stream(path, {"b.one": torch.ones(2)}, {}, "b."))
