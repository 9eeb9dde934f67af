"""Fingerprints that are remembered: never one of rows that have changed."""

import json
import os
import time
from dataclasses import replace

import pytest

from xstilts.data import Sources, fingerprint, identify, identity, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Example, GeneratedData, Task, TextPair, UserData, UserPart

LATER = 10 * 10**9  # nanoseconds


@pytest.fixture
def settled(monkeypatch):
    """Let files that this test writes count as old."""
    monkeypatch.setattr(identity, "STARTED", time.time_ns() + 1000 * LATER)


@pytest.fixture
def reads(monkeypatch):
    """Counts how often rows are read."""
    calls = []

    def counting(*arguments):
        calls.append(arguments)
        return load_examples(*arguments)

    monkeypatch.setattr(identity, "load_examples", counting)
    return calls


def take(task, mirror, languages=("en",), memory="memory", splits=("test",), translation=None, **sources):
    where = replace(mirror.sources, **sources)
    return identify(task, splits, languages, translation, where, mirror.root.parent / memory)


def test_the_second_time_nothing_is_read(topics, mirror, settled, reads):
    mirror.write("en")
    first = take(topics(), mirror)
    assert first == (fingerprint(load_examples(topics(), "test", ("en",), mirror.sources)), 3)
    assert take(topics(), mirror) == first and len(reads) == 1


def test_no_directory_no_memory(topics, mirror, settled, reads):
    mirror.write("en")
    found = [identify(topics(), ("test",), ("en",), None, mirror.sources, None) for _ in range(2)]
    assert found[0] == found[1] and len(reads) == 2


def test_all_languages_and_splits_are_one_after_another(topics, mirror, part, settled):
    for config in ("en", "de"):
        mirror.write(config, "test")
        mirror.write(config, "dev")
    task = topics(*(part(language, split=split) for split in ("test", "dev") for language in ("en", "de")))
    rows = [row for split in ("dev", "test") for row in load_examples(task, split, ("en", "de"), mirror.sources)]
    for _ in range(2):
        assert take(task, mirror, (), splits=("dev", "test")) == (fingerprint(rows), 12)


def test_files_that_are_younger_than_the_process_are_not_remembered(topics, mirror, reads):
    """Rows are read once per process, so they may be older than such a file."""
    mirror.write("en")
    take(topics(), mirror)
    take(topics(), mirror)
    assert len(reads) == 2 and not (mirror.root.parent / "memory").exists()


@pytest.mark.parametrize("large", [True, False])
def test_a_changed_file_is_seen(large, topics, mirror, settled, monkeypatch, reads):
    monkeypatch.setattr(identity, "LARGE", 0 if large else 2**20)
    monkeypatch.setattr(identity, "SETTLED", 0)
    path = mirror.write("en", rows=[{"id": 0, "text": "one", "label": 0}])
    time.sleep(0.05)
    first = take(topics(), mirror)
    assert len(list((mirror.root.parent / "memory" / "files").glob("*"))) == 2 * large  # with the header
    before = path.stat()
    mirror.write("en", rows=[{"id": 0, "text": "two", "label": 0}])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert take(topics(), mirror).fingerprint != first.fingerprint
    assert len(reads) == 2


def test_the_hash_of_a_file_that_may_still_change_is_not_remembered(topics, mirror, settled, monkeypatch):
    monkeypatch.setattr(identity, "LARGE", 0)
    mirror.write("en")
    take(topics(), mirror)
    assert not (mirror.root.parent / "memory" / "files").exists()
    assert len(list((mirror.root.parent / "memory" / "rows").glob("*"))) == 1


def test_a_file_that_changes_while_it_is_read_is_not_remembered(topics, mirror, settled, monkeypatch):
    mirror.write("en")

    def changing(*arguments):
        rows = load_examples(*arguments)
        mirror.write("en", rows=5)
        return rows

    monkeypatch.setattr(identity, "load_examples", changing)
    assert take(topics(), mirror).rows == 3
    monkeypatch.undo()
    assert take(topics(), mirror).rows == 5


def test_everything_that_decides_the_rows_counts(topics, mirror, part, settled, reads, monkeypatch):
    mirror.write("en")
    mirror.write("de")
    task = topics()
    subsets = frozenset({"topics"})
    asked = [
        lambda: take(task, mirror),
        lambda: take(task, mirror, ("de",)),
        lambda: take(task, mirror, ("de", "en")),
        lambda: take(replace(task, version=2), mirror),
        lambda: take(replace(task, labels=("art", "sport")), mirror),
        lambda: take(topics(part("en", rows=3), part("de")), mirror),
        lambda: take(task, mirror, subsets=subsets),
    ]
    for number, each in enumerate(asked, 1):
        assert each() == each() and len(reads) == number
    mirror.write_header("license: mit")
    take(task, mirror)
    assert len(reads) == len(asked) + 1
    monkeypatch.setattr(identity, "_code", lambda: "another version")
    take(task, mirror)
    assert len(reads) == len(asked) + 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"value": ["0", 3]}', '{"value": ["0", 3], "sha256": ""}'])
def test_a_damaged_memory_is_not_believed(content, topics, mirror, settled):
    mirror.write("en")
    first = take(topics(), mirror)
    (path,) = (mirror.root.parent / "memory" / "rows").glob("*")
    path.write_text(content)
    assert take(topics(), mirror) == first
    assert json.loads(path.read_text())["value"] == list(first)


