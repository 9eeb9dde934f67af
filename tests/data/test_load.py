import gc
import hashlib
import json
import tarfile
import zlib
from dataclasses import replace

import pytest
from datasets import ClassLabel, Features, Sequence, Value

from xstilts.data import Sources, load_examples
from xstilts.data.identity import identify
from xstilts.data.load import Kept
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Example, Passage, Sentence, TextPair, UserData, UserPart

TOPICS = Features({"id": Value("int64"), "text": Value("string"), "label": ClassLabel(names=["sport", "art"])})


def load(task, mirror, *languages):
    return load_examples(task, "test", languages or ("en",), mirror.sources)


def error_of(task, mirror, *languages):
    with pytest.raises(XstiltsError) as caught:
        load(task, mirror, *languages)
    return caught.value


def test_rows_come_in_the_order_asked_for(topics, mirror):
    mirror.write("en", rows=2)
    mirror.write("de", rows=3)
    examples = load(topics(), mirror, "de", "en")
    assert [(each.language, each.item_id, each.gold) for each in examples] == [
        *(("de", "0", "sport"), ("de", "1", "art"), ("de", "2", "sport")),
        *(("en", "0", "sport"), ("en", "1", "art")),
    ]


def test_class_numbers_go_by_the_names_of_the_file(topics, mirror):
    mirror.write("en")
    assert [each.gold for each in load(topics(labels=("art", "sport")), mirror)] == ["sport", "art", "sport"]


def test_declared_drops(topics, mirror):
    rows = [{"id": 0, "text": "drop me", "label": 0}, {"id": 1, "text": "keep me", "label": 1}]
    mirror.write("en", rows=rows)
    assert [each.item_id for each in load(topics(), mirror)] == ["1"]


def test_rows_are_read_once_per_task(topics, mirror):
    path = mirror.write("en")
    task = topics()
    first = load(task, mirror)
    path.unlink()
    assert load(task, mirror) is first
    assert "no file of config 'en'" in str(error_of(topics(), mirror))


def test_what_is_kept_is_bounded_by_the_number_of_examples():
    """The newest stays however large it is; what was not asked for the longest goes first."""
    kept, loads = Kept(5), []

    def get(name, size):
        def load():
            loads.append(name)
            return (Example(name, "en", "c", TextPair("x"), "sport"),) * size

        assert len(kept.get(name, load)) == size

    for name, size in (("a", 2), ("b", 2), ("a", 2), ("c", 1), ("empty", 0), ("empty", 0)):
        get(name, size)
    assert loads == ["a", "b", "c", "empty"]
    get("d", 2)  # seven: b goes, which was asked for before a
    get("a", 2)
    assert loads == ["a", "b", "c", "empty", "d"]
    get("b", 2)
    assert loads[5:] == ["b"]
    get("large", 9)
    get("large", 9)
    assert loads[6:] == ["large"]
    get("a", 2)
    get("large", 9)
    assert loads[7:] == ["a", "large"]


def test_undeclared_languages_are_all_named(topics, mirror):
    error = error_of(topics(), mirror, "en", "deu", "fr")
    assert [problem.given for problem in error.problems] == ["deu", "fr"]
    told = "task topics: test: the task has no such language in this split; given 'deu', did you mean 'de'?"
    assert told in str(error)


def test_split_that_the_task_lacks(topics, mirror):
    with pytest.raises(XstiltsError, match="task topics: train: the task has no such language in this split"):
        load_examples(topics(), "train", ("en",), mirror.sources)


# ------------------------------------------------------------------------------------------------ what is not there


def test_mirror_that_is_not_there(topics, tmp_path):
    with pytest.raises(XstiltsError, match=r"data: the mirror is not a directory; given '.*nowhere'"):
        load_examples(topics(), "test", ("en",), Sources(tmp_path / "nowhere"))


def test_repository_that_is_not_there(topics, part, mirror):
    mirror.write("en")
    error = error_of(topics(part(repo="org/topic"), part("de", repo="other/set")), mirror, "en", "de")
    assert len(error.problems) == 2
    told = f"{mirror.root}: the mirror has no such data set; given 'org/topic', did you mean 'org/topics'?"
    assert told in str(error)


