import json
import multiprocessing
import os
import signal

import pytest

from xstilts.errors import XstiltsError
from xstilts.store import WEIGHTS, Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def publish(store, key="k", **files):
    directory = store.begin(key)
    (directory / "step.json").write_text(json.dumps({"key": key}))
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    store.publish(key)


def test_a_step_goes_from_to_do_over_partial_to_done(store):
    assert store.state("k") == "to do"
    store.begin("k")
    assert store.state("k") == "partial"
    publish(store, result__json="{}")
    assert store.state("k") == "done"
    assert not store.partial("k").exists()
    assert (store.verified("k") / "result.json").read_text() == "{}"


def test_what_an_interrupted_run_left_is_kept(store):
    (store.begin("k") / "checkpoint").write_text("half way")
    assert (store.begin("k") / "checkpoint").read_text() == "half way"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "a.txt").write_text("changed"), "differs"),
        (lambda d: (d / "a.txt").unlink(), "missing"),
        (lambda d: (d / "files.json").write_text("{"), "files.json"),
        (lambda d: (d / "files.json").unlink(), "files.json"),
        (lambda d: (d / "files.json").write_text("[1]"), "files.json"),
    ],
)
def test_damage_is_told(store, damage, message):
    publish(store, a__txt="content")
    damage(store.directory("k"))
    with pytest.raises(XstiltsError, match=message):
        store.verified("k")


def test_eviction_drops_the_weights_and_nothing_else(store):
    publish(store, encoder__safetensors="weights", result__json="{}")
    assert store.has_weights("k")
    store.evict("k")
    assert not store.has_weights("k")
    assert (store.verified("k") / "result.json").exists()
    publish(store, encoder__safetensors="again", result__json="{}")
    assert (store.directory("k") / WEIGHTS).read_text() == "again"
    assert list((store.root / "partial").iterdir()) == []


def test_one_writer_or_many_readers(store):
    with store.lock("k") as first, store.lock("k") as second, store.lock("other") as other:
        assert (first, second, other) == (True, False, True)
    with store.lock("k", shared=True) as first, store.lock("k", shared=True) as second, store.lock("k") as writer:
        assert (first, second, writer) == (True, True, False)
    with store.lock("k") as again:
        assert again


def _hold(root, ready):
    with Store(root).lock("k"):
        ready.set()
        signal.pause()


def test_a_killed_process_frees_its_lock(store):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(store.root, ready))
    process.start()
    assert ready.wait(30)
    with store.lock("k") as free:
        assert not free
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with store.lock("k") as free:
        assert free


def test_a_path_that_cannot_be_a_store_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XstiltsError, match="the file system refuses"):
        Store(tmp_path / "file" / "store").prepare()


def test_a_full_disk_is_told_and_nothing_is_published(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (store.begin("k") / "a.txt").write_text("content")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(XstiltsError, match="the disk is full"):
        store.publish("k")
    assert store.state("k") == "partial"


def test_a_manifest_is_named_by_study_and_backbone(store):
    assert store.manifest("mini", "FacebookAI/xlm-roberta-base").name == "mini@FacebookAI_xlm-roberta-base.json"


def test_checksums_cover_every_file(store):
    publish(store, a__txt="1", b__txt="2")
    assert set(json.loads((store.directory("k") / "files.json").read_text())) == {"a.txt", "b.txt", "step.json"}


def test_a_directory_that_holds_another_step_is_told(store):
    publish(store, "one")
    store.directory("one").rename(store.directory("two"))
    with pytest.raises(XstiltsError, match="it holds step one"):
        store.verified("two")


def test_the_checkpoint_is_kept_until_publishing_and_not_published(store):
    (store.begin("k") / "checkpoint").mkdir()
    (store.partial("k") / "checkpoint" / "state").write_text("half way")
    publish(store)
    assert sorted(path.name for path in store.directory("k").iterdir()) == ["files.json", "step.json"]


@pytest.mark.parametrize("replaced", [False, True])
def test_what_a_kill_while_replacing_left_aside_is_put_back_or_swept(store, replaced):
    publish(store)
    store.directory("k").rename(store.partial("k.old"))
    if replaced:
        publish(store)
    store.prepare()
    assert store.is_done("k") and not store.partial("k.old").exists()