def test_the_memory_of_other_rows_is_not_believed(topics, mirror, settled):
    mirror.write("en")
    mirror.write("de", rows=4)
    take(topics(), mirror, ("de",), memory="other")
    first = take(topics(), mirror)
    (path,), (other,) = ((mirror.root.parent / name / "rows").glob("*") for name in ("memory", "other"))
    path.write_bytes(other.read_bytes())
    assert take(topics(), mirror) == first


def test_a_memory_that_cannot_be_written(topics, mirror, settled):
    mirror.write("en")
    (mirror.root.parent / "memory").touch()
    assert take(topics(), mirror).rows == 3


def test_what_cannot_be_had_is_told_by_the_loader_for_all_splits(topics, mirror, part, settled):
    mirror.write("en", "test")
    task = topics(part("en", split="dev"), part("en", split="test", rows=7))
    with pytest.raises(XstiltsError) as caught:
        take(task, mirror, splits=("dev", "test"))
    assert len(caught.value.problems) == 2
    with pytest.raises(XstiltsError):
        take(task, mirror, splits=("dev", "test"))


def test_a_shard_that_is_added_is_seen(topics, mirror, settled):
    path = mirror.write("en")
    first = take(topics(), mirror)
    path.with_name("test-extra.parquet").write_bytes(path.read_bytes())
    with pytest.raises(XstiltsError, match="given twice"):
        take(topics(), mirror)
    path.with_name("test-extra.parquet").unlink()
    assert take(topics(), mirror) == first


# ------------------------------------------------------------------------------------------- other kinds of data


def read_lines(path, part):
    for number, line in enumerate(path.read_text().splitlines()):
        yield Example(str(number), part.language, str(number), TextPair(line), "a")


@pytest.fixture
def own(tmp_path):
    """A task over the user's files, which is also trained on."""
    (tmp_path / "files" / "own").mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "files" / "own" / f"{split}.txt").write_text("one\ntwo\n")
    parts = tuple(UserPart(split, "en", f"own/{split}.txt") for split in ("train", "test"))
    task = Task("own", 1, "classification", "accuracy", UserData(parts, "Write it.", read_lines), ("a", "b"))
    return task, Sources(files=tmp_path / "files"), tmp_path / "memory"


def test_user_files(own, settled, reads):
    task, sources, memory = own
    first = identify(task, ("test",), (), None, sources, memory)
    assert identify(task, ("test",), (), None, sources, memory) == first and len(reads) == 1
    (sources.files / "own" / "test.txt").write_text("one\nsix\n")
    changed = identify(replace(task), ("test",), (), None, sources, memory)
    assert changed.fingerprint != first.fingerprint and changed.rows == 2


def test_a_file_beside_those_of_the_task_counts(own, settled, reads):
    """A task's own reading may open it, as parallel corpora do."""
    task, sources, memory = own
    first = identify(task, ("test",), (), None, sources, memory)
    (sources.files / "own" / "more").mkdir()
    (sources.files / "own" / "more" / "labels.txt").write_text("a")
    assert identify(task, ("test",), (), None, sources, memory) == first and len(reads) == 2
    (sources.files / "other").mkdir()
    (sources.files / "other" / "labels.txt").write_text("a")
    assert identify(task, ("test",), (), None, sources, memory) == first and len(reads) == 2


def test_files_behind_links_count_and_links_may_go_round(own, settled, tmp_path, reads):
    task, sources, memory = own
    (tmp_path / "elsewhere").mkdir()
    (sources.files / "own" / "link").symlink_to(tmp_path / "elsewhere")
    (sources.files / "own" / "round").symlink_to(sources.files / "own")
    identify(task, ("test",), (), None, sources, memory)
    (tmp_path / "elsewhere" / "labels.txt").write_text("a")
    for _ in range(2):
        identify(task, ("test",), (), None, sources, memory)
    assert len(reads) == 2


def test_user_files_that_are_not_there(own, settled):
    task, sources, memory = own
    (sources.files / "own" / "test.txt").unlink()
    with pytest.raises(XstiltsError, match="Write it"):
        identify(task, ("test",), (), None, sources, memory)


def test_a_translation_counts(own, settled, monkeypatch):
    task, sources, memory = own
    path = sources.files / "translated" / "own" / "de" / "train.jsonl"
    path.parent.mkdir(parents=True)

    def write(*texts):
        rows = [json.dumps({"item_id": str(number), "first": text}) for number, text in enumerate(texts)]
        path.write_text("\n".join(rows))

    write("eins", "zwei")
    published = identify(task, ("train",), (), None, sources, memory)
    first = identify(task, ("train",), (), "de", sources, memory)
    write("eins", "drei")
    changed = identify(replace(task), ("train",), (), "de", sources, memory)
    assert len({each.fingerprint for each in (published, first, changed)}) == 3
    monkeypatch.setattr(identity, "load_training", None)
    assert identify(task, ("train",), (), "de", sources, memory) == changed


def test_generated_rows_are_made_anew(settled, tmp_path, reads):
    rows = (Example("1", "en", "1", TextPair("x"), "a"),)
    data = GeneratedData({"test": ("en",)}, lambda split, language: rows)
    task = Task("made", 1, "classification", "accuracy", data, ("a",))
    for _ in range(2):
        assert identify(task, ("test",), (), None, Sources(), tmp_path) == (fingerprint(rows), 1)
    assert len(reads) == 2 and not list(tmp_path.iterdir())
