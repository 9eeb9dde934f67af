"""The report of a study, from the store alone: HTML and Markdown to read, CSV and JSON to compute with.

results ─► outcomes ─┬► answer (sentences)  ─┐
                     ├► figures, tables     ─┼► templates ─► report.html, report.md
results ─► scores ───┼► card, costs         ─┤
results ─► overview ─┴► compositions        ─┘
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from xstilts.compare import MIN_SEEDS, Flag, Outcome, compare
from xstilts.files import told
from xstilts.report.answer import Answer, answer
from xstilts.report.card import card, costs
from xstilts.report.claims import claimed
from xstilts.report.figures import Line, forest
from xstilts.report.files import comparisons_csv, comparisons_json, compositions_csv, scores_csv
from xstilts.report.overview import Overview, overview
from xstilts.report.scores import board, scores
from xstilts.report.tables import by_language, effect_matrix, outcome_table, score_table
from xstilts.report.view import View
from xstilts.report.words import MODELS_ONLY, aligned, composed, effect, plural, spelled, together, verdict
from xstilts.results import Results, load_results
from xstilts.study import Comparison

TEMPLATES = Path(__file__).parent / "templates"
METHOD = (
    "Every score is a ratio of sums over test examples, so each example's influence on it is known in closed form. "
    "Influences are summed within clusters (examples that share a text or translate each other), weighted by the mean "
    "in question (over languages, then over targets), and give the variance that the choice of examples brings in; the "
    "scatter of the scores over seeds gives the variance that training brings in; their interaction, contained in "
    "both, is subtracted once. The interval is a t interval with Satterthwaite’s degrees of freedom (two-way cluster "
    "variance: Cameron, Gelbach & Miller 2011); tests that share no cluster enter it with degrees of freedom of their "
    "own, so that a small one does not borrow those of a large one. q-values correct for the number of outcomes in one "
    f"matrix (Benjamini & Hochberg 1995). With fewer than {MIN_SEEDS} seeds there is neither a verdict nor a q."
)
MODELS_NOTE = f"{MODELS_ONLY}: counts examples only and speaks of these very models, because a side has one seed."
BASELINES_NOTE = (
    "what a trivial rule scores on the same test sets. Its rule comes from all English training data of the task, also "
    "where the systems trained on a part of it (train_examples)."
)


class Written(NamedTuple):
    """A report on disk.

    Attributes:
        path: its ``report.html``.
        headline: the findings as a few lines of plain text.
    """

    path: Path
    headline: str


def write(store: Path, study: str, out: Path, backbone: str | None = None, claims: Path | None = None) -> Written:
    """Write the report of a study.

    Args:
        store: root of the store.
        study: name of the study.
        out: directory of the report, made if it does not exist.
        backbone: name of the backbone; needed only where the store holds the study with several.
        claims: file of claims; those about the study get their verdicts.

    Raises:
        XstiltsError: the store does not hold the study, holds damaged artefacts, or ``out`` cannot be written.
    """
    results = load_results(store, study, backbone)
    outcomes = compare(results)
    rows = scores(results)
    found = answer(results.manifest, outcomes)
    systems = overview(results)
    page = _page(results, outcomes, rows, systems) | {"answer": found, "claimed": claimed(results, claims, store)}
    content = {
        "report.html": _render("report.html.j2", page),
        "report.md": re.sub(r"\n{3,}", "\n\n", _render("report.md.j2", page)),
        "comparisons.json": comparisons_json(results.manifest, outcomes),
        "comparisons.csv": comparisons_csv(outcomes),
        "compositions.csv": compositions_csv(systems),
        "scores.csv": scores_csv(rows),
    }
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    return Written(out / "report.html", _headline(results, found))


def _headline(results: Results, found: Answer) -> str:
    """A line for each finding: what was compared, differences with their intervals, the verdict."""
    rows = [(finding.title, finding.figures, finding.verdict) for finding in found.findings]
    lines = aligned(rows)
    missing = f"{plural(len(results.missing), 'cell')} of {len(results.manifest.cells)} not run"
    return "\n".join([*lines, *([missing] if results.missing else []), *([found.caveat] if found.caveat else [])])


# ----------------------------------------------------------------------------------------------------------- page


class Forest(NamedTuple):
    """One figure with what it shows in words."""

    title: str
    svg: str
    caption: str
    lines: tuple[str, ...]


def _page(results: Results, outcomes: tuple[Outcome, ...], rows: list[Any], systems: Overview) -> dict[str, Any]:
    """Everything the templates show."""
    manifest = results.manifest
    view = View(manifest, outcomes)
    averages = board(rows)
    with_intermediates = [each for each in manifest.study.comparison if any(o.intermediate for o in view.of(each))]
    return {
        "manifest": manifest,
        "card": card(results),
        "forests": tuple(_forests(view)),
        "matrices": [effect_matrix(view, each) for each in with_intermediates],
        "compositions": systems,
        "score_table": score_table(results, averages),
        "languages": [
            by_language(results, averages, each) for each in manifest.study.targets if each in results.panels
        ],
        "costs": costs(results),
        "outcomes": [outcome_table(view, each) for each in manifest.study.comparison],
        "languages_note": view.languages(),
        "models_only": MODELS_NOTE if any(each.scope == "artefact" for each in outcomes) else "",
        "baselines_note": BASELINES_NOTE,
        "method": METHOD,
    }


def _forests(view: View) -> Iterator[Forest]:
    for number, comparison in enumerate(view.manifest.study.comparison):
        lines = _lines(view, comparison)
        if not any(line.outcome.was_run for line in lines):
            continue
        title = view.title(comparison)
        spoken = tuple(f"{line.label}: {effect(line.outcome)}, {verdict(line.outcome)}" for line in lines)
        alt = f"Forest plot of {title}, differences in points with 95 % intervals. {'; '.join(spoken)}."
        yield Forest(title, forest(lines, f"forest{number}", alt), _caption(view, comparison), spoken)


def _lines(view: View, comparison: Comparison) -> list[Line]:
    """Rows of a comparison's figure: its targets; of several intermediates the mean over targets for each."""
    means = [outcome for suite in view.suites for outcome in view.of(comparison, suite)]
    if len(means) > len(view.suites):
        return [Line(_named(composed(each), each), each, strong=True) for each in view.of(comparison)]
    targets = [each for target in view.manifest.study.targets for each in view.of(comparison, target)]
    return [
        *(Line(_named(each.target, each), each) for each in targets),
        *(Line(_named(f"mean of {each.target}", each), each, True) for each in means),
    ]


