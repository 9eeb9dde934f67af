from dataclasses import replace

import pytest

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError


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
        f"{english}: row 0: first: is empty",
        f"{english}: row 1: gold: the file does not name the class of this number; given '-1'",
        f"{english}: row 1: item_id: given twice; given '0'",
    ]


def test_missing_values_are_named_by_column(topics, mirror):
    mirror.write("en", rows=[{"id": 0, "text": None, "label": 0}, {"id": 1, "text": "x", "label": 0}])
    assert "parquet: row 0: text: no value" in str(error_of(topics(), mirror))


def test_rows_of_another_shape(topics, mirror):
    task = topics()

    def read(row, part, number):
        return row["text"]["inner"]

    task = replace(task, data=replace(task.data, read=read))
    mirror.write("en")
    told = str(error_of(task, mirror))
    assert "row 0: id, text, label: the row is not what the task expects (TypeError: string indices" in told
    assert "(and in 2 more rows)" in told


def test_tags_outside_the_label_space(tags, mirror):
    task, features = tags
    mirror.write("en", rows=[{"words": ["a", "b"], "tags": [1, 2]}], features=features)
    assert "row 0: gold: label outside the label space; given 'X' (allowed: NOUN, VERB)" in str(error_of(task, mirror))


def test_tags_and_words_that_differ_in_number(tags, mirror):
    task, features = tags
    mirror.write("en", rows=[{"words": ["a", "b"], "tags": [1]}], features=features)
    assert "row 0: gold: 1 tags for 2 words" in str(error_of(task, mirror))
