"""Files that mean harm, or that are broken: refused in a clear sentence, nothing run, little memory taken."""

import io
import json
import os
import pickle
import resource
import struct
import time
import zipfile

import pytest
import torch

from tests.exchange.workshop import edit, rewrite
from xstilts.errors import XstiltsError
from xstilts.exchange import read
from xstilts.exchange._pickles import read_pickle
from xstilts.exchange.files import HEADER, TEXT, WEIGHTS

CONFIG, SAFE, PICKLED = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
MEMORY = 200_000_000  # bytes that refusing may take; the files claim up to 50 GB
SECONDS = 10


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def tensors():
    return {"roberta.encoder.layer.0.output.adapters.en.adapter_up.bias": torch.zeros(32)}


def saved(value, zipped=True):
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def archive(entries, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return stream.getvalue()


def rezipped(content, compression=zipfile.ZIP_STORED, change=lambda name, data: data, more=()):
    """A file of torch.save with other entries."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entries = [(name, change(name, file.read(name))) for name in file.namelist()]
    return archive([*entries, *more], compression)


def overlapping_zip():
    """Many entries that are the same bytes of the file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", b"\0" * 1_000_000)
        for number in range(500):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            entry.CRC = file.filelist[0].CRC
            entry.file_size = entry.compress_size = 1_000_000
            entry.header_offset = file.filelist[0].header_offset
            file.filelist.append(entry)
    return stream.getvalue()


def claims(content):
    """A storage of 32 numbers that is said to have 12 billion, in the pickle of a file of torch.save."""
    big = pickle.BININT + struct.pack("<i", 2_000_000_000)
    return rezipped(content, change=lambda name, data: data.replace(b"K\x20", big) if name.endswith(".pkl") else data)


def legacy_claims():
    return saved(tensors(), zipped=False).replace(b"K\x20", pickle.BININT + struct.pack("<i", 2_000_000_000))


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EVIL = "names code, which is never run"
PICKLES = {
    "evil pickle": (lambda evil: pickle.dumps(evil, protocol=2), EVIL),
    "evil pickle of today": (lambda evil: pickle.dumps(evil), EVIL),
    "evil pickle, saved by torch": (lambda evil: saved({"x": evil}), EVIL),
    "evil pickle, saved by an old torch": (lambda evil: saved({"x": evil}, zipped=False), EVIL),
    "evil pickle among tensors": (lambda evil: saved(tensors() | {"x": evil}), EVIL),
    "whole model": (lambda evil: saved(torch.nn.Linear(2, 2)), EVIL),
    "zip bomb": (
        lambda evil: archive([("archive/data.pkl", b"\0" * 100_000_000)], zipfile.ZIP_DEFLATED),
        "that unpacks to",
    ),
    "zip bomb of overlapping entries": (lambda evil: overlapping_zip(), "that unpacks to"),
    "compressed zip": (
        lambda evil: rezipped(
            saved({"x": torch.randn(64)}), zipfile.ZIP_BZIP2, more=[("archive/fill", os.urandom(9999))]
        ),
        "compressed zip",
    ),
    "name with ..": (lambda evil: rezipped(saved(tensors()), more=[("archive/../../x", b"x")]), "leads out of it"),
    "absolute name": (lambda evil: rezipped(saved(tensors()), more=[("/etc/x", b"x")]), "leads out of it"),
    "name of Windows": (lambda evil: rezipped(saved(tensors()), more=[("..\\x", b"x")]), "leads out of it"),
    "truncated zip": (lambda evil: saved(tensors())[:-100], "is truncated or damaged"),
    "truncated old file": (lambda evil: saved(tensors(), zipped=False)[:-20], "is damaged"),
    "empty pickle": (lambda evil: b"", "is damaged"),
    "text": (lambda evil: b"version https://git-lfs.github.com/spec/v1\n", "is damaged"),
    "storage larger than the file": (lambda evil: claims(saved(tensors())), "is damaged"),
    "old storage larger than the file": (lambda evil: legacy_claims(), "is damaged"),
    "repeated numbers": (lambda evil: saved({"x": torch.zeros(1).expand(100_000, 100_000)}), "repeats the numbers"),
    "shared numbers": (
        lambda evil: saved({str(n): torch.zeros(2000) for n in range(3)} | shared()),
        "its tensors take",
    ),
    "whole numbers": (lambda evil: saved({"x": torch.zeros(2, dtype=torch.int64)}), "another type; given 'int64'"),
    "complex numbers": (lambda evil: saved({"x": torch.zeros(2, dtype=torch.complex64)}), "another type"),
    "sparse tensor": (lambda evil: saved({"x": torch.eye(3).to_sparse()}), EVIL),
    "buffer of 8 GB": (lambda evil: program(b"cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x02\x85R."), EVIL),
    "tensor that is not from the file": (lambda evil: program(b"ctorch\nFloatTensor\nM\xff\xff\x85R."), EVIL),
    "key that doubles": (lambda evil: program(b"}" + doubled(60) + b"K\x01s."), "one thing twice"),
    "key that doubles, in an old file": (lambda evil: b"\x80\x02}" + doubled(60) + b"K\x01s.", "one thing twice"),
    "key that doubles, under another name": (
        lambda evil: rezipped(saved(tensors()), more=[("archive/DATA.PKL", b"\x80\x02}" + doubled(60) + b"K\x01s.")]),
        "two of one name",
    ),
    "message that doubles": (lambda evil: program(doubled(40) + b")R."), "one thing twice"),
    "a damaged number": (lambda evil: with_flipped_data(saved(tensors())), "is truncated or damaged"),
    "list": (lambda evil: saved([torch.zeros(2)]), "must hold a dictionary"),
    "dictionary of dictionaries": (lambda evil: saved({"x": tensors()}), "something that is no tensor"),
    "names that are numbers": (lambda evil: saved({1: torch.zeros(2)}), "must hold a dictionary"),
    "no tensors": (lambda evil: saved({}), "holds no tensors"),
}


def shared():
    one = torch.zeros(1_000_000)
    return {f"shared {number}": one[:] for number in range(5000)}


def program(operations):
    """A file of torch.save with another list of tensors."""
    return rezipped(saved({}), change=lambda name, data: b"\x80\x02" + operations if "pkl" in name else data)


def doubled(times):
    """Operations for a tuple of itself twice, of itself twice …"""
    first = b"U\x01aU\x01a\x86q\x00"
    return first + b"".join(bytes([ord("h"), step, 0x86, ord("q"), step + 1]) for step in range(times))


def with_flipped_data(content):
    place = content.index(b"\0" * 128)  # the 32 numbers of the tensor
    return content[:place] + b"\1" + content[place + 1 :]


SAFETENSORS = {
    "header of 50 GB": (safetensors({}, length=50_000_000_000), "is truncated"),
    "header of all bytes": (safetensors({}, length=2**64 - 1), "is truncated"),
    "header too large": (safetensors(b"{}" + b" " * HEADER), "are read"),
    "four bytes": (b"abcd", "is truncated"),
    "empty file": (b"", "is truncated"),
    "no tensors": (safetensors({}), "holds no tensors"),
    "truncated": (safetensors({"x": entry()}, b"1234"), "is truncated"),
    "bytes behind": (safetensors({"x": entry()}, b"12345678abc"), "bytes of no tensor"),
    "overlap": (safetensors({"x": entry(), "y": entry(offsets=(4, 12))}, b"0" * 12), "overlap"),
    "same place": (safetensors({"x": entry(), "y": entry()}, b"0" * 8), "overlap"),
    "gap": (safetensors({"x": entry(), "y": entry(offsets=(12, 20))}, b"0" * 20), "overlap, or bytes of no tensor"),
    "too few bytes": (safetensors({"x": entry(shape=(1000, 1000))}, b"0" * 8), "than its shape needs"),
    "negative offsets": (safetensors({"x": entry(offsets=(-8, 0))}, b"0" * 8), "not understood"),
    "negative shape": (safetensors({"x": entry(shape=(-1, -2))}, b"0" * 8), "not understood"),
    "whole numbers": (safetensors({"x": entry("I32")}, b"0" * 8), "another type; given 'I32'"),
    "eight bits": (safetensors({"x": entry("F8_E4M3", (8,))}, b"0" * 8), "another type"),
    "name twice": (safetensors(b'{"x": 1, "x": 2}'), "is given twice"),
    "not JSON": (safetensors(b"hello"), "is not JSON"),
    "not text": (safetensors(b"\xff\xfe\xff"), "not text"),
    "a list": (safetensors([1]), "no JSON object"),
    "too deep": (safetensors(b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "nests deeper"),
    "tensor that is a word": (safetensors({"x": "y"}), "not understood"),
    "three million axes": (safetensors({"x": entry(shape=[2] * 3_000_000)}, b"0" * 8), "not understood"),
    "axes of 4000 digits": (safetensors({"x": entry(shape=[10**4000] * 1000)}, b"0" * 8), "not understood"),
    "no numbers, but a huge shape": (safetensors({"x": entry(shape=(0, 2**32), offsets=(0, 0))}), "without numbers"),
    "a million tensors": (safetensors({f"{n}": 0 for n in range(500_000)}), "lists more than"),
    "metadata of another type": (safetensors({"__metadata__": {"a": [1]}, "x": entry()}, b"0" * 8), "not a readable"),
}
CONFIGS = {
    "key twice": (b'{"config": {}, "config": {}}', "'config' is given twice"),
    "deep": (b'{"config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests deeper"),
    "rather deep": (b'{"config": ' + b"[" * 50 + b"]" * 50 + b"}", "nests deeper"),
    "NaN": (b'{"config": {"r": NaN}}', "NaN is not a number of JSON"),
    "infinity": (b'{"config": {"r": -Infinity}}', "Infinity is not a number of JSON"),
    "digits": (b'{"config": ' + b"9" * 100_000 + b"}", "is not JSON"),
    "too large": (b'{"config": "' + b"x" * TEXT + b'"}', "are read"),
    "not UTF-8": (b'{"config": "\xff"}', "not UTF-8"),
    "a list": (b"[]", "must be a JSON object"),
    "truncated": (b'{"config": {', "is not JSON"),
    "key twice, late": (
        b"{" + b", ".join(b'"%d": 0' % n for n in range(60_000)) + b', "a": 0, "a": 0}',
        "'a' is given twice",
    ),
    "neither layout": (b'{"model_type": "xlm-roberta"}', "of no known layout"),
    "no shape": (b'{"config": "pfeiffer"}', "must spell out"),
}


@pytest.fixture
def refused(language_adapter, tmp_path):
    """``refused(match)`` reads the directory, which must fail: fast, in little memory, with nothing run."""

    def check(match, trusted_links=False):
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        with pytest.raises(XstiltsError, match=match) as caught:
            read(language_adapter, trusted_links)
        assert time.perf_counter() - began < SECONDS
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY
        assert not (tmp_path / "evil").exists()
        assert len(str(caught.value)) < 1000 and "weights_only" not in str(caught.value)

    read(language_adapter)
    return check


@pytest.mark.parametrize("case", PICKLES)
def test_pickles(language_adapter, tmp_path, refused, case):
    make, message = PICKLES[case]
    (language_adapter / SAFE).unlink()
    (language_adapter / PICKLED).write_bytes(make(Evil(tmp_path / "evil")))
    refused(message)


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors(language_adapter, refused, case):
    content, message = SAFETENSORS[case]
    (language_adapter / SAFE).write_bytes(content)
    refused(message)


@pytest.mark.parametrize("case", CONFIGS)
def test_configurations(language_adapter, refused, case):
    content, message = CONFIGS[case]
    (language_adapter / CONFIG).write_bytes(content)
    refused(message)


def two_tables(first, second):
    """A zip with the entries of two, of which Python's reader finds the second one's table and torch's the first one's.

    Python takes the table to end where the record of its place begins, torch to begin where that record says.
    """
    size, place = struct.unpack("<II", first[-10:-2])
    whole = bytearray(first + second)
    table = len(whole) - 22 - size
    struct.pack_into("<I", whole, len(whole) - 6, place)
    while whole[table : table + 4] == b"PK\1\2":  # entries are sought this much further than their table says
        (offset,) = struct.unpack_from("<I", whole, table + 42)
        struct.pack_into("<I", whole, table + 42, offset + len(first) - (len(whole) - 22 - size - place))
        table += 46 + sum(struct.unpack_from("<HHH", whole, table + 28))
    return bytes(whole)


def test_what_is_checked_of_a_zip_is_what_is_loaded(tmp_path):
    ones, twos = (rezipped(saved({"x": torch.full((64,), float(number))})) for number in (1, 2))
    path = tmp_path / "x.bin"
    path.write_bytes(two_tables(ones, twos))
    assert torch.load(path, weights_only=True)["x"].eq(1).all()
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith("data/0"))
        assert file.read(name) == struct.pack("<64f", *[2.0] * 64)
    assert read_pickle("x.bin", path)["x"].eq(2).all()


def test_all_kinds_of_harm_are_tried():
    assert (len(PICKLES), len(SAFETENSORS), len(CONFIGS), len(DIRECTORIES)) == (34, 27, 13, 10)


def test_the_evil_pickle_is_one(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "evil")))
    assert (tmp_path / "evil").is_dir()