def _named(label: str, outcome: Outcome) -> str:
    """A row's label; that a whole side failed must stand beside the number."""
    return f"{label} (all failed)" if Flag.ONLY_FAILED in outcome.flags else label


def _caption(view: View, comparison: Comparison) -> str:
    outcomes = view.of(comparison)
    seeds = sorted({n for each in outcomes if each.was_run for n in (each.candidate_seeds, each.reference_seeds) if n})
    text = f"{comparison.name}: {plural(seeds[-1], 'seed')}" if seeds else comparison.name
    if len(seeds) > 1:
        text = f"{comparison.name}: {seeds[0]} to {plural(seeds[-1], 'seed')}"
    marks = [f"{text} a side, {comparison.seeds}"]
    if len(outcomes) == 1 and outcomes[0].intermediate is not None:
        marks.append(f"with {composed(outcomes[0])}")
    names = dict.fromkeys(name for each in outcomes for name in (each.intermediate, each.reference_intermediate))
    marks += [f"{together(name)}: {spelled(name)}" for name in names if name is not None and together(name) != name]
    if any(each.was_run and each.scope == "artefact" for each in outcomes):
        marks.append(f"{MODELS_ONLY} these models alone")
    # The design card says of the whole study that contamination is not checked.
    flags = dict.fromkeys(flag for each in outcomes for flag in each.flags if flag is not Flag.CONTAMINATION_UNKNOWN)
    return "; ".join([*marks, *flags]) + "."


def _render(name: str, page: dict[str, Any]) -> str:
    """Fill a template. HTML escapes every value; Markdown templates escape with the ``md`` filter."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = _markdown
    return environment.get_template(name).render(page) + "\n"


def _markdown(text: object) -> str:
    """Text that Markdown shows as it is, in a table too; marks that mean nothing where they stand are left alone."""
    return re.sub(r"[\\`*<>|#]|(?<!\w)_|_(?!\w)|(?<=\])\(", r"\\\g<0>", " ".join(str(text).split()))
