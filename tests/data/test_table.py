import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Sequence, Value

from xstilts.data.table import read_rows
from xstilts.errors import XstiltsError


def write(path, rows, features):
    Dataset.from_list(rows, features=features).to_parquet(path)
    return path


def values(path, *columns):
    return [row for _, row in read_rows(path, columns)]


@pytest.fixture
def labelled(tmp_path):
    features = Features({"label": ClassLabel(names=["b", "a"]), "text": Value("string"), "other": Value("int64")})
    rows = [{"label": 1, "text": "x", "other": 1}, {"label": 0, "text": "y", "other": 2}]
    return write(tmp_path / "x.parquet", rows, features)


def test_class_numbers_become_the_names_of_the_file(labelled):
    assert values(labelled, "text", "label") == [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}]


@pytest.mark.parametrize("container", [Sequence, List])
def test_class_numbers_in_lists(tmp_path, container):
    features = Features({"tags": container(ClassLabel(names=["N", "V"]))})
    path = write(tmp_path / "x.parquet", [{"tags": [1, 0]}, {"tags": []}], features)
    assert [row["tags"] for row in values(path, "tags")] == [["V", "N"], []]


def test_older_spelling_of_a_list_of_classes(tmp_path):
    features = b'{"info": {"features": {"tags": [{"names": ["N", "V"], "_type": "ClassLabel"}]}}}'
    schema = pa.schema([("tags", pa.list_(pa.int64()))], metadata={b"huggingface": features})
    pq.write_table(pa.table({"tags": [[1]]}, schema=schema), tmp_path / "x.parquet")
    assert values(tmp_path / "x.parquet", "tags") == [{"tags": ["V"]}]


def test_numbers_without_a_name_stay(tmp_path):
    features = Features({"label": ClassLabel(names=["b", "a"])})
    path = write(tmp_path / "x.parquet", [{"label": -1}], features)
    assert values(path, "label") == [{"label": -1}]
    pq.write_table(pa.table({"label": [7]}, schema=pq.read_schema(path)), path)
    assert values(path, "label") == [{"label": 7}]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([[[1]], [[0]]]), "list<item: list<item: int64>>"),
        (pa.array([{"x": 1}]), "struct<x: int64>"),
        (pa.array([[{"x": 1}]]), "list<item: struct<x: int64>>"),
        (pa.array([True, False]), "bool"),
        (pa.array([[True]]), "list<item: bool>"),
        (pa.array([1.0, 0.0]), "double"),
    ],
)
def test_classes_that_are_no_numbers(tmp_path, values, kind):
    """A truth value or a float equals a number, and would be taken for its class."""
    features = b'{"info": {"features": {"label": {"names": ["N", "V"], "_type": "ClassLabel"}}}}'
    schema = pa.schema([("label", values.type), ("text", pa.string())], metadata={b"huggingface": features})
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"label": values, "text": ["a"] * len(values)}, schema=schema), path)
    with pytest.raises(
        XstiltsError, match=r"x\.parquet: column 'label': the file calls this a column of classes"
    ) as caught:
        list(read_rows(path, ("label", "text")))
    assert [problem.given.replace("element", "item") for problem in caught.value.problems] == [kind]
    assert len(list(read_rows(path, ("text",)))) == len(values)  # a column that nobody reads may hold anything


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint32(), pa.string(), pa.large_string()])
def test_classes_of_any_integer_type_or_named(tmp_path, kind):
    features = b'{"info": {"features": {"label": {"names": ["N", "V"], "_type": "ClassLabel"}}}}'
    schema = pa.schema([("label", pa.large_list(kind))], metadata={b"huggingface": features})
    given = ["V", None] if kind in (pa.string(), pa.large_string()) else [1, None]
    pq.write_table(pa.table({"label": [given]}, schema=schema), tmp_path / "x.parquet")
    assert values(tmp_path / "x.parquet", "label") == [{"label": ["V", None]}]


