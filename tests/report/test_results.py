"""What is read from the store: checked, aligned by item, and refused with one clear message where it is not sound."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from xstilts.errors import XstiltsError
from xstilts.files import sha256, write_json
from xstilts.metrics import load_metric
from xstilts.results import SCHEMA, Entry, find_manifest, load_results


@pytest.fixture
def store(planted, tmp_path):
    """A copy of the planted store that a test may damage."""
    return shutil.copytree(planted, tmp_path / "store")


def manifest(store):
    path = find_manifest(store, "planted")
    return path, json.loads(path.read_text())


def victim(store, system="adapter", target="nli", seed=2):
    """Directory of one prediction."""
    cells = manifest(store)[1]["cells"]
    wanted = {"system": system, "target": target, "seed": seed, "intermediate": None}
    cell = next(cell for cell in cells if wanted.items() <= cell.items())
    return store / "steps" / cell["predict"]


def rewrite(directory, change):
    """Change the rows of a prediction as a program with the right to do so would: with new checksums."""
    path = directory / "predictions.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    sums = json.loads((directory / "files.json").read_text())
    write_json(directory / "files.json", {**sums, path.name: sha256(path)})


def column(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values, SCHEMA.field(name).type))


def replaced(name, row, value):
    def change(table):
        values = table[name].to_pylist()
        values[row] = value
        return column(table, name, values)

    return change


def refused(store):
    with pytest.raises(XstiltsError) as caught:
        load_results(store, "planted")
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------ soundness


def test_reads_everything_there_is(planted):
    results = load_results(planted, "planted")
    assert len(results.manifest.cells) == 72
    assert [(cell.system, cell.intermediate, cell.target, cell.seed) for cell in results.missing] == [
        ("full_stilts", "neutral", "pos", 3)
    ]
    assert set(results.cells[Entry("full_stilts", "neutral", "pos")]) == {1, 2}
    assert set(results.panels) == {"nli", "pos", "qa", "pairs"}
    assert list(results.panels["nli"].rows) == ["en", "de", "zh", "sw"]
    assert sum(train.status == "collapsed" for train in results.trains.values()) == 1
    for entry, cells in results.cells.items():
        panel = results.panels[entry.target]
        for cell in cells.values():
            assert results.stats[cell.predict].shape == (len(panel.clusters), len(panel.metric.columns))


def test_statistics_are_those_of_the_file_row_by_row(planted):
    results = load_results(planted, "planted")
    cell = results.cells[Entry("adapter", None, "qa")][1]
    rows = pq.read_table(planted / "steps" / cell.predict / "predictions.parquet").to_pylist()
    by_item = {(row["language"], row["item_id"]): row for row in rows}
    panel = results.panels["qa"]
    for position, key in enumerate(panel.columns.select(["language", "item_id"]).to_pylist()):
        row = by_item[key["language"], key["item_id"]]
        assert results.stats[cell.predict][position].tolist() == row["stats"]
    assert load_metric("squad").columns == panel.metric.columns


def test_clusters_are_shared_by_languages_and_by_no_other_target(planted):
    panels = load_results(planted, "planted").panels
    nli = [panels["nli"].clusters[rows] for rows in panels["nli"].rows.values()]
    assert all(set(codes) == set(nli[0]) for codes in nli)
    assert len(set(nli[0])) == 60
    codes = [set(panel.clusters.tolist()) for panel in panels.values()]
    assert len(set.union(*codes)) == sum(map(len, codes))


def test_order_of_rows_in_a_file_is_irrelevant(planted, store):
    order = np.random.default_rng(0).permutation(720)
    rewrite(victim(store), lambda table: table.take(order))
    before, after = load_results(planted, "planted"), load_results(store, "planted")
    assert all(np.array_equal(before.stats[key], after.stats[key]) for key in before.stats)


def test_what_was_never_run_is_missing_and_nothing_else(store_maker, tmp_path):
    skip = {("adapter", None, target, seed) for target in ("nli", "pos", "qa") for seed in (1, 2, 3)}
    results = load_results(store_maker(tmp_path, skip), "planted")
    assert Entry("adapter", None, "nli") not in results.cells
    assert len(results.missing) == 9


# -------------------------------------------------------------------------------------------------- other examples


def test_missing_examples(store):
    rewrite(victim(store), lambda table: table.slice(2))
    assert "examples are missing that other systems were scored on: nli-0 (en), nli-1 (en)" in refused(store)


def test_extra_and_missing_examples_are_told_together(store):
    rewrite(victim(store), replaced("item_id", 0, "alien"))
    text = refused(store)
    assert "missing that other systems were scored on: nli-0 (en)" in text
    assert "that other systems were not scored on: alien (en)" in text


def test_repeated_examples(store):
    rewrite(victim(store), lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert "examples occur twice: nli-0 (en)" in refused(store)


@pytest.mark.parametrize("name", ["cluster", "gold"])
def test_other_clusters_or_gold(store, name):
    rewrite(victim(store), replaced(name, 5, '"other"'))
    assert f"{name} differs from other systems': nli-5 (en)" in refused(store)


def test_long_lists_of_ids_are_cut(store):
    rewrite(victim(store), lambda table: table.slice(20))
    assert "… 15 more" in refused(store)


# ------------------------------------------------------------------------------------------------ damaged artefacts


def test_wrong_columns(store):
    rewrite(victim(store), lambda table: table.drop(["gold"]))
    assert "wrong columns" in refused(store)


def test_wrong_types(store):
    rewrite(victim(store), lambda table: table.set_column(5, "stats", pc.cast(pa.array(["x"] * 720), pa.string())))
    assert "not a readable prediction file" in refused(store)


def test_empty_fields(store):
    rewrite(victim(store), replaced("gold", 3, None))
    assert "column gold has 1 empty rows" in refused(store)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_statistics_that_are_no_numbers(store, value):
    rewrite(victim(store), replaced("stats", 7, [value, 1.0]))
    assert "statistics are not finite numbers: nli-7 (en)" in refused(store)


def test_statistics_of_another_metric(store):
    rewrite(victim(store), replaced("stats", 7, [1.0, 1.0, 1.0]))
    assert "column stats must hold 2 numbers per row (allowed: correct, total)" in refused(store)


@pytest.mark.parametrize("name", ["predictions.parquet", "step.json"])
def test_files_that_are_not_what_was_published(store, name):
    with (victim(store) / name).open("ab") as stream:
        stream.write(b" ")
    assert f"{name}: differs from what was published" in refused(store)


@pytest.mark.parametrize("name", ["predictions.parquet", "step.json", "files.json"])
def test_files_that_are_gone(store, name):
    (victim(store) / name).unlink()
    assert "cannot be read" in refused(store)


def test_a_truncated_file_with_a_fitting_checksum(store):
    directory = victim(store)
    path = directory / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:100])
    sums = json.loads((directory / "files.json").read_text())
    write_json(directory / "files.json", {**sums, path.name: sha256(path)})
    assert "not a readable prediction file" in refused(store)


def resign(directory, name, content):
    """Write a JSON file of a step with a fitting checksum."""
    write_json(directory / name, content)
    sums = json.loads((directory / "files.json").read_text())
    write_json(directory / "files.json", {**sums, name: sha256(directory / name)})


def test_a_prediction_in_the_place_of_another(store):
    source, target = victim(store, seed=1), victim(store)  # the same task, so nothing else would tell
    shutil.rmtree(target)
    shutil.copytree(source, target)
    text = refused(store)
    assert "foreign artefact: holds another step than its directory says" in text
    assert f"given '{source.name}' (allowed: {target.name})" in text


def test_a_training_in_the_place_of_another(store):
    trains = load_results(store, "planted").trains
    source, target = (store / "steps" / key for key in list(trains)[:2])
    shutil.rmtree(target)
    shutil.copytree(source, target)
    assert f"{target / 'step.json'}: foreign artefact" in refused(store)


@pytest.mark.parametrize("content", [{"step": {}}, {"key": "x"}, []])
def test_a_step_that_does_not_say_what_it_is(store, content):
    resign(victim(store), "step.json", content)
    assert "does not describe a step" in refused(store)


def test_a_step_that_is_no_prediction(store):
    directory = victim(store)
    resign(directory, "step.json", {"key": directory.name, "step": {"task": {"name": "nli"}}})
    assert "does not describe a prediction" in refused(store)


def test_a_prediction_of_another_task_than_the_manifest_says(store):
    path, content = manifest(store)
    content["tasks"]["nli"]["version"] = 2
    write_json(path, content)
    assert "foreign artefact: version of its task is not the study's; given '1' (allowed: 2)" in refused(store)


def test_a_training_whose_account_is_incomplete(store):
    results = load_results(store, "planted")
    directory = store / "steps" / next(iter(results.trains))
    account = json.loads((directory / "result.json").read_text())
    del account["stored_bytes"]
    resign(directory, "result.json", {**account, "status": "fine"})
    text = refused(store)
    assert "stored_bytes: Field required" in text and "status: Input should be 'ok'" in text


# -------------------------------------------------------------------------------------------------------- manifest


def test_languages_that_the_study_does_not_have(store):
    path, content = manifest(store)
    content["tasks"]["nli"]["languages"] = ["en", "de", "zh"]
    write_json(path, content)
    assert "languages are not those of the study: sw" in refused(store)


def test_a_manifest_of_another_schema(store):
    path, content = manifest(store)
    write_json(path, {**content, "schema": 2})
    assert "schema: Input should be 1" in refused(store)


def test_a_manifest_with_unknown_names(store):
    path, content = manifest(store)
    content["cells"][0]["system"] = "ghost"
    write_json(path, content)
    assert "names what the study does not have: ghost" in refused(store)


def test_an_unknown_study_lists_what_the_store_holds(planted):
    with pytest.raises(XstiltsError, match=r"no such study; given 'plantd', did you mean 'planted@mini'\?"):
        load_results(planted, "plantd")


def test_an_empty_store(tmp_path):
    with pytest.raises(XstiltsError, match="holds no study yet"):
        load_results(tmp_path, "mini")


def test_several_backbones_need_a_name(store):
    path, content = manifest(store)
    content["backbone"]["name"] = "large"
    write_json(path.with_name("planted@large.json"), content)
    with pytest.raises(XstiltsError, match=r"--backbone: .* \(allowed: large, mini\)"):
        load_results(store, "planted")
    assert load_results(store, "planted", "large").manifest.backbone.name == "large"