def test_config_split_and_file_that_are_not_there(topics, part, mirror):
    mirror.write("en", split="dev")
    mirror.write("de").unlink()
    error = error_of(topics(part("en"), part("de"), part("fr")), mirror, "en", "de", "fr")
    told = str(error)
    assert len(error.problems) == 3
    assert "README.md: config 'en' has no such split; given 'test' (allowed: dev)" in told
    assert f"{mirror.repo}: no file of config 'de', split 'test'; given 'de/test-*'" in told
    assert "README.md: no such config; given 'fr'" in told


def test_missing_columns(topics, mirror):
    mirror.write("en")
    error = error_of(topics(columns=("id", "text", "labels", "idx")), mirror)
    assert [problem.given for problem in error.problems] == ["labels", "idx"]
    assert "test-00000-of-00001.parquet: missing column; given 'labels', did you mean 'label'?" in str(error)


# ---------------------------------------------------------------------------------------------------- row counts


def test_declared_row_count(topics, part, mirror):
    mirror.write("en", rows=3)
    assert len(load(topics(part(rows=3)), mirror)) == 3
    told = str(error_of(topics(part(rows=1000)), mirror))
    assert "config 'en', split 'test': 3 rows where 1,000 are declared" in told


def test_a_declared_subset_is_no_test_set(topics, part, mirror):
    mirror.write("en", split="train", rows=3)
    mirror.write("en", split="dev", rows=3)
    mirror.write("en", split="test", rows=3)
    task = topics(*(part(rows=4, split=split) for split in ("train", "dev", "test")))
    sources = replace(mirror.sources, subsets=frozenset({"topics"}))
    for split in ("train", "dev"):
        assert len(load_examples(task, split, ("en",), sources)) == 3
        with pytest.raises(XstiltsError, match=r'3 rows where 4 are declared; .* subsets = \["topics"\]'):
            load_examples(task, split, ("en",), mirror.sources)
    for where in (sources, mirror.sources):
        with pytest.raises(XstiltsError, match=r"3 rows where 4 are declared$"):
            load_examples(task, "test", ("en",), where)


def test_row_count_counts_drops(topics, part, mirror):
    rows = [{"id": 0, "text": "drop me", "label": 0}, {"id": 1, "text": "keep me", "label": 1}]
    mirror.write("en", rows=rows)
    assert len(load(topics(part(rows=2)), mirror)) == 1


def test_row_count_of_the_header(topics, part, mirror):
    mirror.write("en", rows=3)
    mirror.write_header("dataset_info:\n- config_name: en\n  splits:\n  - name: test\n    num_examples: 4")
    assert "3 rows where 4 are declared" in str(error_of(topics(), mirror))
    assert len(load(topics(part(rows=3)), mirror)) == 3  # what the task declares comes first


@pytest.mark.parametrize("rows", [0, [{"id": 0, "text": "drop me", "label": 0}]])
def test_nothing_to_read(topics, mirror, rows):
    mirror.write("en", rows=rows)
    assert "config 'en', split 'test': no examples" in str(error_of(topics(), mirror))


# ------------------------------------------------------------------------------------------------------ bad rows


def test_problems_of_all_files_are_told_in_one_error(topics, part, mirror):
    rows = [{"id": 0, "text": "", "label": 0}, {"id": 0, "text": "x", "label": -1}]
    mirror.write("en", rows=rows)
    mirror.write("de", rows=2)
    path = mirror.write("fr")
    path.write_bytes(path.read_bytes()[:-20])
    error = error_of(topics(part(), part("de", rows=5), part("fr")), mirror, "en", "de", "fr")
    told = [str(problem) for problem in error.problems]
    assert len(told) == 5
    assert "5 are declared" in told[0]
    assert f"{path}: the file is truncated, corrupt or not readable" in told[1]
    english = f"{mirror.repo}/en/test-00000-of-00001.parquet"
    assert told[2:] == [
        f"{english}: row 0: column 'text' (first): is empty",
        f"{english}: row 1: column 'label' (gold): the file does not name the class of this number; given '-1'",
        f"{english}: row 1: column 'id' (item_id): given twice; given '0'",
    ]


def test_a_file_that_several_languages_share_is_told_of_once(topics, part, mirror):
    mirror.write("all", rows=[{"id": 0, "text": None, "label": 0}, {"id": None, "text": "x", "label": 0}])
    parts = [replace(part(each, rows=7), config="all") for each in ("en", "de", "fr")]
    told = [str(problem) for problem in error_of(topics(*parts), mirror, "en", "de", "fr").problems]
    file = f"{mirror.repo}/all/test-00000-of-00001.parquet"
    where = f"{mirror.repo}: config 'all', split 'test'"
    assert told == [
        f"{where}: 2 rows where 7 are declared",
        f"{file}: row 0: column 'text': no value",
        f"{file}: row 1: column 'id': no value",
    ]


