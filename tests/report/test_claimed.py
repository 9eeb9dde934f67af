"""The verdicts on a report's first screen."""

import json
from typing import get_args

import pytest

from xstilts import report
from xstilts.claims.model import Hypothesis
from xstilts.errors import XstiltsError
from xstilts.report.claims import _asked, claimed
from xstilts.results import load_results

CLAIMS = """
[[claim]]
id = "helps"
text = "The helpful task <b>helps</b> | a lot."
study = "planted"
candidate = { system = "adapter_stilts", intermediates = ["helpful"] }
reference = { system = "adapter" }
targets = ["nli"]
family = "confirmatory"
[[claim.hypothesis]]
kind = "superiority"
sesoi = 2.0
[[claim.hypothesis]]
kind = "magnitude"
value = -40.0
tolerance = 1.0

[[claim]]
id = "neutral"
text = "The neutral task does no harm."
study = "planted"
candidate = { system = "adapter_stilts", intermediates = ["neutral"] }
reference = { system = "adapter" }
targets = ["nli"]
family = "exploratory"
[[claim.hypothesis]]
kind = "non_inferiority"
margin = 1.0
"""


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(CLAIMS, encoding="utf-8")
    return path


def test_every_hypothesis_has_its_row(planted, claims):
    found = claimed(load_results(planted, "planted"), claims, planted)
    assert [row.cells[1].text for row in found.table.rows] == ["> 0, by 2 to matter", "−40.0 ± 1", "> −1"]
    verdicts = [row.cells[0].text for row in found.table.rows]
    assert verdicts[:2] == ["supported, practically relevant", "refuted"]
    assert [row.cells[0].tone for row in found.table.rows][:2] == ["up", "down"]
    assert found.table.rows[2].label.endswith("(exploratory)")
    assert found.summary.startswith("Of 3 hypotheses: 1 supported, practically relevant")
    assert found.registered.startswith("They are not under version control") and "sha256" in found.registered


def test_the_page_shows_them_first_and_escaped(planted, claims, tmp_path):
    written = report.write(planted, "planted", tmp_path / "out", claims=claims)
    html = written.path.read_text(encoding="utf-8")
    assert "<b>helps</b>" not in html and "&lt;b&gt;helps&lt;/b&gt;" in html
    assert html.index("Claims and verdicts") < html.index("Compared.")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## Claims and verdicts" in markdown and "refuted" in markdown
    assert "| helps" not in markdown.replace("\\|", "")


def test_without_claims_there_is_no_section(planted, tmp_path, claims):
    results = load_results(planted, "planted")
    assert claimed(results, None, planted) is None
    assert claimed(results, tmp_path / "nothing.toml", planted) is None
    claims.write_text(CLAIMS.replace('study = "planted"', 'study = "another"'), encoding="utf-8")
    assert claimed(results, claims, planted) is None
    html = report.write(planted, "planted", tmp_path / "out", claims=claims).path.read_text(encoding="utf-8")
    assert "Claims and verdicts" not in html


def test_claims_that_name_what_is_not_there_are_refused(planted, claims):
    claims.write_text(CLAIMS.replace('system = "adapter" }', 'system = "adaptr" }'), encoding="utf-8")
    with pytest.raises(XstiltsError, match="adapter"):
        claimed(load_results(planted, "planted"), claims, planted)


KINDS = {
    "superiority": ({"sesoi": 1.0}, "> 0, by 1 to matter"),
    "non_inferiority": ({"margin": 1.5}, "> −1.5"),
    "equivalence": ({"margin": 0.5}, "within ±0.5"),
    "magnitude": ({"value": 8.2, "tolerance": 2.0}, "+8.2 ± 2"),
    "minimal_effect": ({"bound": 10.0}, "> 10"),
    "top_k": ({"k": 3, "among": ["a", "b", "c", "d"], "sesoi": 1.0}, "among the first 3 of 4"),
    "retention": (
        {"share": 0.9, "candidate_without": "a", "reference_without": "b", "sesoi": 1.0},
        "at least 90% of the other gain",
    ),
    "intersection_union": (
        {"over": "intermediates", "each": {"kind": "equivalence", "margin": 1.0, "side": "no gain"}},
        "< 1, in each of its intermediates",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_hypothesis_has_words(kind):
    fields, words = KINDS[kind]
    (model,) = (each for each in get_args(Hypothesis) if each.model_fields["kind"].default == kind)
    assert _asked(model.model_validate_json(json.dumps({"kind": kind, **fields}))) == words


def test_no_kind_is_left_out():
    kinds = {each.model_fields["kind"].default for each in get_args(Hypothesis)}
    assert kinds == set(KINDS) and len(kinds) == 8
