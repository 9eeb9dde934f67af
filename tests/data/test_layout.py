import hashlib

import pytest

from xstilts.data.layout import read_repository
from xstilts.errors import XstiltsError


def make(folder, *names, readme=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if readme is not None:
        folder.mkdir(exist_ok=True)
        (folder / "README.md").write_text(readme)
    return read_repository(folder)


def files(repository, config, split):
    return [path.relative_to(repository.folder).as_posix() for path in repository.data_files(config, split)]


def test_header_decides(tmp_path):
    readme = """---
language: [en]
configs:
- config_name: en
  default: true
  data_files:
  - split: train
    path: ["en/a-*", "extra/b.parquet"]
  - split: validation
    path: data/en/dev.tsv
---
# text
"""
    names = ("en/a-1.parquet", "en/a-2.parquet", "en/c.parquet", "extra/b.parquet", "data/en/dev.tsv", "de/a-1.parquet")
    repository = make(tmp_path, *names, readme=readme)
    assert files(repository, "en", "train") == ["en/a-1.parquet", "en/a-2.parquet", "extra/b.parquet"]
    assert files(repository, "en", "validation") == ["data/en/dev.tsv"]


def test_config_named_no_is_not_false(tmp_path):
    readme = "---\nconfigs:\n- config_name: no\n  data_files:\n  - split: test\n    path: no/test-*\n---\n"
    assert files(make(tmp_path, "no/test-1.parquet", readme=readme), "no", "test") == ["no/test-1.parquet"]


@pytest.mark.parametrize(
    ("config", "names", "expected"),
    [
        ("en", ["en/test-00000-of-00001.parquet", "data/test-1.parquet"], "en/test-00000-of-00001.parquet"),
        ("en", ["en/test.parquet"], "en/test.parquet"),
        ("default", ["data/test-00000-of-00001.parquet"], "data/test-00000-of-00001.parquet"),
        ("default", ["default/test/0000.parquet", "data/test-1.parquet"], "default/test/0000.parquet"),
    ],
)
@pytest.mark.parametrize("readme", [None, "# no header\n", "---\nlicense: mit\n---\n", ""])
def test_conventional_names_without_header(tmp_path, config, names, expected, readme):
    assert files(make(tmp_path, *names, readme=readme), config, "test") == [expected]


def test_files_whose_names_say_no_config_belong_to_none_but_the_default(tmp_path):
    repository = make(tmp_path, "data/test-00000-of-00001.parquet")
    with pytest.raises(XstiltsError, match=r"no file of config 'en', split 'test'"):
        repository.data_files("en", "test")


def test_other_configs_are_never_mixed_in(tmp_path):
    repository = make(tmp_path, "en/test-1.parquet", "sw/test-1.parquet", "en/deep/test-1.parquet", ".cache/en.parquet")
    assert files(repository, "en", "test") == ["en/test-1.parquet"]
    with pytest.raises(XstiltsError, match=r"no file of config 'de', split 'test'.*sw/test-1.parquet"):
        repository.data_files("de", "test")


def test_two_stars_cross_folders(tmp_path):
    readme = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: test\n    path: 'en/**/*.parquet'\n---\n"
    repository = make(tmp_path, "en/a/b/x.parquet", "en/y.parquet", "de/z.parquet", readme=readme)
    assert files(repository, "en", "test") == ["en/a/b/x.parquet", "en/y.parquet"]


def test_unknown_config_and_split_suggest_the_nearest(tmp_path):
    readme = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: validation\n    path: x\n---\n"
    repository = make(tmp_path, readme=readme)
    with pytest.raises(XstiltsError, match=r"no such config; given 'eng'.*did you mean 'en'"):
        repository.data_files("eng", "test")
    with pytest.raises(XstiltsError, match=r"no such split; given 'validation_matched'.*did you mean 'validation'"):
        repository.data_files("en", "validation_matched")
    with pytest.raises(XstiltsError, match="no file of config 'en', split 'validation'; given 'x'"):
        repository.data_files("en", "validation")


@pytest.mark.parametrize("suffix", ["", "-a09b74b3ef9c3b56"])
def test_missing_shard(tmp_path, suffix):
    names = [f"en/test-{number:05d}-of-00003{suffix}.parquet" for number in range(3)]
    repository = make(tmp_path, *names)
    assert files(repository, "en", "test") == names
    (tmp_path / names[1]).unlink()
    with pytest.raises(XstiltsError, match="files are missing; given 'en/test-00001'"):
        read_repository(tmp_path).data_files("en", "test")


@pytest.mark.parametrize("header", ["configs: [", "configs: 3", "configs:\n- data_files:\n  - path: x", "- a"])
def test_damaged_header(tmp_path, header):
    with pytest.raises(XstiltsError, match=r"README.md: the header cannot be read"):
        make(tmp_path, readme=f"---\n{header}\n---\n")


@pytest.mark.parametrize("as_list", [True, False])
def test_row_counts_of_the_header(tmp_path, as_list):
    info = "config_name: en\n{0}splits:\n{0}- name: train\n{0}  num_examples: 87599\n{0}  num_bytes: 1"
    info = f"- {info.format('  ')}" if as_list else f"  {info.format('  ')}"
    repository = make(tmp_path, readme=f"---\ndataset_info:\n{info}\n---\n")
    assert repository.counts == {("en", "train"): 87599}


def test_every_pattern_of_a_split_has_a_file(tmp_path):
    readme = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: test\n    path: [a.parquet, b.parquet]\n---\n"
    with pytest.raises(XstiltsError, match=r"files are missing; given 'b\.parquet'"):
        make(tmp_path, "a.parquet", readme=readme).data_files("en", "test")


def test_header_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    readme = "\ufeff---\r\nconfigs:\r\n- config_name: en\r\n  data_files:\r\n  - split: test\r\n    path: x\r\n---\r\n"
    (tmp_path / "README.md").write_bytes(readme.encode())
    assert files(make(tmp_path, "x"), "en", "test") == ["x"]


def test_header_that_is_not_utf8(tmp_path):
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xe9\n---\n")
    with pytest.raises(XstiltsError, match=r"README.md: is not UTF-8 text \(.* at byte 13\)"):
        read_repository(tmp_path)


def test_checksums_of_a_mirror(tmp_path):
    """As ``sha256sum`` writes them, in text and in binary mode, and as ``find`` names the files."""
    sums = {name: hashlib.sha256(b"").hexdigest() for name in ("a", "b c", "d/e")}
    lines = [f"{sums['a']}  a", f"{sums['b c']} *./b c", "# a comment", "", f"{sums['d/e']}  d/e"]
    (tmp_path / "SHA256SUMS").write_text("\n".join(lines))
    repository = make(tmp_path, "a", "b c", "d/e", "unlisted")
    assert repository.names == ("a", "b c", "d/e", "unlisted") and repository.checksums == sums
    (tmp_path / "d" / "e").write_text("changed")
    (tmp_path / "unlisted").write_text("changed")
    for name in ("a", "b c", "unlisted"):
        repository.check_content(tmp_path / name)
    with pytest.raises(XstiltsError, match="d/e: the file is damaged or changed"):
        repository.check_content(tmp_path / "d" / "e")


@pytest.mark.parametrize("line", ["abc  x", "z" * 64 + "  x", "0" * 64, "0" * 40 + "  x"])
def test_damaged_checksums(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(f"# first\n{line}\n")
    with pytest.raises(XstiltsError, match="SHA256SUMS: line 2: not '<sha256>  <file>'"):
        read_repository(tmp_path)
