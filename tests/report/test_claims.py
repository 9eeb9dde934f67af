"""Claims on a store with planted effects: what is supported, what is refuted, and what is not tested, and why."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest

from xstilts.claims import Reason, Status, Verdict, evaluate, load_claims, registration
from xstilts.compare import Flag, compare
from xstilts.errors import XstiltsError
from xstilts.estimands import estimands
from xstilts.results import Entry, load_results
from xstilts.significance.multiplicity import holm


@pytest.fixture(scope="module")
def results(planted):
    return load_results(planted, "planted")


@pytest.fixture(scope="module")
def outcomes(results):
    return compare(results)


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    return json.dumps(value)


def claims_of(tmp_path, results, *tables, path="claims.toml"):
    """Claims from tables, written and read again."""
    lines = []
    for number, table in enumerate(tables):
        sentence = {"id": f"c{number}", "text": "So it is.", "study": results.manifest.study.name}
        sentence |= {"family": "confirmatory"} | {name: value for name, value in table.items() if name != "hypothesis"}
        lines += ["[[claim]]", *(f"{name} = {toml(value)}" for name, value in sentence.items())]
        for each in table["hypothesis"]:
            lines += ["[[claim.hypothesis]]", *(f"{name} = {toml(value)}" for name, value in each.items())]
    file = tmp_path / path
    file.write_text("\n".join(lines), encoding="utf-8")
    return load_claims(file, results.manifest.study)


def judge(tmp_path, results, *tables, others=None):
    return evaluate(results, claims_of(tmp_path, results, *tables), others)


def gain(*hypotheses, target="nli", name="helpful", mode="adapter", **changes):
    return {
        "candidate": {"system": f"{mode}_stilts", "intermediates": [name]},
        "reference": {"system": mode},
        "targets": [target],
        "hypothesis": list(hypotheses),
        **changes,
    }


SUPERIOR = {"kind": "superiority", "sesoi": 2.0}
NOT_WORSE = {"kind": "non_inferiority", "margin": 1.0}


# ------------------------------------------------------------------------------------------------------- numbers


def test_two_arms_have_the_numbers_of_the_comparison(tmp_path, results, outcomes):
    (outcome,) = (
        each
        for each in outcomes
        if (each.comparison, each.target, each.language, each.intermediate)
        == ("gain, full", "targets without retrieval", "zero-shot", "helpful")
    )
    claim = gain(SUPERIOR, mode="full") | {"targets": ["targets without retrieval"]}
    (judged,) = judge(tmp_path, results, claim)
    part = judged.decisive
    assert (part.estimate, part.low, part.high) == pytest.approx((outcome.difference, outcome.low, outcome.high))
    assert (part.se, part.df, part.p) == pytest.approx((outcome.se, outcome.df, outcome.p))
    assert (part.se_examples, part.se_seeds) == pytest.approx((outcome.se_examples, outcome.se_seeds))
    assert (part.examples, part.clusters, part.flags) == (outcome.examples, outcome.clusters, outcome.flags)
    assert (part.candidate_seeds, part.reference_seeds, part.shared) == (3, 3, False)


def test_a_list_of_targets_is_averaged(tmp_path, results, outcomes):
    parts = [
        each.difference
        for each in outcomes
        if (each.comparison, each.language, each.intermediate) == ("gain, adapter", "zero-shot", "helpful")
        and each.target in ("nli", "qa")
    ]
    (judged,) = judge(tmp_path, results, gain(SUPERIOR) | {"targets": ["nli", "qa"]})
    assert judged.decisive.estimate == pytest.approx(sum(parts) / 2)


def test_several_intermediates_are_averaged(tmp_path, results):
    both = {"candidate": {"system": "adapter_stilts"}}
    single = [gain(SUPERIOR, name=name) for name in ("helpful", "neutral")]
    mean, *each = judge(tmp_path, results, gain(SUPERIOR) | both, *single)
    assert mean.decisive.estimate == pytest.approx(sum(one.decisive.estimate for one in each) / 2)
    assert mean.decisive.se < max(one.decisive.se for one in each)


def test_trainings_behind_both_sides_are_seen(tmp_path, results):
    """The same claim where the two systems of a seed build on one training: replicates are then paired."""

    def sharing(cell):
        return cell.model_copy(update={"behind": (*cell.behind, f"one for seed {cell.seed}")})

    cells = {
        entry: {seed: sharing(cell) if entry.intermediate == "helpful" else cell for seed, cell in each.items()}
        for entry, each in results.cells.items()
    }
    claim = {
        "candidate": {"system": "adapter_stilts", "intermediates": ["helpful"]},
        "reference": {"system": "full_stilts", "intermediates": ["helpful"]},
        "targets": ["nli"],
        "hypothesis": [NOT_WORSE],
    }
    (apart,) = judge(tmp_path, results, claim)
    (together,) = judge(tmp_path, replace(results, cells=cells), claim)
    (declared,) = judge(tmp_path, results, claim | {"seeds": {"pairing": "paired"}})
    assert not apart.decisive.shared and together.decisive.shared
    assert together.decisive.se == pytest.approx(declared.decisive.se) != pytest.approx(apart.decisive.se)


# ------------------------------------------------------------------------------------------------------- verdicts


def test_planted_effects_get_their_verdicts(tmp_path, results):
    found = judge(
        tmp_path,
        results,
        gain(SUPERIOR, {"kind": "magnitude", "value": 40.0, "tolerance": 5.0}),
        gain({"kind": "minimal_effect", "bound": 10.0}, target="pairs"),
        gain({"kind": "top_k", "k": 1, "among": ["helpful", "neutral"], "sesoi": 2.0}),
        {
            "candidate": {"system": "adapter"},
            "reference": {"system": "full"},
            "targets": ["qa"],
            "hypothesis": [NOT_WORSE],
        },
        gain({"kind": "equivalence", "margin": 20.0, "side": "no gain"}, name="neutral"),
        gain(NOT_WORSE, {"kind": "superiority", "sesoi": 0.01}, name="neutral", family="exploratory"),
    )
    assert [each.verdict for each in found[:6]] == [
        Verdict.RELEVANT, Verdict.REFUTED, Verdict.SUPPORTED, Verdict.SUPPORTED, Verdict.REFUTED, Verdict.SUPPORTED,
    ]  # fmt: skip
    assert (found[7].verdict, found[7].reason) == (Verdict.INCONCLUSIVE, Reason.UNDERPOWERED)
    assert found[7].decisive.mde > 1 and found[7].decisive.seeds_needed is None
    assert found[2].decisive.low > 10


def test_every_or_not_every(tmp_path, results):
    def each(over, hypothesis, **changes):
        table = gain({"kind": "intersection_union", "over": over, "each": hypothesis}, **changes)
        return table | {"candidate": {"system": "adapter_stilts"} if over == "intermediates" else table["candidate"]}

    intermediates, languages, targets = judge(
        tmp_path,
        results,
        each("intermediates", {"kind": "superiority", "sesoi": 10.0}, target="pairs"),
        each("languages", SUPERIOR, target="pairs"),
        each("targets", SUPERIOR) | {"targets": ["nli", "qa"]},
    )
    assert (intermediates.verdict, tuple(intermediates.count)) == (Verdict.REFUTED, (1, 2, ("helpful",)))
    assert intermediates.decisive.label == "neutral" and intermediates.p == intermediates.decisive.p
    assert (languages.verdict, languages.count) == (Verdict.RELEVANT, (3, 3, ("de", "zh", "sw")))
    assert [part.label for part in languages.parts] == ["de", "zh", "sw"]
    assert not targets.verdict.is_support and targets.count.named == ("nli",)


def test_after_the_same_intermediates_one_meets_one(tmp_path, results, outcomes):
    claim = {
        "candidate": {"system": "adapter_stilts"},
        "reference": {"system": "full_stilts"},
        "targets": ["nli"],
        "hypothesis": [{"kind": "intersection_union", "over": "intermediates", "each": NOT_WORSE}],
    }
    (judged,) = judge(tmp_path, results, claim)
    wanted = {
        each.intermediate: each.difference
        for each in outcomes
        if (each.comparison, each.target, each.language) == ("the same with intermediate", "nli", "zero-shot")
    }
    assert {part.label: part.estimate for part in judged.parts} == pytest.approx(wanted)


def test_retention_is_linear_and_needs_a_gain(tmp_path, results, outcomes):
    def kept(target, name, share=0.5):
        hypothesis = {"kind": "retention", "share": share, "sesoi": 1.0}
        return {
            "candidate": {"system": "adapter_stilts", "intermediates": [name]},
            "reference": {"system": "full_stilts", "intermediates": [name]},
            "targets": [target],
            "hypothesis": [hypothesis | {"candidate_without": "adapter", "reference_without": "full"}],
        }

    most, none = judge(tmp_path, results, kept("pairs", "helpful"), kept("qa", "neutral"))
    gains = [
        each.difference
        for arm in ("gain, adapter", "gain, full")
        for each in outcomes
        if (each.comparison, each.target, each.language, each.intermediate) == (arm, "pairs", "zero-shot", "helpful")
    ]
    assert most.decisive.estimate == pytest.approx(gains[0] - 0.5 * gains[1])
    assert [part.label for part in most.parts] == ["gain − 0.5 × gain of the reference", "gain of the reference"]
    assert most.verdict == Verdict.SUPPORTED and most.p == max(part.p for part in most.parts)
    assert none.verdict == Verdict.INCONCLUSIVE


def test_holm_counts_what_was_declared(tmp_path, results):
    tables = [
        gain(SUPERIOR, NOT_WORSE),
        gain(SUPERIOR, name="neutral"),
        gain(SUPERIOR, target="pos", name="neutral", mode="full"),  # not tested: counts with p = 1
        gain(SUPERIOR, family="exploratory"),
    ]
    found = judge(tmp_path, results, *tables)
    family = found[:4]
    assert [each.family_size for each in found] == [4, 4, 4, 4, 0]
    assert [each.p_corrected for each in family] == pytest.approx(
        holm([1.0 if math.isnan(each.p) else each.p for each in family]).tolist()
    )
    assert math.isnan(found[4].p_corrected) and found[4].verdict.is_support
    assert all(each.sha256 == claims_of(tmp_path, results, *tables).sha256 for each in found)


def test_support_that_does_not_survive_the_correction_is_none(tmp_path, results):
    (alone,) = judge(tmp_path, results, gain(SUPERIOR))
    alpha = alone.p * 1.5
    many = judge(tmp_path, results, *(gain(SUPERIOR, alpha=alpha) for _ in range(2)))
    assert judge(tmp_path, results, gain(SUPERIOR, alpha=alpha))[0].verdict.is_support
    assert {(each.verdict, each.reason) for each in many} == {(Verdict.INCONCLUSIVE, Reason.CORRECTED)}


def test_the_same_predictions_are_no_difference_for_certain(tmp_path, results):
    claim = {
        "candidate": {"system": "adapter"},
        "reference": {"system": "full"},
        "targets": ["pairs"],
        "hypothesis": [NOT_WORSE],
    }
    (judged,) = judge(tmp_path, results, claim)
    part = judged.decisive
    assert (part.low, part.high, part.p, judged.verdict) == (0, 0, 0, Verdict.SUPPORTED)
    assert Flag.SAME_PREDICTIONS in judged.flags and math.isnan(part.mde)


# ------------------------------------------------------------------------------------------------------- absent


def test_missing_cells_are_not_imputed(tmp_path, results):
    short, whole = judge(
        tmp_path,
        results,
        gain(SUPERIOR, target="pos", name="neutral", mode="full"),
        gain(SUPERIOR, target="pos", name="helpful", mode="full"),
    )
    assert (short.verdict, short.reason) == (Verdict.NOT_TESTED, Reason.FEW_SEEDS)
    assert short.details == ("full_stilts after neutral on pos, seed 3",)
    assert math.isnan(short.p)
    assert whole.verdict != Verdict.NOT_TESTED

    cells = {entry: each for entry, each in results.cells.items() if entry != Entry("adapter_stilts", "helpful", "nli")}
    (none,) = judge(tmp_path, replace(results, cells=cells), gain(SUPERIOR))
    assert (none.verdict, none.reason, none.decisive) == (Verdict.NOT_TESTED, Reason.NOT_RUN, None)
    assert none.details == ("adapter_stilts after helpful on nli",)


def test_more_seeds_may_be_asked_for_than_were_run(tmp_path, results):
    (judged,) = judge(tmp_path, results, gain(SUPERIOR, seeds={"min": 5}))
    assert (judged.verdict, judged.reason) == (Verdict.NOT_TESTED, Reason.FEW_SEEDS)


def test_one_seed_is_no_verdict(store_maker, tmp_path):
    results = load_results(store_maker(tmp_path / "store", seeds=[1]), "planted")
    found = judge(tmp_path, results, gain(SUPERIOR), gain(NOT_WORSE))
    assert {(each.verdict, each.reason) for each in found} == {(Verdict.ARTEFACT, Reason.ONE_SEED)}
    assert all(math.isnan(each.p) and each.decisive.scope == "artefact" for each in found)
    assert found[0].decisive.low < found[0].decisive.estimate  # an interval over examples there is


def test_claims_about_another_study_are_refused(tmp_path, results):
    claims = claims_of(tmp_path, results, gain(SUPERIOR))
    with pytest.raises(XstiltsError, match="about another study"):
        evaluate(results, replace(claims, study="mini"))


# ------------------------------------------------------------------------------------------------------- best of


def best(take, targets, *hypotheses):
    return {
        "candidate": {"system": "adapter_stilts", "intermediates": ["neutral", "helpful"], "take": take},
        "reference": {"system": "adapter"},
        "targets": targets,
        "hypothesis": list(hypotheses),
    }


@pytest.mark.parametrize("take", ["best", "best_per_target"])
def test_the_best_is_chosen_on_dev_and_scored_on_test(tmp_path, results, take):
    helped = trained_after(results, "helpful")
    trains = {
        key: train.model_copy(update={"dev_score": 90.0 if key in helped else 50.0})
        for key, train in results.trains.items()
    }
    single = gain(SUPERIOR) | {"targets": ["nli", "qa"]}
    chosen, single = judge(tmp_path, replace(results, trains=trains), best(take, ["nli", "qa"], SUPERIOR), single)
    assert chosen.best.candidate == {target: dict.fromkeys((1, 2, 3), "helpful") for target in ("nli", "qa")}
    assert chosen.best.reference is None
    assert chosen.decisive.estimate == pytest.approx(single.decisive.estimate)
    assert chosen.best.naive >= chosen.decisive.estimate - 1e-9


def trained_after(results, name):
    return {
        cell.train
        for entry, each in results.cells.items()
        for cell in each.values()
        if entry.intermediate == name and cell.train
    }


def test_the_choice_does_not_look_at_the_test_set(tmp_path, results):
    """With dev scores that mislead, the honest estimate is that of the wrong one, and the naive one is not."""
    helped = trained_after(results, "helpful")
    trains = {
        key: train.model_copy(update={"dev_score": 10.0 if key in helped else 50.0})
        for key, train in results.trains.items()
    }
    (judged,) = judge(tmp_path, replace(results, trains=trains), best("best_per_target", ["nli"], SUPERIOR))
    assert set(judged.best.candidate["nli"].values()) == {"neutral"}
    assert judged.best.naive > judged.decisive.estimate + 5


def test_without_dev_scores_there_is_no_choice(tmp_path, results):
    trains = {key: train.model_copy(update={"dev_score": None}) for key, train in results.trains.items()}
    (judged,) = judge(tmp_path, replace(results, trains=trains), best("best", ["nli"], SUPERIOR))
    assert (judged.verdict, judged.reason) == (Verdict.NOT_TESTED, Reason.NO_DEV)


# ------------------------------------------------------------------------------------------------------- elsewhere


def test_a_side_may_be_of_another_study(store_maker, tmp_path):
    root = store_maker(tmp_path / "store")
    store_maker(tmp_path / "store", name="planted_de")
    results, other = load_results(root, "planted"), load_results(root, "planted_de")
    claim = {
        "candidate": {"system": "adapter_stilts", "intermediates": ["helpful"]},
        "reference": {"system": "adapter_stilts", "intermediates": ["neutral"], "study": "planted_de"},
        "targets": ["nli"],
        "hypothesis": [SUPERIOR],
    }
    (alone,) = judge(tmp_path, results, claim)
    assert (alone.verdict, alone.reason, alone.details) == (Verdict.NOT_TESTED, Reason.NO_STUDY, ("planted_de",))
    (judged,) = judge(tmp_path, results, claim, others={"planted_de": other})
    assert judged.verdict == Verdict.RELEVANT
    weights = next(e for e in estimands(other.manifest) if (e.target, e.language) == ("nli", "zero-shot")).weights
    panel, stats = other.panels["nli"], other.stats
    entry = other.cells[Entry("adapter_stilts", "neutral", "nli")]
    reference = sum(
        weight * sum(panel.metric.score(stats[c.predict][panel.rows[code]].sum(axis=0)) for c in entry.values()) / 3
        for (_, code), weight in weights.items()
    )
    ours = compare(results)
    candidate = next(
        each.candidate_score
        for each in ours
        if (each.comparison, each.target, each.language, each.intermediate)
        == ("gain, adapter", "nli", "zero-shot", "helpful")
    )
    assert judged.decisive.estimate == pytest.approx(candidate - reference)


def test_registration_reads_the_store(tmp_path, planted, results):
    claims = claims_of(tmp_path, results, gain(SUPERIOR))
    found = registration(tmp_path / "claims.toml", claims.sha256, results, planted)
    assert (found.status, found.first_result, found.sha256) == (Status.NO_GIT, None, claims.sha256)


def test_all_verdicts_are_reachable():
    assert Counter(each.is_support for each in Verdict) == {True: 3, False: 5}