# ----------------------------------------------------------------------------------------------------- directories


def replaced_by_link(directory, name, target):
    content = (directory / name).read_bytes()
    (directory / name).unlink()
    target.write_bytes(content)
    (directory / name).symlink_to(target)


def too_large(directory):
    with (directory / SAFE).open("r+b") as stream:
        stream.truncate(WEIGHTS + 1)


def pipe(directory):
    (directory / CONFIG).unlink()
    os.mkfifo(directory / CONFIG)


def crowded(directory):
    for number in range(10_001):
        (directory / f"{number}").touch()


def linked_folder(directory):
    (directory / "more").symlink_to(directory.parent)


def wrong_size(directory):
    edit(directory / CONFIG, hidden_size=768)


DIRECTORIES = {
    "weights elsewhere": (lambda d: replaced_by_link(d, SAFE, d.parent / "outside"), "leads out of the directory"),
    "settings elsewhere": (lambda d: replaced_by_link(d, CONFIG, d.parent / "outside"), "leads out of the directory"),
    "folder elsewhere": (linked_folder, "leads out of the directory"),
    "link to itself": (lambda d: (d / "x").symlink_to("x"), "leads out of the directory, or nowhere"),
    "dangling link": (lambda d: (d / "x").symlink_to("/nowhere/at/all"), "leads out of the directory"),
    "a pipe": (pipe, "no published module"),
    "weights too large": (too_large, "at most 4,294,967,296 are read"),
    "no weights": (lambda d: (d / SAFE).unlink(), "has no weights"),
    "a crowd": (crowded, "holds more than 10000 files"),
    "another size": (wrong_size, "hidden_size contradicts the weights, which are for 32; given '768'"),
}


