"""Outcomes: what is expanded, what a planted effect looks like, and what is flagged rather than hidden."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from xstilts.compare import Flag, compare
from xstilts.estimands import estimands
from xstilts.report.card import card
from xstilts.results import Entry, load_results

MEANS = ("all", "zero-shot")


@pytest.fixture(scope="module")
def results(planted):
    return load_results(planted, "planted")


@pytest.fixture(scope="module")
def outcomes(results):
    return compare(results)


def find(outcomes, comparison, target, language="zero-shot", intermediate=None):
    keys = (comparison, target, language, intermediate)
    (found,) = (each for each in outcomes if (each.comparison, each.target, each.language, each.intermediate) == keys)
    return found


def load(store_maker, tmp_path, **changes):
    return compare(load_results(store_maker(tmp_path, **changes), "planted"))


# ------------------------------------------------------------------------------------------------------- expansion


def test_estimands(results):
    found = list(estimands(results.manifest))
    assert [(each.target, each.language) for each in found] == [
        *(("nli", language) for language in ("en", "de", "zh", "sw", *MEANS)),
        *(("pos", language) for language in ("en", "de", "zh", "sw", *MEANS)),
        *(("qa", language) for language in ("en", "de", "zh", "sw", *MEANS)),
        *(("pairs", language) for language in ("de", "zh", "sw", *MEANS)),
        *(("targets without retrieval", language) for language in MEANS),
        *(("all targets", language) for language in MEANS),
    ]
    for each in found:
        assert sum(each.weights.values()) == pytest.approx(1)
    suite = next(each for each in found if (each.target, each.language) == ("all targets", "all"))
    assert suite.weights["nli", "en"] == pytest.approx(1 / 16)
    assert suite.weights["pairs", "de"] == pytest.approx(1 / 12)


def test_every_comparison_meets_every_estimand(outcomes):
    assert len(outcomes) == 27 * (1 + 2 + 2 + 2)
    contrasts = {each.comparison: (each.contrast, each.intermediate is None) for each in outcomes}
    assert contrasts == {
        "adapter vs full": ("system", True),
        "the same with intermediate": ("system", False),
        "gain, adapter": ("intermediate", False),
        "gain, full": ("intermediate", False),
    }


def test_scores_and_difference_are_the_means_they_claim_to_be(results, outcomes):
    outcome = find(outcomes, "gain, adapter", "qa", "zero-shot", "helpful")
    panel = results.panels["qa"]

    def mean(entry):
        by_language = []
        for language in ("de", "zh", "sw"):
            sums = [
                results.stats[cell.predict][panel.rows[language]].sum(axis=0) for cell in results.cells[entry].values()
            ]
            by_language.append(np.mean([panel.metric.score(each) for each in sums]))
        return np.mean(by_language)

    assert outcome.candidate_score == pytest.approx(mean(Entry("adapter_stilts", "helpful", "qa")))
    assert outcome.reference_score == pytest.approx(mean(Entry("adapter", None, "qa")))
    assert outcome.difference == pytest.approx(outcome.candidate_score - outcome.reference_score)
    assert (outcome.examples, outcome.clusters) == (360, 24)


def test_a_suite_is_the_mean_of_its_targets(outcomes):
    parts = [find(outcomes, "adapter vs full", target).difference for target in ("nli", "pos", "qa")]
    assert find(outcomes, "adapter vs full", "targets without retrieval").difference == pytest.approx(np.mean(parts))


# ---------------------------------------------------------------------------------------------------- what it finds


def test_planted_effects_are_found_with_their_size(outcomes):
    for arm in ("gain, adapter", "gain, full"):
        gain = find(outcomes, arm, "nli", intermediate="helpful")
        assert gain.low > 0 and gain.low < 15 < gain.high + 2 and gain.q < 0.05
        assert find(outcomes, arm, "pairs", intermediate="helpful").low > 20
    loss = find(outcomes, "adapter vs full", "qa")
    assert loss.high < 0 and loss.low < -15 < loss.high


def test_where_nothing_was_planted_nothing_is_found(outcomes):
    for arm in ("gain, adapter", "gain, full"):
        for target in ("nli", "pos", "qa", "pairs"):
            null = find(outcomes, arm, target, intermediate="neutral")
            assert null.low < 0 < null.high and not null.q <= 0.05


def test_q_values_are_those_of_the_searched_matrix(outcomes):
    matrix = [
        each
        for each in outcomes
        if each.comparison == "gain, adapter" and each.language == "zero-shot" and "targets" not in each.target
    ]
    assert len(matrix) == 8
    assert [each.q for each in matrix] == pytest.approx(false_discovery_control([each.p for each in matrix]))
    assert all(each.q >= each.p for each in outcomes if not math.isnan(each.q))


def test_what_is_not_judged_has_no_q_and_enlarges_no_family(outcomes):
    short = find(outcomes, "gain, full", "pos", intermediate="neutral")  # one of its runs is missing
    assert not math.isnan(short.p) and math.isnan(short.q) and not short.is_judged
    others = [
        each
        for each in outcomes
        if each.comparison == "gain, full" and each.language == "zero-shot" and "targets" not in each.target
    ]
    others.remove(short)
    assert [each.q for each in others] == pytest.approx(false_discovery_control([each.p for each in others]))


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_few_seeds_give_no_q_at_all(store_maker, tmp_path, seeds):
    for each in load(store_maker, tmp_path, seeds=seeds):
        assert math.isnan(each.q)
        assert not each.is_judged or {Flag.SAME_PREDICTIONS, Flag.NO_SEEDS} <= set(each.flags)


# ------------------------------------------------------------------------------------------------------ no variance


def test_two_systems_that_always_answer_alike_are_not_thereby_equal(store_maker, tmp_path, monkeypatch):
    """As after a collapse on both sides: constant predictions, different trainings."""
    constants = store_maker.__globals__
    form, metric, languages, count, per_cluster, _ = constants["TARGETS"]["nli"]
    monkeypatch.setitem(constants["TARGETS"], "nli", (form, metric, languages, count, per_cluster, 9.0))
    outcomes = load(store_maker, tmp_path)
    alike = find(outcomes, "adapter vs full", "nli")
    assert (alike.difference, alike.se) == (0.0, 0.0) and alike.candidate_score == pytest.approx(100.0)
    assert all(math.isnan(value) for value in (alike.low, alike.high, alike.p, alike.q))
    assert Flag.SAME_PREDICTIONS not in alike.flags
    assert not math.isnan(find(outcomes, "adapter vs full", "pos").q)


def test_equal_scores_of_two_trainings_are_not_called_the_same(store_maker, tmp_path, monkeypatch):
    """Predictions drawn from the seed alone: both systems answer alike, under different keys."""
    constants = store_maker.__globals__
    drawn, made = constants["predictions"], Counter()

    def copied(target, rate, seed_parts):
        made[target] += 1  # the three seeds of a system follow each other
        return drawn(target, rate, made[target] % 3)

    monkeypatch.setitem(constants, "predictions", copied)
    outcome = find(load(store_maker, tmp_path), "adapter vs full", "nli")
    assert outcome.difference == 0.0 and outcome.low < 0 < outcome.high and outcome.p == 1.0


# ----------------------------------------------------------------------------------------------------------- flags


def test_retrieval_on_the_bare_backbone_is_one_prediction_without_seeds(outcomes):
    same = find(outcomes, "adapter vs full", "pairs")
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert {Flag.SAME_PREDICTIONS, Flag.NO_SEEDS} <= set(same.flags) and math.isnan(same.q)
    assert Flag.SHARED_PREDICTIONS in find(outcomes, "adapter vs full", "all targets").flags
    gain = find(outcomes, "gain, adapter", "pairs", intermediate="helpful")
    assert (gain.candidate_seeds, gain.reference_seeds, gain.scope) == (3, 0, "procedure")


def test_collapsed_runs_are_counted_and_flagged(outcomes):
    assert Flag.COLLAPSED in find(outcomes, "adapter vs full", "pos").flags
    assert Flag.COLLAPSED in find(outcomes, "adapter vs full", "targets without retrieval").flags
    assert Flag.COLLAPSED not in find(outcomes, "adapter vs full", "nli").flags


def test_a_side_of_failed_runs_alone_is_flagged_as_such(store_maker, tmp_path):
    collapsed = {("adapter", None, "pos", seed) for seed in (1, 2, 3)}
    outcomes = load(store_maker, tmp_path, collapsed=collapsed)
    assert Flag.ONLY_FAILED in find(outcomes, "adapter vs full", "pos").flags
    assert Flag.ONLY_FAILED in find(outcomes, "gain, adapter", "pos", intermediate="neutral").flags
    assert Flag.ONLY_FAILED not in find(outcomes, "adapter vs full", "targets without retrieval").flags
    assert Flag.ONLY_FAILED not in find(outcomes, "adapter vs full", "nli").flags


def test_few_clusters_are_flagged_also_in_a_mean_over_targets(outcomes):
    few = {each.target for each in outcomes if Flag.FEW_CLUSTERS in each.flags}
    assert few == {"qa", "targets without retrieval", "all targets"}  # 24 paragraphs; 60 or more clusters elsewhere


def test_a_missing_seed_is_left_out_and_flagged(outcomes):
    short = find(outcomes, "gain, full", "pos", intermediate="neutral")
    assert (short.candidate_seeds, short.reference_seeds) == (2, 3)
    assert Flag.FEWER_SEEDS in short.flags
    suite = find(outcomes, "gain, full", "targets without retrieval", intermediate="neutral")
    assert suite.candidate_seeds == 2  # the mean over targets keeps to the seeds that all targets have


def test_contamination_is_unknown_wherever_an_intermediate_task_was_trained(outcomes):
    for each in outcomes:
        assert (Flag.CONTAMINATION_UNKNOWN in each.flags) == (each.intermediate is not None)


def test_a_declared_overlap_is_flagged_where_the_two_tasks_meet(store_maker, tmp_path):
    root = store_maker(tmp_path)
    path = root / "studies" / "planted@mini.json"
    manifest = json.loads(path.read_text())
    manifest["tasks"]["qa"]["overlaps"] = {"neutral": "its questions are these", "elsewhere": "not in this study"}
    path.write_text(json.dumps(manifest))
    results = load_results(root, "planted")
    flagged = {(each.target, each.intermediate) for each in compare(results) if Flag.CONTAMINATED in each.flags}
    assert flagged == {(target, "neutral") for target in ("qa", "targets without retrieval", "all targets")}
    facts = [text for name, text in card(results).facts if name == "contamination"]
    assert facts[0] == "neutral → qa: its questions are these"
    assert len(facts) == 2 and facts[1].startswith("not checked beyond what tasks declare")


def test_what_was_not_run_stays_empty(store_maker, tmp_path):
    skip = {("adapter", None, "qa", seed) for seed in (1, 2, 3)}
    outcomes = load(store_maker, tmp_path, skip=skip)
    for target in ("qa", "targets without retrieval"):
        blank = find(outcomes, "adapter vs full", target)
        assert blank.flags == (Flag.NOT_RUN,) and not blank.was_run
        assert math.isnan(blank.difference) and math.isnan(blank.candidate_score) and math.isnan(blank.q)
    assert find(outcomes, "adapter vs full", "nli").was_run


# ----------------------------------------------------------------------------------------------------------- scope


def test_one_seed_speaks_of_the_models_only(store_maker, tmp_path):
    outcomes = load(store_maker, tmp_path, seeds=[1])
    trained = [each for each in outcomes if each.target in ("nli", "pos", "qa")]
    assert {each.scope for each in trained} == {"artefact"}
    assert all(math.isnan(each.se_seeds) for each in trained)


def test_one_intermediate_training_for_all_seeds_is_told(store_maker, tmp_path):
    outcomes = load(store_maker, tmp_path, source_seeds="fixed")
    gain = find(outcomes, "gain, adapter", "nli", intermediate="helpful")
    assert Flag.ONE_INTERMEDIATE in gain.flags and gain.scope == "procedure"
    retrieval = find(outcomes, "gain, adapter", "pairs", intermediate="helpful")
    assert (retrieval.candidate_seeds, retrieval.scope) == (1, "artefact")  # three seeds, one model
    mixed = find(outcomes, "gain, adapter", "all targets", intermediate="helpful")
    assert (mixed.candidate_seeds, mixed.scope) == (3, "procedure")


def test_paired_seeds_keep_to_the_seeds_of_both(store_maker, tmp_path):
    pair = {"name": "paired", "candidate": "full_stilts", "reference": "full", "seeds": "paired"}
    outcomes = load(store_maker, tmp_path, skip={("full_stilts", "neutral", "pos", 3)}, comparison=[pair])
    short = find(outcomes, "paired", "pos", intermediate="neutral")
    assert (short.candidate_seeds, short.reference_seeds) == (2, 2)
    assert find(outcomes, "paired", "pairs", intermediate="neutral").reference_seeds == 0


def test_a_study_in_english_alone_has_no_zero_shot_mean(store_maker, tmp_path, monkeypatch):
    monkeypatch.setitem(
        store_maker.__globals__, "TARGETS", {"nli": ("classification", "accuracy", ("en",), 90, 3, 0.6)}
    )
    outcomes = load(store_maker, tmp_path, targets=["nli"])
    assert {each.language for each in outcomes} == {"en", "all"}
    assert {each.target for each in outcomes} == {"nli", "targets without retrieval"}