def test_missing_values_are_named_by_column(topics, mirror):
    mirror.write("en", rows=[{"id": 0, "text": None, "label": 0}, {"id": 1, "text": "x", "label": 0}])
    assert "parquet: row 0: column 'text': no value" in str(error_of(topics(), mirror))


def test_rows_of_another_shape(topics, mirror):
    task = topics()

    def read(row, part, number):
        return row["text"]["inner"]

    task = replace(task, data=replace(task.data, read=read))
    mirror.write("en")
    told = str(error_of(task, mirror))
    assert (
        "row 0: columns 'id', 'text', 'label': the row is not what the task expects (TypeError: string indices" in told
    )
    assert "(and in 2 more rows); given 'id int, text str, label str'" in told


def test_a_column_of_numbers_where_a_task_reads_text_is_named(topics, mirror):
    def read(row, part, number):
        return (Example(row["text"].lower(), "en", "c", TextPair(row["text"]), row["label"]),)

    task = topics()
    numbers = Features({**TOPICS, "text": Value("int64")})
    mirror.write("en", rows=[{"id": 0, "text": 5, "label": 0}], features=numbers)
    (problem,) = error_of(replace(task, data=replace(task.data, read=read)), mirror).problems
    assert (
        "parquet: row 0: columns 'id', 'text', 'label': the row is not what the task expects (AttributeError: 'int'"
        in str(problem)
    )
    assert problem.given == "id int, text int, label str"


@pytest.mark.parametrize("column", ["context", "question"])
def test_a_passage_that_is_a_number(topics, mirror, column):
    features = Features({name: Value("string") for name in ("id", "question", "context")} | {column: Value("int64")})
    rows = [{"id": "1", "question": "x", "context": "x", column: 5}]
    mirror.write("en", rows=rows, features=features)

    def read(row, part, number):
        return (Example(row["id"], "en", "c", Passage(row["question"], row["context"]), Answers(("x",), (0,))),)

    data = replace(topics().data, columns=("id", "question", "context"), read=read)
    task = replace(topics(), format="span", labels=(), data=data)
    (problem,) = error_of(task, mirror).problems
    assert f"parquet: row 0: column '{column}': not a text; given '5'" in str(problem)


def test_tags_outside_the_label_space(tags, mirror):
    task, features = tags
    mirror.write("en", rows=[{"words": ["a", "b"], "tags": [1, 2]}], features=features)
    assert "row 0: column 'tags' (gold): label outside the label space; given 'X' (allowed: NOUN, VERB)" in str(
        error_of(task, mirror)
    )


def test_tags_and_words_that_differ_in_number(tags, mirror):
    task, features = tags
    mirror.write("en", rows=[{"words": ["a", "b"], "tags": [1]}], features=features)
    assert "row 0: column 'tags' (gold): 1 tags for 2 words" in str(error_of(task, mirror))


def test_texts_that_no_task_can_use(topics, mirror):
    texts = ["nul \0", " \r\n", "cr\r\nlf \ufeff", "long " * 20_000]
    mirror.write("en", rows=[{"id": number, "text": text, "label": 0} for number, text in enumerate(texts)])
    told = [str(problem).partition("parquet: ")[2] for problem in error_of(topics(), mirror).problems]
    assert told == [
        "row 0: column 'text' (first): contains a NUL character; given 'nul \\x00'",
        "row 1: column 'text' (first): is empty",
    ]
    mirror.write("de", rows=[{"id": number, "text": text, "label": 0} for number, text in enumerate(texts[2:])])
    assert [each.fields.first for each in load(topics(), mirror, "de")] == texts[2:]


def test_a_column_of_another_type(topics, mirror):
    numbers = Features({**TOPICS, "text": Value("int64")})
    mirror.write("en", rows=[{"id": 0, "text": 5, "label": 0}], features=numbers)
    assert "row 0: column 'text' (first): not a text; given '5'" in str(error_of(topics(), mirror))
    lists = Features({**TOPICS, "label": Sequence(ClassLabel(names=["sport", "art"]))})
    mirror.write("de", rows=[{"id": 0, "text": "a", "label": [1]}], features=lists)
    assert "row 0: column 'label' (gold): label outside the label space; given \"['art']\"" in str(
        error_of(topics(), mirror, "de")
    )