@pytest.mark.parametrize("case", DIRECTORIES)
def test_directories(language_adapter, refused, case):
    make, message = DIRECTORIES[case]
    make(language_adapter)
    refused(message)


def test_links_inside_a_directory_are_followed(language_adapter):
    (language_adapter / SAFE).rename(language_adapter / "weights")
    (language_adapter / SAFE).symlink_to("weights")
    read(language_adapter)


def snapshot(tmp_path, directory):
    """The files as the hub's client keeps them."""
    root = tmp_path / "models--org--name"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (root / "blobs").mkdir()
    for number, path in enumerate(sorted(directory.iterdir())):
        path.rename(root / "blobs" / str(number))
        (folder / path.name).symlink_to(f"../../blobs/{number}")
    return folder


def test_links_of_the_hubs_client_are_followed_when_it_made_them(language_adapter, tmp_path):
    folder = snapshot(tmp_path, language_adapter)
    assert read(folder, trusted_links=True).origin.files[1][0] == SAFE
    with pytest.raises(XstiltsError, match="leads out of the directory"):
        read(folder)
    (folder / SAFE).unlink()
    (folder / SAFE).symlink_to("../../../elsewhere")
    with pytest.raises(XstiltsError, match="leads out of the directory"):
        read(folder, trusted_links=True)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_numbers_are_read_with_a_remark(language_adapter, kind):
    rewrite(language_adapter / SAFE, lambda found: {name: tensor.to(kind) for name, tensor in found.items()})
    published = read(language_adapter)
    assert {tensor.dtype for tensor in published.tensors.values()} == {torch.float32}
    assert [remark.check for remark in published.remarks] == ["precision"]