def test_fields_of_a_struct(tmp_path):
    rows = {"answers": [{"text": ["x"], "answer_start": [1]}]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert values(tmp_path / "x.parquet", "answers.text", "answers.answer_start") == [
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


def error_of(path, content, columns=("id", "text")):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(XstiltsError) as caught:
        list(read_rows(path, columns))
    return str(caught.value).removeprefix(str(path))


def test_text_of_a_parquet_file_that_is_not_utf8(tmp_path):
    values = pa.array([b"sound", b"\xe9t\xe9"] * 3000, pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(values), values.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "x.parquet")
    with pytest.raises(
        XstiltsError, match=r"x.parquet: row 1: column 'text': is not UTF-8 text \(invalid continuation byte\)"
    ):
        list(read_rows(tmp_path / "x.parquet", ("text",)))


@pytest.mark.parametrize("features", [b"[", b"[]", b'{"info": {"features": {"x": {"_type": "ClassLabel"}}}}'])
def test_damaged_description_of_the_columns(tmp_path, features):
    schema = pa.schema([("x", pa.int64())], metadata={b"huggingface": features})
    pq.write_table(pa.table({"x": [1]}, schema=schema), tmp_path / "x.parquet")
    with pytest.raises(XstiltsError, match=r"x\.parquet: the description of its columns, .*, is damaged"):
        list(read_rows(tmp_path / "x.parquet", ("x",)))


# ------------------------------------------------------------------------------------------------------- text files


@pytest.mark.parametrize(("suffix", "mark"), [("tsv", "\t"), ("csv", ",")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_values_of_a_table_are_texts_as_they_are(tmp_path, suffix, mark, end, bom):
    path = tmp_path / f"x.{suffix}"
    lines = [
        ("id", "text", "more"),
        ("007", '"He said ""no"", twice"', ""),
        ("", ""),
        ("NA", '"two\r\nlines"', "\ufeff "),
        ("8", "", ""),
    ]
    path.write_bytes(bom + "".join(mark.join(line if any(line) else ()) + end for line in lines).encode())
    assert list(read_rows(path, ("id", "text", "more"))) == [
        (2, {"id": "007", "text": 'He said "no", twice', "more": ""}),
        (4, {"id": "NA", "text": "two\r\nlines", "more": "\ufeff "}),
        (6, {"id": "8", "text": "", "more": ""}),
    ]


def test_columns_are_found_by_name(tmp_path):
    (tmp_path / "x.csv").write_text("b,a,c\n1,2,3\n")
    assert values(tmp_path / "x.csv", "a", "b") == [{"a": "2", "b": "1"}]


BAD_TABLES = [
    ("", ": the file is empty; its first line names the columns"),
    ("id\tid\n1\t2\n", ": line 1: a column is named twice; given 'id, id'"),
    ("id\tlabel\n1\t2\n", ": missing column; given 'text'"),
    ("id\ttext\n1\ta\n2\n", ": line 3: 1 values where the first line names 2 columns; given '2'"),
    ("id\ttext\n1\ta\tb\n", ": line 2: 3 values where the first line names 2 columns; given '1\\ta\\tb'"),
    ('id\ttext\n1\t"a\n', ": line 2: cannot be read (unexpected end of data)"),
    ('id\ttext\n1\t"a"b\n', ": line 2: cannot be read ("),
    (b"id\ttext\n1\ta\n2\t\xe9\n", ": line 3: is not UTF-8 text (invalid continuation byte at byte 2)"),
    (b"\xff\xfei\x00d\x00", ": line 1: is not UTF-8 text"),
]


@pytest.mark.parametrize(("content", "message"), BAD_TABLES)
def test_bad_lines_of_a_table_are_named(tmp_path, content, message):
    assert error_of(tmp_path / "x.tsv", content).startswith(message)


def test_json_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "a": {"t": ["x\\r\\n"]}, "more": null}\r\n\n{"a": {"t": []}, "id": "2"}')
    assert list(read_rows(path, ("id", "a.t"))) == [
        (1, {"id": 1, "a": {"t": ["x\r\n"]}}),
        (3, {"id": "2", "a": {"t": []}}),
    ]


BAD_JSON = [
    ('{"id": 1, "text": "a"}\n{"id": 2, "text": "b"\n', ": line 2: is not JSON (Expecting ',' delimiter"),
    ('{"id": 1, "text": "a"}\n\n[1]\n', ": line 3: is not a JSON object; given '[1]'"),
    ('{"id": 1, "texts": "a"}\n', ": line 1: missing column; given 'text', did you mean 'texts'?"),
    ("[" * 100_000, ": line 1: is not JSON ("),
    (b'{"id": 1, "text": "\xe9"}\n', ": line 1: is not UTF-8 text"),
]


@pytest.mark.parametrize(("content", "message"), BAD_JSON)
def test_bad_json_lines_are_named(tmp_path, content, message):
    assert error_of(tmp_path / "x.jsonl", content).startswith(message)


def test_fields_of_json_objects_that_are_missing(tmp_path):
    told = error_of(tmp_path / "x.jsonl", '{"id": 1, "a": {"s": 1}}\n', ("id", "a.t", "a.s"))
    assert told.startswith(": line 1: missing column; given 'a.t'")


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_a_very_long_text(tmp_path, suffix):
    path, text = tmp_path / f"x.{suffix}", "ключ " * 100_000
    path.write_text(f'{{"text": "{text}"}}\n' if suffix == "jsonl" else f"text\n{text}\n", encoding="utf-8")
    assert values(path, "text") == [{"text": text}]


@pytest.mark.parametrize("suffix", ["tsv", "jsonl"])
def test_text_file_that_is_not_there(tmp_path, suffix):
    with pytest.raises(XstiltsError, match=r"cannot be read \(No such file or directory\)"):
        list(read_rows(tmp_path / f"none.{suffix}", ("text",)))


def test_other_kinds_of_file(tmp_path):
    with pytest.raises(XstiltsError, match=r"given '.py' \(allowed: .csv, .jsonl, .parquet, .tsv\)"):
        list(read_rows(tmp_path / "script.py", ("text",)))
