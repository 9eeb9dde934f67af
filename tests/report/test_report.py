"""The report as a reader gets it: complete, self-contained, escaped, repeatable, and saying what the outcomes say."""

import csv
import html.parser
import json
import math
import re

import pytest

from xstilts import report
from xstilts.compare import compare
from xstilts.errors import XstiltsError
from xstilts.report.answer import answer
from xstilts.report.card import card
from xstilts.report.scores import board, scores
from xstilts.report.tables import effect_matrix, score_table
from xstilts.report.view import View
from xstilts.results import load_results

VOID = {"meta", "link", "br", "img", "hr", "input"}
FILES = {"report.html", "report.md", "comparisons.json", "comparisons.csv", "compositions.csv", "scores.csv"}
EVIL = "<script>alert('x')</script> & \"quoted\" | *starred*"


class Page(html.parser.HTMLParser):
    """Collects text, attributes and nesting errors of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.problems = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def named(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def out(planted, tmp_path_factory):
    written = report.write(planted, "planted", tmp_path_factory.mktemp("out") / "deep" / "report")
    assert written.path.name == "report.html"
    return written.path.parent


@pytest.fixture(scope="module")
def page(out):
    return Page((out / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def outcomes(out):
    return json.loads((out / "comparisons.json").read_text(encoding="utf-8"))["outcomes"]


# ----------------------------------------------------------------------------------------------------------- files


def test_writes_its_files_and_nothing_else(out):
    assert {path.name for path in out.iterdir()} == FILES


def test_the_same_store_gives_the_same_bytes(planted, out, tmp_path):
    again = report.write(planted, "planted", tmp_path).path.parent
    for name in FILES:
        assert (again / name).read_bytes() == (out / name).read_bytes(), name


def test_tidy_files_hold_every_outcome_at_full_precision(planted, out, outcomes):
    computed = compare(load_results(planted, "planted"))
    assert len(outcomes) == len(computed)
    with (out / "comparisons.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for ours, record, line in zip(computed, outcomes, lines, strict=True):
        for name in ("difference", "low", "high", "p", "q", "df", "candidate_score"):
            value = getattr(ours, name)
            assert record[name] == (None if math.isnan(value) else value)
            assert line[name] == ("" if math.isnan(value) else repr(value))
        assert line["flags"] == "; ".join(record["flags"])


def test_scores_are_tidy_and_average_to_the_outcomes(out, outcomes):
    with (out / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    runs = {"nli": 18, "pos": 17, "qa": 18, "pairs": 18}  # one run of pos is missing
    per_run = {"nli": 4 * 1, "pos": 4 * 2, "qa": 4 * 5, "pairs": 3 * 1}  # languages × ratios
    assert len(rows) == sum(runs[target] * per_run[target] for target in runs)
    chosen = [
        float(row["score"])
        for row in rows
        if (row["system"], row["target"], row["language"], row["metric"]) == ("adapter", "qa", "de", "qa")
    ]
    assert len(chosen) == 3
    (record,) = (
        each
        for each in outcomes
        if (each["comparison"], each["target"], each["language"]) == ("adapter vs full", "qa", "de")
    )
    assert record["candidate_score"] == pytest.approx(sum(chosen) / 3)


# ------------------------------------------------------------------------------------------------------------ html


def test_html_is_well_formed_and_needs_nobody_else(page, out):
    assert not page.problems and not page.open
    text = (out / "report.html").read_text(encoding="utf-8")
    assert not page.named("script") and not page.named("link") and not page.named("img")
    addresses = set(re.findall(r"https?://[^\"' )]*", text))
    assert addresses <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}  # names, never fetched
    assert {attrs["href"] for attrs in page.named("a")} == {
        "comparisons.csv",
        "comparisons.json",
        "compositions.csv",
        "scores.csv",
    }


def test_every_figure_has_an_alternative_text_that_holds_its_numbers(page):
    systems, *figures = page.named("svg")
    assert len(figures) == 4
    assert systems["role"] == "img" and systems["aria-label"].startswith("Scores of every system in percent")
    for attrs in figures:
        assert attrs["role"] == "img"
        assert attrs["aria-label"].startswith("Forest plot of ")
    assert "qa: −12.7\u00a0[−20.9,\u00a0−4.6], lower" in figures[0]["aria-label"]


def test_ids_are_unique_and_references_resolve(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = {attrs["xlink:href"].removeprefix("#") for attrs in page.named("use")}
    assert used <= set(ids)


def test_every_difference_that_was_computed_is_on_the_page(page, outcomes):
    text = " ".join(page.text).replace("\u00a0", " ")
    for record in outcomes:
        if record["low"] is not None:
            low, high = (report.words.signed(record[name]).removeprefix("+") for name in ("low", "high"))
            assert f"[{low}, {high}]" in text


def test_the_answer_speaks_first_and_names_what_is_not_there(page):
    text = " ".join(" ".join(page.text).split()).replace("\u00a0", " ")
    assert text.index("Compared.") < text.index("Result.") < text.index("Certainty.") < text.index("What was run")
    assert "Adapter scores 4.4 points lower than full fine-tuning [−7.7, −1.1]" in text
    assert "2 of 8 pairs of intermediate and target task gain and 0 lose; best supported helpful → nli +1" in text
    assert "helpful → nli, strongest of 8" in text and "The strongest of several are flattered by selection." in text
    assert "71 of 72 run" in text and "full_stilts · neutral: pos (seed 3)" in text
    assert "adapter, pos, seed 2: collapsed (constant predictions on dev)" in text
    assert "proves nothing about XLM-R on XTREME" in text
    assert "all English training data of the task" in text
    assert "40.0 k" in text and "1.2 %" in text and "13.6 MB" in text


def test_markdown_has_the_same_answer(out, planted):
    text = (out / "report.md").read_text(encoding="utf-8")
    found = answer(load_results(planted, "planted").manifest, compare(load_results(planted, "planted")))
    for finding in found.findings:
        assert finding.effects
        assert finding.figures.replace("\u00a0", " ") in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_text_from_data_is_escaped(store_maker, tmp_path, monkeypatch):
    constants = store_maker.__globals__
    systems = [{**system, "label": EVIL} for system in constants["SYSTEMS"][::2]]
    comparisons = [{**constants["COMPARISONS"][0], "name": EVIL}]
    monkeypatch.setitem(constants, "TARGETS", {EVIL: constants["TARGETS"]["nli"]})
    changes = {"system": systems, "comparison": comparisons, "targets": [EVIL], "title": EVIL, "note": EVIL}
    out = report.write(store_maker(tmp_path / "store", **changes), "planted", tmp_path / "out").path.parent
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.named("script") and not page.problems
    assert "".join(page.text).count(EVIL) > 10
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown


# ---------------------------------------------------------------------------------------------------------- answer


def findings(store_maker, tmp_path, **changes):
    results = load_results(store_maker(tmp_path, **changes), "planted")
    return answer(results.manifest, compare(results))


def test_one_seed_never_gets_a_verdict(store_maker, tmp_path):
    found = findings(store_maker, tmp_path, seeds=[1])
    assert {finding.verdict for finding in found.findings} == {"not judged"}
    assert "speaks of these models alone" in found.certainty
    assert "very models" in found.findings[0].text
    assert all("]†" in finding.figures for finding in found.findings)


def test_two_seeds_are_shown_and_not_judged(store_maker, tmp_path):
    found = findings(store_maker, tmp_path, seeds=[1, 2])
    assert found.findings[0].verdict == "not judged"
    assert {finding.verdict for finding in found.findings} == {"not judged"}
    assert all("]" in finding.figures and not finding.tone for finding in found.findings)


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_few_seeds_give_no_stars_no_colours_and_no_filled_marks_anywhere(store_maker, tmp_path, seeds):
    results = load_results(store_maker(tmp_path / "store", seeds=seeds), "planted")
    view = View(results.manifest, compare(results))
    for comparison in results.manifest.study.comparison[1:]:  # the first has no intermediate task
        cells = [cell for row in effect_matrix(view, comparison).rows for cell in row.cells]
        assert {cell.tone for cell in cells} <= {"none", "void"}
        assert not any("*" in cell.text for cell in cells)
    text = report.write(tmp_path / "store", "planted", tmp_path / "out").path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.named("svg")) == 5
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--up)" not in figures and "var(--down)" not in figures
    assert "not judged" in text and not re.search(r"\d, (higher|lower|no difference)", text)
    assert ("†" in text) == (seeds == [1])


def test_a_null_result_is_not_called_equality(store_maker, tmp_path, monkeypatch):
    monkeypatch.setitem(store_maker.__globals__, "LOSS", {})
    monkeypatch.setitem(store_maker.__globals__, "GAIN", {})
    found = findings(store_maker, tmp_path)
    assert found.findings[0].verdict == "no difference shown"
    assert "neither a difference nor that there is none" in found.findings[0].text
    assert found.findings[2].verdict == "no gain shown"


def test_a_study_that_did_not_run_says_so(store_maker, tmp_path):
    every = {(system, None, target, 1) for system in ("full", "adapter") for target in ("nli", "pos", "qa", "pairs")}
    changes = {"system": store_maker.__globals__["SYSTEMS"][::2], "seeds": [1], "intermediates": []}
    changes["comparison"] = store_maker.__globals__["COMPARISONS"][:1]
    store = store_maker(tmp_path / "store", skip=every, **changes)
    path = report.write(store, "planted", tmp_path / "out").path
    text = " ".join(Page(path.read_text(encoding="utf-8")).text)
    assert "0 of 8 run" in text and "missing from the store" in text


def test_gains_are_told_even_if_a_mean_over_targets_cannot_be_formed(store_maker, tmp_path):
    skip = {("adapter", None, "qa", seed) for seed in (1, 2, 3)}
    first, _, gain, _ = findings(store_maker, tmp_path, skip=skip).findings
    assert (first.verdict, first.figures) == ("not run", "–")
    assert gain.verdict == "gain" and "of 6 pairs" in gain.sentence


@pytest.mark.parametrize(
    ("natural", "backbone", "told", "untold"),
    [
        ((), "mini", ("all target tasks is generated", "embedded small one", "proves nothing"), ()),
        (("nli", "pos", "qa", "pairs"), "mini", ("embedded small one",), ("generated", "XTREME")),
        (("nli", "qa"), "mini", ("The text of pos and pairs is generated", "embedded small one"), ("XTREME",)),
        ((), "xlm-roberta-base", ("all target tasks is generated",), ("small", "XTREME")),
        (("nli", "pos", "qa", "pairs"), "xlm-roberta-base", (), ("generated", "small", "XTREME")),
    ],
)
def test_caveats(planted, natural, backbone, told, untold):
    manifest = load_results(planted, "planted").manifest
    tasks = {name: task.model_copy(update={"generated": name not in natural}) for name, task in manifest.tasks.items()}
    changes = {"tasks": tasks, "backbone": manifest.backbone.model_copy(update={"name": backbone})}
    caveat = answer(manifest.model_copy(update=changes), ()).caveat
    assert all(words in caveat for words in told) and not any(words in caveat for words in untold)


def test_only_an_intermediate_task_alone_is_called_a_gain(store_maker, tmp_path):
    pairs = [("adapter_stilts", "adapter"), ("adapter_stilts", "full"), ("adapter", "adapter_stilts")]
    named = [{"name": f"{ours} − {theirs}", "candidate": ours, "reference": theirs} for ours, theirs in pairs]
    own, other, reverse = findings(store_maker, tmp_path, comparison=named).findings
    assert own.verdict == "gain" and "gain and 0 lose" in own.sentence
    assert other.verdict == "higher" and "2 of 8 pairs" in other.sentence
    assert "are higher and" in other.sentence and "gain" not in other.sentence + other.text
    assert reverse.verdict == "lower" and "0 of 8 pairs of intermediate and target task are higher" in reverse.sentence


def test_a_side_of_failed_runs_is_told_beside_its_numbers(store_maker, tmp_path):
    collapsed = {("adapter", None, "pos", seed) for seed in (1, 2, 3)} | {("full", None, "nli", 2)}
    store = store_maker(tmp_path / "store", collapsed=collapsed)
    page = Page(report.write(store, "planted", tmp_path / "out").path.read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert re.search(r"\d+\.\dall collapsed", text) and re.search(r"\d+\.\d1 of 3 collapsed", text)
    assert "pos (all failed)" in page.named("svg")[1]["aria-label"]


def test_fixed_intermediates_are_told(store_maker, tmp_path):
    assert "luck of that training is not counted" in findings(store_maker, tmp_path, source_seeds="fixed").certainty


# -------------------------------------------------------------------------------------------------------- headline


def test_headline_has_a_difference_with_its_interval_in_every_row(planted, tmp_path):
    lines = report.write(planted, "planted", tmp_path).headline.splitlines()
    assert lines[0].startswith("adapter − full fine-tuning") and lines[0].endswith("lower")
    for line in lines[:4]:
        assert re.search(r"[+−]\d+\.\d \[−?\d+\.\d,\u00a0−?\d+\.\d\]", line), line
    assert "neutral …" in lines[1] and lines[1].count("[") == 2  # the smallest and the largest of two
    assert lines[1].endswith("lower with 1 of 2")  # a run of the other one is missing, so it is not judged
    assert "helpful → nli, strongest of 8" in lines[2]
    assert "1 cell of 72 not run" in lines
    assert len(lines) == 6


def test_a_directory_that_cannot_be_written_is_one_clear_message(planted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XstiltsError, match="not a directory"):
        report.write(planted, "planted", tmp_path / "file" / "report")


def test_suite_scores_are_means_over_targets_of_means_over_all_languages(planted):
    results = load_results(planted, "planted")
    rows = scores(results)
    table = score_table(results, board(rows))
    assert table.columns[-2:] == ("suite score, targets without retrieval", "suite score, all targets")

    def by_hand(targets):
        first = {"nli": "accuracy", "pos": "f1", "qa": "qa", "pairs": "accuracy"}
        means = []
        for target in targets:
            picked = [row for row in rows if (row.system, row.target, row.metric) == ("full", target, first[target])]
            languages = {row.language for row in picked}
            assert ("en" in languages) == (target != "pairs")
            means.append(
                sum(sum(r.score for r in picked if r.language == code) / 3 for code in languages) / len(languages)
            )
        return f"{sum(means) / len(means):.1f}"

    (row,) = (row for row in table.rows if row.label == "full fine-tuning")
    expected = by_hand(("nli", "pos", "qa")), by_hand(("nli", "pos", "qa", "pairs"))
    assert tuple(cell.text for cell in row.cells[-2:]) == expected


def test_the_answer_says_what_was_translated(store_maker, tmp_path):
    manifest = load_results(store_maker(tmp_path, intermediate_language="de"), "planted").manifest
    compared = answer(manifest, ()).compared
    assert "Each learns target tasks from English labels only" in compared
    assert "2 intermediate tasks can be trained before the target, in translations into de." in compared
    facts = dict(card(load_results(tmp_path, "planted")).facts)
    assert facts["intermediate data"] == "the user's translations into de"
