"""The hub's client is replaced by one that serves a folder; the rest of the path is the real one."""

import fnmatch
import os
import shutil

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError


@pytest.fixture
def client(monkeypatch, mirror, tmp_path):
    """Serves ``org/topics`` as the client does: only what is asked for arrives in the cache folder."""
    calls = []
    cache = tmp_path / "cache"

    def snapshot_download(repo_id, *, repo_type, revision, allow_patterns):
        calls.append((repo_id, repo_type, revision, allow_patterns))
        for path in mirror.repo.rglob("*"):
            name = path.relative_to(mirror.repo).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (cache / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cache / name)
        return os.fspath(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_only_the_files_of_the_split_are_asked_for(client, topics, mirror, tmp_path):
    for config in ("en", "de", "fr"):
        mirror.write(config, "test")
        mirror.write(config, "train")
    assert len(load_examples(topics(), "test", ("en", "de"), Sources())) == 6
    repository = ("org/topics", "dataset", "0123abc")
    assert client == [
        (*repository, ["README.md"]),
        (*repository, ["README.md", "en/test-*", "de/test-*"]),
    ]
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 2


def test_repository_without_header(client, topics, mirror):
    mirror.write("en")
    (mirror.repo / "README.md").unlink()
    assert len(load_examples(topics(), "test", ("en",), Sources())) == 3


def test_a_local_directory_of_the_same_name_is_not_read(client, topics, mirror, tmp_path, monkeypatch):
    mirror.write("en", rows=3)
    trap = tmp_path / "here" / "org" / "topics" / "en"
    trap.mkdir(parents=True)
    shutil.copy(mirror.write("trap", rows=9), trap / "test-00000-of-00001.parquet")
    monkeypatch.chdir(tmp_path / "here")
    assert len(load_examples(topics(), "test", ("en",), Sources())) == 3


def test_missing_configs_are_all_named_before_anything_is_fetched(client, topics, mirror):
    mirror.write("fr")
    with pytest.raises(XstiltsError) as caught:
        load_examples(topics(), "test", ("en", "de"), Sources())
    assert [problem.given for problem in caught.value.problems] == ["en", "de"]
    assert len(client) == 1


@pytest.mark.parametrize(
    "error",
    [
        OfflineModeIsEnabled("offline mode\nis enabled"),
        LocalEntryNotFoundError("cannot find the revision on disk"),
        ConnectionError(),
        OSError(28, "No space left on device"),
    ],
)
def test_whatever_the_client_says_is_one_clear_line(monkeypatch, topics, error):
    def snapshot_download(repo_id, **_):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(XstiltsError, match=r"hub: org/topics at 0123abc: cannot be downloaded .*: [^\n]+$"):
        load_examples(topics(), "test", ("en",), Sources())
