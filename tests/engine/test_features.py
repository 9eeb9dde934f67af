"""The cache of features: what comes out of it is what went in, or it is made again."""

import dataclasses
import json
import multiprocessing
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.batches import Feature, Packed, collate, lengths, sorted_batches
from xstilts.engine import features
from xstilts.engine.features import encode_cached
from xstilts.formats import Text, encode

FORMATS = ("classification", "tagging", "span", "choice", "retrieval")


def same(one, two):
    """Whether two sequences of features are equal, types included."""
    assert len(one) == len(two)
    for first, second in zip(one, two, strict=True):
        assert type(first.example) is type(second.example) and first.example == second.example
        arrays = [(*first.rows, first.targets, first.anchors), (*second.rows, second.targets, second.anchors)]
        for left, right in zip(*arrays, strict=True):
            assert left.dtype == right.dtype and np.array_equal(left, right)
    return True


def refuse(*_):
    raise AssertionError("must not be encoded again")


def only_file(directory):
    (path,) = directory.glob("*.safetensors")
    return path


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_read_is_what_was_encoded(format_name, toys, text, tmp_path, monkeypatch):
    task, examples = toys.task(format_name), toys.examples(format_name, 40)
    plain = encode(task, examples, text(16))
    made = encode_cached(task, examples, text(16), tmp_path)
    monkeypatch.setattr(features, "encode", refuse)
    read = encode_cached(task, examples, text(16), tmp_path)
    assert same(plain.features, made.features) and same(plain.features, read.features)
    assert plain.truncated == made.truncated == read.truncated
    assert lengths(read.features).tolist() == lengths(plain.features).tolist()


def test_all_of_a_feature_is_kept():
    """A new field of ``Feature`` must be packed, too."""
    assert [field.name for field in dataclasses.fields(Feature)] == ["example", "rows", "targets", "anchors"]


def test_without_a_directory_there_is_no_cache(toys, text):
    encoded = encode_cached(toys.task("choice"), toys.examples("choice", 3), text(), None)
    assert isinstance(encoded.features, tuple)