def test_label_names_of_another_data_set(topics, mirror):
    other = Features({**TOPICS, "label": ClassLabel(names=["Sport", "culture"])})
    mirror.write("en", rows=4, features=other)
    told = str(error_of(topics(), mirror))
    assert (
        "row 0: column 'label' (gold): label outside the label space (and in 1 more rows); given 'Sport', "
        "did you mean 'sport'?" in told
    )
    assert "row 1: column 'label' (gold): label outside the label space (and in 1 more rows); given 'culture'" in told


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_text_files_of_a_mirror(topics, mirror, suffix):
    mark = "\t" if suffix == "tsv" else ","
    rows = [("id", "text", "label"), ("0", "Tor!", "sport"), ("1", "Bild", "art")]
    text = "".join(mark.join(row) + "\r\n" for row in rows)
    if suffix == "jsonl":
        text = "".join(json.dumps(dict(zip(rows[0], row, strict=True))) + "\r\n" for row in rows[1:])
    (mirror.repo / "en").mkdir(parents=True)
    path = mirror.repo / "en" / f"test.{suffix}"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    header = f"---\nconfigs:\n- config_name: en\n  data_files:\n  - split: test\n    path: en/test.{suffix}\n---\n"
    (mirror.repo / "README.md").write_text(header)
    assert [(each.item_id, each.fields.first, each.gold) for each in load(topics(), mirror)] == [
        ("0", "Tor!", "sport"),
        ("1", "Bild", "art"),
    ]
    path.write_bytes(b"")
    assert ("the file is empty" if suffix != "jsonl" else "no examples") in str(error_of(topics(), mirror))


LINES = {
    "tsv": 'id\ttext\tlabel\n\n0\t"two\nlines"\tsport\n1\t"nul \0"\tart\n\n2\t"two\nlines"\tchess\n',
    "csv": 'id,text,label\r\n0,a,sport\r\n"1\r\n",b,sport\r\n1,"nul \0",art\r\n2,"x\r\n",chess\r\n',
    "jsonl": '{"id": 0, "text": "a", "label": "sport"}\n\n\n\n{"id": 1, "text": "nul \\u0000", "label": "art"}\n\n'
    '{"id": 2, "text": "a", "label": "chess"}\n{"id": 3, "text": "a", "label": null}\n{"id": 4, "text": "a"}\n',
}


@pytest.mark.parametrize("suffix", LINES)
def test_rows_of_text_files_are_named_by_their_first_line(topics, mirror, suffix):
    """Blank lines and those inside a value count, too; errors that end the reading count in the same way."""
    (mirror.repo / "en").mkdir(parents=True)
    path = mirror.repo / "en" / f"test.{suffix}"
    path.write_bytes(LINES[suffix].encode())
    header = f"---\nconfigs:\n- config_name: en\n  data_files:\n  - split: test\n    path: en/test.{suffix}\n---\n"
    (mirror.repo / "README.md").write_text(header)
    told = [str(problem).removeprefix(f"{path}: ").partition(";")[0] for problem in error_of(topics(), mirror).problems]
    flaws = [
        "line 5: column 'text' (first): contains a NUL character",
        "line 7: column 'label' (gold): label outside the label space",
    ]
    if suffix == "csv":
        flaws[1] = flaws[1].replace("7", "6")
    if suffix == "jsonl":
        flaws = ["line 9: missing column", *flaws, "line 8: column 'label': no value"]
    assert told == flaws


def test_a_file_that_differs_from_the_checksums_of_the_mirror(topics, mirror):
    path = mirror.write("en")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (mirror.repo / "SHA256SUMS").write_text(f"{checksum}  en/{path.name}\n")
    assert len(load(topics(), mirror)) == 3
    mirror.write("en", rows=4)
    assert "the file is damaged or changed: its checksum" in str(error_of(topics(), mirror))


# ----------------------------------------------------------------------------------------------------- user's files


