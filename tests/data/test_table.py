import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Sequence, Value

from xstilts.data.table import read_rows
from xstilts.errors import XstiltsError


def write(path, rows, features):
    Dataset.from_list(rows, features=features).to_parquet(path)
    return path


@pytest.fixture
def labelled(tmp_path):
    features = Features({"label": ClassLabel(names=["b", "a"]), "text": Value("string"), "other": Value("int64")})
    rows = [{"label": 1, "text": "x", "other": 1}, {"label": 0, "text": "y", "other": 2}]
    return write(tmp_path / "x.parquet", rows, features)


def test_class_numbers_become_the_names_of_the_file(labelled):
    assert list(read_rows(labelled, ("text", "label"))) == [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}]


@pytest.mark.parametrize("container", [Sequence, List])
def test_class_numbers_in_lists(tmp_path, container):
    features = Features({"tags": container(ClassLabel(names=["N", "V"]))})
    path = write(tmp_path / "x.parquet", [{"tags": [1, 0]}, {"tags": []}], features)
    assert [row["tags"] for row in read_rows(path, ("tags",))] == [["V", "N"], []]


def test_older_spelling_of_a_list_of_classes(tmp_path):
    features = b'{"info": {"features": {"tags": [{"names": ["N", "V"], "_type": "ClassLabel"}]}}}'
    schema = pa.schema([("tags", pa.list_(pa.int64()))], metadata={b"huggingface": features})
    pq.write_table(pa.table({"tags": [[1]]}, schema=schema), tmp_path / "x.parquet")
    assert list(read_rows(tmp_path / "x.parquet", ("tags",))) == [{"tags": ["V"]}]


def test_numbers_without_a_name_stay(tmp_path):
    features = Features({"label": ClassLabel(names=["b", "a"])})
    path = write(tmp_path / "x.parquet", [{"label": -1}], features)
    assert list(read_rows(path, ("label",))) == [{"label": -1}]
    pq.write_table(pa.table({"label": [7]}, schema=pq.read_schema(path)), path)
    assert list(read_rows(path, ("label",))) == [{"label": 7}]


def test_fields_of_a_struct(tmp_path):
    rows = {"answers": [{"text": ["x"], "answer_start": [1]}]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert list(read_rows(tmp_path / "x.parquet", ("answers.text", "answers.answer_start"))) == [
        {"answers": {"text": ["x"], "answer_start": [1]}}
    ]


def test_all_missing_columns_are_named(labelled):
    with pytest.raises(XstiltsError) as caught:
        list(read_rows(labelled, ("texts", "label", "answers.text")))
    assert [problem.given for problem in caught.value.problems] == ["texts", "answers.text"]
    assert "did you mean 'text'?" in str(caught.value)


@pytest.mark.parametrize("damage", ["empty", "truncated", "overwritten", "other"])
def test_damaged_files(labelled, damage):
    content = labelled.read_bytes()
    damaged = {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "overwritten": content[:4] + b"\xff" * 60 + content[64:],
        "other": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    }
    labelled.write_bytes(damaged[damage])
    with pytest.raises(XstiltsError, match=r"x\.parquet: the file is truncated, corrupt or not readable"):
        list(read_rows(labelled, ("label", "text")))


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(XstiltsError, match="not readable"):
        list(read_rows(tmp_path / "none.parquet", ("text",)))


def test_tsv_with_doubled_quotes(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text('index_id\ttext\n12\t"He said ""no"", twice"\n13\tplain, with comma\n')
    assert list(read_rows(path, ("index_id", "text"))) == [
        {"index_id": 12, "text": 'He said "no", twice'},
        {"index_id": 13, "text": "plain, with comma"},
    ]
    with pytest.raises(XstiltsError, match="missing column; given 'label'"):
        list(read_rows(path, ("label",)))


def test_other_kinds_of_file(tmp_path):
    with pytest.raises(XstiltsError, match=r"given '.py' \(allowed: .parquet, .tsv\)"):
        list(read_rows(tmp_path / "script.py", ("text",)))
