"""Systems that use several intermediates at once: what is compared with what, what is flagged, what is shown."""

import csv
import itertools
import json
import re

import numpy as np
import pytest

from xstilts import report
from xstilts.compare import Flag, average, compare
from xstilts.errors import XstiltsError
from xstilts.estimands import pairs, primary
from xstilts.files import sha256, write_json
from xstilts.report.answer import answer
from xstilts.report.card import card, costs
from xstilts.report.figures import Dot, dots
from xstilts.report.overview import overview
from xstilts.report.view import View
from xstilts.results import Entry, load_results
from xstilts.schema import CellRecord
from xstilts.study import Comparison, Study

POOL = "helpful & neutral"
FULL = {"mode": "fullft", "adapter": "full"}
ADAPTER = {"mode": "adapter", "adapter": "pfeiffer"}
BOTH = ["helpful", "neutral"]


def system(name, start, shape=ADAPTER, **more):
    return {"name": name, "label": f"the {name}", "start": start, **shape, "intermediates": BOTH, **more}


SYSTEMS = [
    {"name": "full", "label": "the full", "start": "cold", **FULL},
    {"name": "adapter", "label": "the adapter", "start": "cold", **ADAPTER},
    system("full_warm", "warm", FULL),
    system("warm", "warm"),
    system("stack", "stack"),
    system("fuse", "fuse"),
    system("merge", "merge"),
    system("direct", "merge", merge={"into": "direct"}),
    system("wiki", "stack", intermediates=["en_wiki"]),
    system("fuse_wiki", "fuse", intermediates=["helpful", "en_wiki"]),
]
COMPARED = [
    ("stack", "adapter"),
    ("fuse", "adapter"),
    ("fuse", "stack"),
    ("stack", "merge"),
    ("fuse", "merge"),
    ("fuse_wiki", "fuse"),
    ("wiki", "adapter"),
    ("direct", "full"),
]
CHANGES = {
    "system": SYSTEMS,
    "comparison": [{"name": f"{a} − {b}", "candidate": a, "reference": b} for a, b in COMPARED],
    "intermediates": ["helpful", "neutral", "en_wiki"],
    "module": {"en_wiki": {"source": "somebody/en-wiki"}},
}


