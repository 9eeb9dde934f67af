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
from xstilts.results import load_results

VOID = {"meta", "link", "br", "img", "hr", "input"}
FILES = {"report.html", "report.md", "comparisons.json", "comparisons.csv", "scores.csv"}
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
    path = report.write(planted, "planted", tmp_path_factory.mktemp("out") / "deep" / "report")
    assert path.name == "report.html"
    return path.parent


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
    again = report.write(planted, "planted", tmp_path).parent
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
    per_run = {"nli": 4 * 1, "pos": 4 * 2, "qa": 4 * 3, "pairs": 3 * 1}  # languages × ratios
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
    assert {attrs["href"] for attrs in page.named("a")} == {"comparisons.csv", "comparisons.json", "scores.csv"}


def test_every_figure_has_an_alternative_text_that_holds_its_numbers(page):
    figures = page.named("svg")
    assert len(figures) == 4
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
    assert "2 of 8 pairs of intermediate and target task gain, best supported helpful → nli" in text
    assert "71 of 72 run" in text and "full_stilts · neutral: pos (seed 3)" in text
    assert "adapter, pos, seed 2: collapsed (constant predictions on dev)" in text
    assert "proves nothing about XLM-R on XTREME" in text
    assert "40.0 k" in text and "1.2 %" in text and "13.6 MB" in text


def test_markdown_has_the_same_answer(out, planted):
    text = (out / "report.md").read_text(encoding="utf-8")
    found = answer(load_results(planted, "planted").manifest, compare(load_results(planted, "planted")))
    for finding in found.findings:
        assert finding.figure in text
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
    out = report.write(store_maker(tmp_path / "store", **changes), "planted", tmp_path / "out").parent
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


def test_two_seeds_are_shown_and_not_judged(store_maker, tmp_path):
    found = findings(store_maker, tmp_path, seeds=[1, 2])
    assert found.findings[0].verdict == "not judged"
    assert found.findings[0].range.startswith("[")


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
    path = report.write(store, "planted", tmp_path / "out")
    text = " ".join(Page(path.read_text(encoding="utf-8")).text)
    assert "0 of 8 run" in text and "missing from the store" in text


def test_gains_are_told_even_if_a_mean_over_targets_cannot_be_formed(store_maker, tmp_path):
    skip = {("adapter", None, "qa", seed) for seed in (1, 2, 3)}
    first, _, gain, _ = findings(store_maker, tmp_path, skip=skip).findings
    assert (first.verdict, first.figure) == ("not run", "")
    assert gain.verdict == "gain" and "of 6 pairs" in gain.sentence


def test_no_caveat_for_a_real_backbone(store_maker, tmp_path):
    assert findings(store_maker, tmp_path, backbone="xlm-roberta-base").caveat == ""


def test_fixed_intermediates_are_told(store_maker, tmp_path):
    assert "luck of that training is not counted" in findings(store_maker, tmp_path, source_seeds="fixed").certainty


# -------------------------------------------------------------------------------------------------------- headline


def test_headline_is_plain_text(planted):
    lines = report.headline(planted, "planted").splitlines()
    assert lines[0].startswith("adapter − full fine-tuning") and lines[0].endswith("lower")
    assert "1 cell of 72 not run" in lines
    assert len(lines) == 6


def test_a_directory_that_cannot_be_written_is_one_clear_message(planted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XstiltsError, match="cannot write"):
        report.write(planted, "planted", tmp_path / "file" / "report")