@pytest.mark.parametrize("error", [AttributeError("x"), EOFError("x"), tarfile.ReadError("x"), zlib.error("x")])
def test_files_of_the_users_that_cannot_be_read(topics, tmp_path, error):
    def read(file, part):
        if file.name == "bad.txt":
            raise error
        for number, line in enumerate(file.read_text().splitlines()):
            yield Example(line, "en", "c", TextPair("" if number == 1 else "x"), "sport")

    for name, content in (("a.txt", "1\n2"), ("b.txt", "3\n4"), ("bad.txt", "")):
        (tmp_path / name).write_text(content)
    task = replace(topics(), data=UserData((UserPart("test", "en", "*.txt"),), "Buy it.", read))
    with pytest.raises(XstiltsError) as caught:
        load_examples(task, "test", ("en",), Sources(files=tmp_path))
    told = [str(problem).removeprefix(str(tmp_path)) for problem in caught.value.problems]
    assert told == [
        "/bad.txt: cannot be read (x)",
        "/a.txt: example 2: first: is empty",
        "/b.txt: example 2: first: is empty",
    ]


def test_of_a_file_that_cannot_be_read_only_that_is_told(topics, tmp_path):
    """Not that examples are lacking, nor that what they hold is; the files of other parts are counted."""

    def read(file, part):
        for line in file.read_text().splitlines():
            role, item = line.split()
            yield Example(item, "en", "c", Sentence("x", role), item if role == "query" else None)

    (tmp_path / "queries.txt").write_text("query 1\nquery 2\n")
    (tmp_path / "candidates.txt").write_text("candidate\n")
    parts = tuple(UserPart("test", "en", f"{name}.txt", rows=9) for name in ("queries", "candidates"))
    task = replace(topics(), format="retrieval", labels=(), data=UserData(parts, "Buy it.", read))

    def told():
        with pytest.raises(XstiltsError) as caught:
            load_examples(replace(task), "test", ("en",), Sources(files=tmp_path))
        return [str(problem).removeprefix(str(tmp_path)) for problem in caught.value.problems]

    few = ": queries.txt: 2 rows where 9 are declared"
    assert told() == [few, "/candidates.txt: cannot be read (not enough values to unpack (expected 2, got 1))"]
    (tmp_path / "candidates.txt").write_text("candidate 1\n")
    assert told() == [
        few,
        ": candidates.txt: 1 rows where 9 are declared",
        "/queries.txt: example 2: gold: no candidate of this language has this item_id; given '2'",
    ]


def test_what_to_put_where_is_told_once_for_all_splits(topics, tmp_path):
    parts = tuple(UserPart(split, "en", f"{split}.txt") for split in ("train", "dev", "test"))
    task = replace(topics(), data=UserData(parts, "Buy it.", lambda *_: ()))
    told = {}
    for split in ("train", "dev", "test"):
        with pytest.raises(XstiltsError) as caught:
            load_examples(task, split, ("en",), Sources(files=tmp_path))
        told |= dict.fromkeys(map(str, caught.value.problems))
    with pytest.raises(XstiltsError) as caught:
        identify(task, ("train", "dev", "test"), (), None, Sources(files=tmp_path), None)
    assert [str(problem) for problem in caught.value.problems] == list(told)
    assert list(told) == [
        f"task topics: needs files that only you can supply, in {tmp_path}. Buy it.",
        *(f"task topics: {tmp_path} holds no file {split}.txt" for split in ("train", "dev", "test")),
    ]


def test_what_is_counted_in_files_of_the_users_are_examples(topics, tmp_path):
    """One line may make several Examples, or none: the number of a row is not known to who counts them."""

    def read(file, part):
        for word in file.read_text().split():
            yield Example(word, "en", "c", TextPair("x"), "sport" if word.isalpha() else "chess")

    (tmp_path / "a.txt").write_text("# one comment\n\na b 3 c 5\n")
    task = replace(topics(), data=UserData((UserPart("test", "en", "*.txt"),), "Buy it.", read))
    with pytest.raises(XstiltsError) as caught:
        load_examples(task, "test", ("en",), Sources(files=tmp_path))
    told = [str(problem).removeprefix(str(tmp_path)) for problem in caught.value.problems]
    assert len(told) == 1
    assert told[0].startswith("/a.txt: example 1: gold: label outside the label space (and in 2 more examples)")


def test_garbage_is_collected_again_after_loading(topics, mirror, monkeypatch):
    mirror.write("en", rows=[{"id": 0, "text": "one", "label": 0}] * 2)
    error_of(topics(), mirror)
    assert gc.isenabled()
    gc.disable()
    try:
        error_of(topics(), mirror)
        assert not gc.isenabled()
    finally:
        gc.enable()