@pytest.fixture(scope="module")
def store(store_maker_once, tmp_path_factory):
    """One study for the whole module, with gains planted and no losses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(store_maker_once.__globals__, "LOSS", {})
        return store_maker_once(tmp_path_factory.mktemp("compositions"), **CHANGES)


@pytest.fixture(scope="module")
def results(store):
    return load_results(store, "planted")


@pytest.fixture(scope="module")
def outcomes(results):
    return compare(results)


@pytest.fixture(scope="module")
def rows(results):
    return {(row.system, row.of): row for row in overview(results).rows}


@pytest.fixture(scope="module")
def out(store, tmp_path_factory):
    return report.write(store, "planted", tmp_path_factory.mktemp("out")).path.parent


def of(outcomes, comparison, target="targets without retrieval", language="zero-shot"):
    return [
        each for each in outcomes if (each.comparison, each.target, each.language) == (comparison, target, language)
    ]


# ---------------------------------------------------------------------------------------------------------- pairs

KINDS = {
    "cold": ("cold", ()),
    "one at a time": ("stack", ("a", "b", "c")),
    "some of them": ("warm", ("b", "c")),
    "others": ("stack", ("d", "e")),
    "several at once": ("fuse", ("a", "b")),
    "all at once": ("merge", ("a", "b", "c")),
}
AT_ONCE = {"several at once": "a & b", "all at once": "a & b & c"}
EXPECTED = {
    ("cold", "cold"): [(None, None)],
    ("one at a time", "one at a time"): [("a", "a"), ("b", "b"), ("c", "c")],
    ("one at a time", "some of them"): [("b", "b"), ("c", "c")],
    ("some of them", "some of them"): [("b", "b"), ("c", "c")],
    ("some of them", "others"): [("b", "d"), ("b", "e"), ("c", "d"), ("c", "e")],
    ("one at a time", "others"): [(a, d) for a in "abc" for d in "de"],
    ("others", "others"): [("d", "d"), ("e", "e")],
    ("several at once", "several at once"): [("a & b", "a & b")],
    ("several at once", "all at once"): [("a & b", "a & b & c")],
    ("all at once", "all at once"): [("a & b & c", "a & b & c")],
    **{
        ("cold", kind): [(None, each) for each in KINDS[kind][1]]
        for kind in ("one at a time", "some of them", "others")
    },
    **{("cold", kind): [(None, pool)] for kind, pool in AT_ONCE.items()},
    **{
        (kind, other): [(each, pool) for each in KINDS[kind][1]]
        for kind in ("one at a time", "some of them", "others")
        for other, pool in AT_ONCE.items()
    },
}


def test_every_combination_of_kinds_is_expected():
    assert len(KINDS) == 6 and len(EXPECTED) == 21
    assert {frozenset(each) for each in EXPECTED} == {
        frozenset(each) for each in itertools.combinations_with_replacement(KINDS, 2)
    }


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kinds", EXPECTED, ids=" and ".join)
def test_which_intermediates_meet(kinds, turned):
    systems = tuple(
        {
            "name": f"s{n}",
            "label": "",
            "mode": "adapter",
            "adapter": "x",
            "start": KINDS[kind][0],
            "intermediates": list(KINDS[kind][1]),
        }
        for n, kind in enumerate(kinds)
    )
    study = Study.model_validate_json(
        json.dumps(
            {
                "name": "s",
                "title": "",
                "seeds": [1],
                "targets": ["t"],
                "recipe": {},
                "intermediates": list("abcde"),
                "system": systems,
            }
        )
    )
    names = ("s1", "s0") if turned else ("s0", "s1")
    found = pairs(study, Comparison(name="c", candidate=names[0], reference=names[1]))
    expected = [each[::-1] for each in EXPECTED[kinds]] if turned else EXPECTED[kinds]
    assert sorted(map(str, found)) == sorted(map(str, (type(found[0])(*each) for each in expected)))


@pytest.mark.parametrize(
    ("name", "contrast", "met"),
    [
        ("stack − adapter", "intermediate", [("helpful", None), ("neutral", None)]),
        ("fuse − adapter", "intermediate", [(POOL, None)]),
        ("fuse − stack", "intermediates", [(POOL, "helpful"), (POOL, "neutral")]),
        ("stack − merge", "intermediates", [("helpful", POOL), ("neutral", POOL)]),
        ("fuse − merge", "system", [(POOL, POOL)]),
        ("fuse_wiki − fuse", "intermediates", [("helpful & en_wiki", POOL)]),
        ("wiki − adapter", "intermediate", [("en_wiki", None)]),
        ("direct − full", "intermediate", [(POOL, None)]),
    ],
)
def test_outcomes_say_what_differs(outcomes, name, contrast, met):
    found = of(outcomes, name)
    assert [(each.intermediate, each.reference_intermediate) for each in found] == met
    assert {each.contrast for each in found} == {contrast} and all(each.was_run for each in found)


# ----------------------------------------------------------------------------------------------------------- flags


def test_a_published_module_is_one_module_for_all_seeds_of_unknown_data(outcomes):
    for name in ("wiki − adapter", "fuse_wiki − fuse"):
        (found,) = of(outcomes, name)
        assert {Flag.ONE_INTERMEDIATE, Flag.CONTAMINATION_UNKNOWN} <= set(found.flags)
    assert not any(Flag.ONE_INTERMEDIATE in each.flags for each in of(outcomes, "fuse − merge"))


@pytest.mark.parametrize(("shared", "flagged"), [("neutral", True), ("elsewhere", False)])
def test_an_overlap_with_any_member_is_flagged(results, shared, flagged):
    task = results.manifest.tasks["qa"].model_copy(update={"overlaps": {shared: "its questions are these"}})
    manifest = results.manifest.model_copy(update={"tasks": {**results.manifest.tasks, "qa": task}})
    outcomes = compare(type(results)(manifest, *list(vars(results).values())[1:]))
    (pooled,), (with_wiki,) = of(outcomes, "fuse − adapter", "qa"), of(outcomes, "fuse_wiki − fuse", "qa")
    assert (Flag.CONTAMINATED in pooled.flags, Flag.CONTAMINATION_UNKNOWN in pooled.flags) == (flagged, not flagged)
    assert Flag.CONTAMINATION_UNKNOWN in with_wiki.flags and (Flag.CONTAMINATED in with_wiki.flags) == flagged


def test_of_language_adapters_nothing_is_known_either(store_maker, tmp_path):
    changed = [{**each, "language_modules": {"en": "en_wiki"}} for each in SYSTEMS[:2]]
    found = compare(
        load_results(
            store_maker(
                tmp_path,
                **CHANGES
                | {"system": changed, "comparison": [{"name": "c", "candidate": "adapter", "reference": "full"}]},
            ),
            "planted",
        )
    )
    assert all(Flag.CONTAMINATION_UNKNOWN in each.flags for each in found)


# --------------------------------------------------------------------------------------------------------- records


def record(**values):
    names = ("predict", "train", "intermediate_train", "intermediate")
    cell = {"system": "stack", "target": "nli", "seed": 1, "split": "test", **dict.fromkeys(names), "predict": "p"}
    return CellRecord(**cell | values)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ({}, []),
        ({"train": "t"}, [("t", "target")]),
        ({"intermediate": "a", "intermediate_train": "i", "train": "t"}, [("i", "intermediate"), ("t", "target")]),
        ({"intermediate": "a", "intermediate_train": "i", "train": "i"}, [("i", "intermediate")]),
        (
            {"intermediate": "a & b", "intermediate_trains": ("i", "j"), "train": "t", "behind": ("i", "j", "m", "t")},
            [("i", "intermediate"), ("j", "intermediate"), ("m", "auxiliary"), ("t", "target")],
        ),
        (
            {"intermediate": "a & b", "intermediate_trains": ("o", "i", "j"), "train": "m"},
            [("i", "intermediate"), ("j", "intermediate"), ("o", "target"), ("m", "target")],
        ),
        (
            {
                "intermediate": "a",
                "intermediate_trains": ("i",),
                "intermediate_train": "i",
                "train": "t",
                "behind": ("c", "i", "t"),
            },
            [("c", "auxiliary"), ("i", "intermediate"), ("t", "target")],
        ),
    ],
)
def test_steps_behind_a_cell(results, cell, expected):
    assert [(key, role) for key, role, _ in results.manifest.trainings(record(**cell))] == expected


def test_modules_of_files_older_than_the_field(results):
    single = {"intermediate": "helpful", "intermediate_train": "i", "train": "t"}
    assert results.manifest.modules(record(**single)) == ("i", "t")
    assert results.manifest.modules(record(**single | {"system": "warm"})) == ("t",)
    assert results.manifest.modules(record()) == ()


def test_what_was_not_trained_is_read_and_costed(results):
    assert {each.kind for each in results.modules.values()} == {"import", "combine"}
    table = costs(results)
    labels = [row.label for row in table.rows]
    assert "the wiki · intermediate, published" in labels and "the merge · auxiliary, combined" in labels
    (row,) = (row for row in table.rows if row.label == "the wiki · intermediate, published")
    assert [cell.text for cell in row.cells] == [*"––––", "40.0 k", "160.0 kB", "0.5 s", "0.5 s", *"–––"]


def test_a_result_of_another_kind_is_refused(store_maker, tmp_path):
    root = store_maker(tmp_path, **CHANGES)
    key = next(iter(load_results(root, "planted").modules))
    directory = root / "steps" / key
    write_json(directory / "result.json", {"kind": "other"})
    sums = json.loads((directory / "files.json").read_text())
    write_json(directory / "files.json", {**sums, "result.json": sha256(directory / "result.json")})
    with pytest.raises(XstiltsError, match="kind"):
        load_results(root, "planted")


# -------------------------------------------------------------------------------------------------------- overview

ONE, HEAD, MADE, FUSED, WHOLE = 40_600, 600, 40_000, 240_000, 3_400_600


@pytest.mark.parametrize(
    ("system", "of", "own", "shared", "seconds"),
    [
        ("full", "one", WHOLE, 0, 3 * 20),
        ("adapter", "one", ONE, 0, 3 * 14),
        ("full_warm", "mean", WHOLE, 0, 4 * 20),
        ("warm", "mean", ONE, 0, 4 * 14),
        ("stack", "mean", ONE, ONE - HEAD, 4 * 14),
        ("stack", "best on dev", ONE, ONE - HEAD, 4 * 14),
        ("fuse", "one", ONE + FUSED, 2 * (ONE - HEAD), 5 * 14),
        ("merge", "one", ONE, MADE, 5 * 14 + 0.5),
        ("direct", "one", ONE, 0, 5 * 14 + 3 * 0.5),
        ("wiki", "one", ONE, MADE, 3 * 14 + 0.5),
        ("fuse_wiki", "one", ONE + FUSED, ONE - HEAD + MADE, 4 * 14 + 0.5),
    ],
)
def test_what_is_kept_and_what_it_took(rows, system, of, own, shared, seconds):
    row = rows[system, of]
    assert (row.per_target, row.shared, row.seconds, row.seeds) == pytest.approx((own, shared, seconds, 3))


def test_every_system_has_a_row_and_the_best_on_dev_where_there_is_a_choice(rows):
    assert len(rows) == len(SYSTEMS) + 3
    assert {name for name, of in rows if of == "best on dev"} == {"full_warm", "warm", "stack"}


def by_hand(results, system, names):
    """Mean over intermediates, targets, zero-shot languages and seeds of the first ratio."""
    values = []
    for name, target in itertools.product(names, ("nli", "pos", "qa")):
        panel, cells = results.panels[target], results.cells[Entry(system, name, target)].values()
        for language in ("de", "zh", "sw"):
            sums = [results.stats[cell.predict][panel.rows[language]].sum(axis=0) for cell in cells]
            values.append(np.mean([panel.metric.score(each) for each in sums]))
    return np.mean(values)


@pytest.mark.parametrize(
    ("system", "of", "names"),
    [
        ("adapter", "one", [None]),
        ("fuse", "one", [POOL]),
        ("stack", "mean", BOTH),
        ("stack", "best on dev", ["helpful"]),
        ("warm", "mean", BOTH),
    ],
)
def test_scores_are_the_means_they_claim_to_be(results, rows, system, of, names):
    row = rows[system, of]
    assert row.estimate.score == pytest.approx(by_hand(results, system, names))
    assert row.estimate.low < row.estimate.score < row.estimate.high


def test_two_rows_differ_by_what_the_differences_say(rows, outcomes):
    (found,) = of(outcomes, "fuse − merge")
    assert rows["fuse", "one"].estimate.score - rows["merge", "one"].estimate.score == pytest.approx(found.difference)


def test_a_mean_over_intermediates_counts_each_target_as_examples_of_its_own(results):
    """Blocks stay those of the cells: the mean of one intermediate with itself is that intermediate."""
    estimand = primary(results.manifest)
    once, twice = (average(results, "stack", names, estimand) for names in (["helpful"], ["helpful", "helpful"]))
    assert twice.seeds == once.seeds == 3
    assert twice.estimate[:7] == pytest.approx(once.estimate[:7])


def test_the_choice_follows_dev_and_never_test(store_maker, tmp_path, monkeypatch):
    monkeypatch.setitem(store_maker.__globals__, "DEV", {"helpful": 60.0, "neutral": 61.0})
    found = overview(load_results(store_maker(tmp_path, **CHANGES), "planted"))
    chosen = next(row for row in found.rows if (row.system, row.of) == ("stack", "best on dev"))
    mean = next(row for row in found.rows if (row.system, row.of) == ("stack", "mean"))
    assert chosen.intermediates == ("neutral",) and chosen.estimate.score < mean.estimate.score
    assert "no test score takes part" in found.caption


def test_without_a_dev_score_of_each_nothing_is_chosen(store_maker, tmp_path, monkeypatch):
    monkeypatch.setitem(store_maker.__globals__, "DEV", {"helpful": 60.0, "neutral": None})
    found = overview(load_results(store_maker(tmp_path, **CHANGES), "planted"))
    assert {row.of for row in found.rows} == {"one", "mean"}


def test_what_was_not_run_has_a_row_without_numbers(store_maker, tmp_path):
    skip = {("fuse", POOL, "qa", seed) for seed in (1, 2, 3)}
    out = report.write(store_maker(tmp_path / "store", skip=skip, **CHANGES), "planted", tmp_path / "out").path.parent
    with (out / "compositions.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = (row for row in csv.DictReader(stream) if row["system"] == "fuse")
    assert row["score"] == row["low"] == row["stored_per_target"] == ""
    assert "the fuse · 2 together: not run" in (out / "report.html").read_text().replace("\u00a0", " ")


def test_one_seed_and_failed_runs_are_marked(store_maker, tmp_path):
    changes = {**CHANGES, "seeds": [1], "collapsed": {("adapter", None, "pos", 1)}}
    found = overview(load_results(store_maker(tmp_path, **changes), "planted"))
    assert all(row.shown.endswith("]†") for row in found.rows) and "One seed" in found.caption
    (adapter,) = (row for row in found.table.rows if row.label == "the adapter")
    assert adapter.cells[0].detail == "1 training collapsed or diverged"


def test_the_numbers_are_in_every_file(results, out):
    with (out / "compositions.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    html, markdown = (
        (out / name).read_text(encoding="utf-8").replace("\u00a0", " ") for name in ("report.html", "report.md")
    )
    found = overview(results)
    assert len(lines) == len(found.rows) == 13
    for line, row in zip(lines, found.rows, strict=True):
        assert (line["system"], line["of"], line["intermediates"]) == (row.system, row.of, "; ".join(row.intermediates))
        assert float(line["score"]) == row.estimate.score and float(line["stored_shared"]) == row.shared
        shown = row.shown.replace("\u00a0", " ")
        assert html.count(shown) >= 3 and shown in markdown  # alternative text, figure, table
        assert f"| {row.name} | {shown} | 3 |".replace("\u00a0", " ") in markdown


def test_a_figure_survives_nothing_stored_and_long_labels():
    rows = [Dot("a label that is longer than what fits on one line of a figure", 50.0, 40.0, 60.0, "50", 0.0, 0.0)]
    rows.append(Dot("not run", *[float("nan")] * 3, "not run", float("nan"), float("nan"), minor=True))
    svg = dots(rows, "x", "told")
    assert svg.startswith("<svg") and 'aria-label="told"' in svg
    assert len(re.findall(r">(?:a label that is|of a figure)", svg)) >= 1


# -------------------------------------------------------------------------------------------------------- findings


@pytest.fixture(scope="module")
def findings(results, outcomes):
    names = [each.name for each in results.manifest.study.comparison]
    return dict(zip(names, answer(results.manifest, outcomes).findings, strict=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "stack − adapter",
            "Averaged over 3 targets (retrieval apart) and their zero-shot languages: gain with helpful (+",
        ),
        ("stack − adapter", "no gain shown with neutral (q ≤ .05)."),
        ("fuse − adapter", "The fuse scores 5.0 points higher than the adapter [3.2, 6.8], with helpful and neutral"),
        ("fuse − stack", "The fuse against the stack, with 2 together against each of 2: "),
        ("stack − merge", "The stack against the merge, with each of 2 against 2 together: "),
        ("fuse − merge", "Between the fuse and the merge, both with helpful and neutral together: "),
        ("fuse_wiki − fuse", ", with helpful and en_wiki together against helpful and neutral together: "),
    ],
)
def test_sentences_say_what_was_compared(findings, name, words):
    sentence = findings[name].sentence.replace("\u00a0", " ")
    assert words in sentence


@pytest.mark.parametrize("name", ["fuse − stack", "stack − merge", "fuse_wiki − fuse"])
def test_a_difference_of_both_is_called_one(findings, name):
    assert "Systems and intermediates differ at once: the difference is that of both." in findings[name].text
    assert "differ at once" not in findings["fuse − merge"].text + findings["fuse − adapter"].text


def test_every_intermediate_has_its_verdict_with_intervals(findings, out):
    helpful, neutral = (line.replace("\u00a0", " ") for line in findings["stack − adapter"].details)
    bracket = r"[+−]?\d+\.\d+ \[−?\d+\.\d+, −?\d+\.\d+\]"
    assert re.match(rf"helpful: gain {bracket} on average; gain on nli {bracket}", helpful)
    assert re.match(rf"neutral: no gain shown {bracket} on average; ", neutral)
    assert len(re.findall(bracket, helpful)) == len(re.findall(bracket, neutral)) == 5
    html, markdown = (
        (out / name).read_text(encoding="utf-8").replace("\u00a0", " ") for name in ("report.html", "report.md")
    )
    assert f"<li>{helpful}</li>" in html and f"  - {helpful}" in markdown
    assert len(findings["fuse − stack"].details) == 2 and not findings["fuse − merge"].details


def test_only_a_fusion_with_a_module_on_top_can_be_a_gain(results):
    study = results.manifest.study
    bare = [
        each.model_copy(update={"fuse": each.fusing.model_copy(update={"on_top": False})})
        if each.name == "fuse"
        else each
        for each in study.system
    ]
    changed = results.manifest.model_copy(update={"study": study.model_copy(update={"system": tuple(bare)})})
    gain = study.comparison[1]
    assert View(results.manifest, ()).is_gain(gain) and not View(changed, ()).is_gain(gain)


def test_the_card_names_what_is_joined_and_where_it_is_from(results, outcomes):
    shown = card(results)
    facts = dict(shown.facts)
    assert (
        facts["published module"] == "en_wiki: somebody/en-wiki"
        and "en_wiki (published)" in facts["intermediate tasks"]
    )
    starts = {row.cells[0].text: row.cells[-1].text for row in shown.systems.rows}
    assert starts["fuse"] == "fuse, own module on top; of helpful and neutral"
    assert starts["direct"] == "merge (linear, equal weights) with the target’s own; of helpful and neutral"
    certainty = answer(results.manifest, outcomes).certainty
    assert "Where a published module is used" in certainty and "one training per intermediate" not in certainty


def test_figures_of_one_pair_show_targets_and_say_which(out):
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "with 2 together; 2 together: helpful and neutral together" in text
    assert "2 together against neutral" in text