def test_everything_that_decides_the_features_names_the_file(toys, text, other_backbone, tmp_path, monkeypatch):
    task, examples = toys.task("classification"), toys.examples("classification", 4)
    changed = dataclasses.replace(examples[0], gold="no" if examples[0].gold == "yes" else "yes")
    other = text().tokenizer.from_str(text().tokenizer.to_str())
    other.add_tokens(["reddog"])
    asked = [
        (task, examples, text()),
        (task, examples[:3], text()),
        (task, (changed, *examples[1:]), text()),
        (dataclasses.replace(task, version=2), examples, text()),
        (dataclasses.replace(task, labels=("yes", "no")), examples, text()),
        (dataclasses.replace(task, name="other"), examples, text()),
        (task, examples, text(20)),
        (task, examples, text(48, 4)),
        (task, examples, Text(other, 48, 8)),
    ]
    for each in asked:
        encode_cached(*each, tmp_path)
    monkeypatch.setattr(features, "_code", lambda: "another version")
    encode_cached(*asked[0], tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(asked) + 1


def test_the_code_of_every_format_is_part_of_the_name():
    assert len(features._code()) == 64
    before = features._code()
    features._code.cache_clear()
    assert features._code() == before


def damage(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("something else")
    elif how == "cut":
        path.write_bytes(content[:-1])
    elif how == "cut in the header":
        path.write_bytes(content[:40])
    elif how == "flipped":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif how == "truncated changed":
        path.write_bytes(content.replace(b"I64", b"I32", 1))
    elif how == "a list":
        header = json.dumps([1]).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)


HOW = ("empty", "text", "cut", "cut in the header", "flipped", "truncated changed", "a list")


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_file_is_made_again(how, toys, text, tmp_path):
    task, examples = toys.task("tagging"), toys.examples("tagging", 12)
    encode_cached(task, examples, text(), tmp_path)
    sound = only_file(tmp_path).read_bytes()
    damage(only_file(tmp_path), how)
    assert only_file(tmp_path).read_bytes() != sound
    assert same(encode_cached(task, examples, text(), tmp_path).features, encode(task, examples, text()).features)
    assert only_file(tmp_path).read_bytes() == sound


def test_a_file_of_other_rows_is_not_believed(toys, text, tmp_path):
    task, examples = toys.task("tagging"), toys.examples("tagging", 12)
    encode_cached(task, examples[:6], text(), tmp_path / "other")
    encode_cached(task, examples, text(), tmp_path)
    only_file(tmp_path).write_bytes(only_file(tmp_path / "other").read_bytes())
    assert len(encode_cached(task, examples, text(), tmp_path).features) == 12


def test_a_cache_that_cannot_be_written_is_not_used(toys, text, tmp_path):
    task, examples = toys.task("choice"), toys.examples("choice", 3)
    (tmp_path / "file").touch()
    assert len(encode_cached(task, examples, text(), tmp_path / "file").features) == 3
    encode_cached(task, examples, text(), tmp_path)
    path = only_file(tmp_path)
    path.unlink()
    path.mkdir()
    assert len(encode_cached(task, examples, text(), tmp_path).features) == 3
    assert sorted(tmp_path.glob(".*")) == []


def test_what_a_killed_writer_left_is_swept_up(toys, text, tmp_path):
    task, examples = toys.task("choice"), toys.examples("choice", 3)
    encode_cached(task, examples, text(), tmp_path)
    path = only_file(tmp_path)
    path.rename(path.with_name(f".{path.name}"))
    encode_cached(task, examples, text(), tmp_path)
    assert only_file(tmp_path) == path and not list(tmp_path.glob(".*"))


def _encode_slowly(arguments, log):
    def slow(*each):
        time.sleep(0.1)
        with log.open("a") as stream:
            stream.write("encoded\n")
        return encode(*each)

    features.encode = slow
    assert len(encode_cached(*arguments).features) == 3


def test_two_processes_encode_once(toys, text, tmp_path):
    arguments = (toys.task("choice"), toys.examples("choice", 3), text(), tmp_path / "cache")
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=_encode_slowly, args=(arguments, tmp_path / "log")) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(60)
    assert [process.exitcode for process in pair] == [0, 0]
    assert (tmp_path / "log").read_text().split() == ["encoded"]


# --------------------------------------------------------------------------------------------------------- packed


def array(shape, type_):
    return st.lists(st.integers(4, 99), min_size=shape, max_size=shape).map(lambda values: np.array(values, type_))


@st.composite
def drawn_features(draw):
    rows = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    count, anchors = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    return Feature(
        draw(st.integers(0, 9)),
        tuple(draw(array(size, np.int32)) for size in rows),
        draw(array(count, np.int64)),
        draw(array(3 * anchors, np.int32)).reshape(anchors, 3),
    )


@given(st.lists(drawn_features(), min_size=1, max_size=8))
def test_packed_features_are_the_features(plain):
    packed = Packed.of(plain)
    assert same(plain, packed) and same(plain[::-1], packed[::-1]) and same([plain[-1]], [packed[-1]])
    assert lengths(packed).tolist() == [feature.length for feature in plain]
    assert [part.equal(other) for part, other in zip(collate(packed), collate(plain), strict=True)]
    assert [part.tolist() for part in sorted_batches(packed, 12)] == [p.tolist() for p in sorted_batches(plain, 12)]
    for index in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            packed[index]


@pytest.mark.parametrize("format_name", ["tagging", "choice"])
def test_a_training_from_the_cache_is_the_same_training(format_name, bench, tmp_path):
    plain = bench.train(bench.step(format_name=format_name))
    bench.forget(tmp_path / "cold")
    cold = bench.train(bench.step(format_name=format_name), features=tmp_path / "cache")
    bench.forget(tmp_path / "warm")
    warm = bench.train(bench.step(format_name=format_name), features=tmp_path / "cache")
    assert bench.same(plain, cold) and bench.same(plain, warm)
    assert bench.curve(plain) == bench.curve(cold) == bench.curve(warm)
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 2  # train and dev
