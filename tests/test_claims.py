"""Claims as they are written: the shipped ones, bad ones, the rules of verdicts, and when they were committed."""

import hashlib
import json
import math
import os
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from xstilts.claims import Status, Verdict, load_claims, registration
from xstilts.claims.choice import choose
from xstilts.claims.model import Ahead, Equivalence, Magnitude, MinimalEffect, NonInferiority, Superiority
from xstilts.claims.verdicts import Limits, Reason, detectable, judge, level, limits, p_value, preset, seeds_needed
from xstilts.config import load_study
from xstilts.errors import XstiltsError
from xstilts.significance.contrast import Arm, contrast
from xstilts.significance.two_way import linearise

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "analysis" / "claims.toml"
STUDIES = ("xtreme", "mini", "mini_compose")


def study_of(name):
    return load_study(name, ROOT / "experiments" / "studies", ROOT / "adapter_configs").study


# ------------------------------------------------------------------------------------------------------- shipped


@pytest.mark.parametrize(("name", "claims", "kinds"), [
    ("xtreme", 21, {"superiority": 8, "magnitude": 5, "top_k": 1, "non_inferiority": 5, "minimal_effect": 2,
                    "intersection_union": 5, "retention": 1}),
    ("mini", 9, {"superiority": 2, "magnitude": 1, "top_k": 1, "non_inferiority": 2, "equivalence": 1,
                 "intersection_union": 2, "retention": 1}),
    ("mini_compose", 9, {"superiority": 4, "non_inferiority": 2, "equivalence": 2, "intersection_union": 1}),
])  # fmt: skip
def test_the_shipped_claims_fit_their_studies(name, claims, kinds):
    found = load_claims(SHIPPED, study_of(name), STUDIES)
    assert len(found.claims) == claims
    assert Counter(each.kind for claim in found.claims for each in claim.hypotheses) == kinds
    assert all(claim.seeds.min >= 3 and claim.text.endswith(".") for claim in found.claims)


def test_the_papers_numbers_are_among_them():
    claims = load_claims(SHIPPED, study_of("xtreme")).claims
    values = [(each.value, each.tolerance) for c in claims for each in c.hypotheses if isinstance(each, Magnitude)]
    assert values == [(8.2, 2.0), (7.5, 2.0), (7.0, 2.0), (8.7, 2.0), (5.4, 2.0)]


# ------------------------------------------------------------------------------------------------------- bad files

GOOD = """
[[claim]]
id = "c"
text = "A stacked adapter is better."
study = "mini"
candidate = { system = "adapter_stack" }
reference = { system = "adapter_direct" }
targets = ["mini_xnli"]
family = "confirmatory"

[[claim.hypothesis]]
kind = "superiority"
sesoi = 1.0
"""


def load(tmp_path, text, studies=STUDIES):
    path = tmp_path / "claims.toml"
    path.write_text(text, encoding="utf-8")
    return load_claims(path, study_of("mini"), studies)


def test_what_is_left_out_has_a_default(tmp_path):
    (claim,) = load(tmp_path, GOOD).claims
    assert (claim.languages, claim.alpha, claim.correction) == ("zero-shot", 0.05, "holm")
    assert (claim.seeds.min, claim.seeds.pairing, claim.candidate.take) == (3, "unpaired", "mean")


@pytest.mark.parametrize(("old", "new", "told"), [
    ('"superiority"', '"superority"', "1: kind: unknown kind; given 'superority', did you mean 'superiority'"),
    ('kind = "superiority"\n', "", "hypothesis 1: kind: is missing"),
    ("sesoi = 1.0", "sesio = 1.0", "hypothesis 1: unknown key; given 'sesio', did you mean 'sesoi'"),
    ("sesoi = 1.0", "sesoi = 0.0", "hypothesis 1: sesoi"),
    ("sesoi = 1.0", "", "hypothesis 1: sesoi: is missing"),
    ('"adapter_stack"', '"adapter_stak"', "unknown system; given 'adapter_stak', did you mean 'adapter_stack'"),
    ('"adapter_stack" }', '"adapter_stack", intermediates = ["mini_mli"] }', "did you mean 'mini_mnli'"),
    ('"adapter_direct" }', '"adapter_direct", take = "best" }', "chooses among several"),
    ('"adapter_stack" }', '"adapter_stack", intermediates = ["mini_mnli"], take = "best" }', "chooses among several"),
    ('["mini_xnli"]', '["mini_xnil"]', "not a target of the study; given 'mini_xnil', did you mean 'mini_xnli'"),
    ('["mini_xnli"]', '["all targets", "mini_xnli"]', "stands by itself"),
    ('["mini_xnli"]', "[]", "targets"),
    ('family =', 'languages = "xx"\nfamily =', "languages: unknown language"),
    ('"mini"', '"minni"', "study: unknown study; given 'minni', did you mean 'mini'"),
    ('"confirmatory"', '"confirmatry"', "did you mean 'confirmatory'"),
    ('family =', 'alpha = 0.7\nfamily =', "claim c: alpha"),
    ('family =', 'seeds = { min = 2 }\nfamily =', "claim c: seeds.min"),
    ('family =', 'corection = "holm"\nfamily =', "did you mean 'correction'"),
    ('reference = { system = "adapter_direct" }\n', "", "hypothesis 1: needs a reference"),
    ("[[claim]]", "[[clam]]\n[[claim]]", "unknown key; given 'clam', did you mean 'claim'"),
    ("[[claim.hypothesis]]", "[claim.hypothesis]", "needs hypotheses"),
    ("[[claim]]", "[[claim]", "not valid TOML"),
])  # fmt: skip
def test_what_is_wrong_is_told_with_the_nearest_name(tmp_path, old, new, told):
    assert old in GOOD
    with pytest.raises(XstiltsError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert told in str(caught.value)


RETENTION = 'kind = "retention"\nreference_without = "full_direct"\nsesoi = 1.0'
EVERY = 'kind = "intersection_union"'


@pytest.mark.parametrize(("hypothesis", "told"), [
    ('kind = "top_k"\nk = 1\namong = ["mini_mnli", "mini_cg"]\nsesoi = 1.0', "did you mean 'mini_ccg'"),
    ('kind = "top_k"\nk = 2\namong = ["mini_mnli", "mini_ccg"]\nsesoi = 1.0', "hypothesis 1: k"),
    ('kind = "top_k"\nk = 1\namong = ["mini_squad2", "mini_ccg"]\nsesoi = 1.0', "does not hold the claimed top"),
    (f'{RETENTION}\nshare = 0.9\ncandidate_without = "adapter_dirct"', "did you mean 'adapter_direct'"),
    (f'{RETENTION}\nshare = 1.5\ncandidate_without = "adapter_direct"', "share"),
    (f'{EVERY}\nover = "intermediates"\neach = {{ kind = "superiority", sesoi = 1.0 }}', "not several"),
    (f'{EVERY}\nover = "targets"\neach = {{ kind = "superiority", sesoi = 1.0 }}', "not several"),
    (f'{EVERY}\nover = "language"\neach = {{ kind = "superiority", sesoi = 1.0 }}', "did you mean 'languages'"),
    (f'{EVERY}\nover = "languages"\neach = {{ kind = "magnitude", value = 1.0 }}', "unknown kind; given 'magnitude'"),
    (f'{EVERY}\nover = "languages"\neach = {{ kind = "non_inferiority", margn = 1.0 }}', "did you mean 'margin'"),
    (f'{EVERY}\nover = "languages"', "each: kind: is missing"),
])  # fmt: skip
def test_hypotheses_that_do_not_fit_are_refused(tmp_path, hypothesis, told):
    text = GOOD.replace('"adapter_stack"', '"adapter_stack", intermediates = ["mini_mnli"]')
    with pytest.raises(XstiltsError) as caught:
        load(tmp_path, text.replace('kind = "superiority"\nsesoi = 1.0', hypothesis))
    assert told in str(caught.value)


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    bad = GOOD.replace("mini_xnli", "mini_xnil").replace("sesoi = 1.0", "sesoi = -1.0")
    worse = GOOD.replace('"adapter_stack"', '"adapter_stak"').replace('id = "c"', 'id = "d"')
    with pytest.raises(XstiltsError) as caught:
        load(tmp_path, bad + worse + worse.replace("confirmatory", "confirmed"))
    told = [problem.where for problem in caught.value.problems]
    assert len(told) == 4 and "claims.toml: claim.id" in told  # given twice, sesoi, system, family


def test_one_family_has_one_level(tmp_path):
    with pytest.raises(XstiltsError, match="one family has one level"):
        load(tmp_path, GOOD + GOOD.replace('id = "c"', 'id = "d"\nalpha = 0.01'))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(XstiltsError, match="no such file"):
        load_claims(tmp_path / "claims.toml", study_of("mini"))


# ------------------------------------------------------------------------------------------------------- digest


def test_only_a_studys_own_claims_change_its_hash(tmp_path):
    before = load(tmp_path, GOOD).sha256
    other = GOOD.replace('"mini"', '"xtreme"').replace('id = "c"', 'id = "x"')
    assert load(tmp_path, "# a comment\n" + GOOD.replace(" = ", "=") + other).sha256 == before
    assert load(tmp_path, GOOD.replace("sesoi = 1.0", "sesoi = 1.5")).sha256 != before
    assert len(before) == 64


def git(directory, *command, when=None):
    stamp = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when} if when else {}
    settings = ["-c", "user.name=N", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "HOME": str(directory), **stamp}
    subprocess.run(["git", "-C", str(directory), *settings, *command], check=True, capture_output=True, env=environment)


def results_at(tmp_path, *finished):
    """As much of a study's results and store as registration reads: predictions that were finished at some time."""
    cells = {}
    for number, when in enumerate(finished):
        directory = tmp_path / "store" / "steps" / f"key{number}"
        directory.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"key": f"key{number}", "step": {}, "finished": when}).encode()
        (directory / "step.json").write_bytes(content)
        sums = {"step.json": hashlib.sha256(content).hexdigest()}
        (directory / "files.json").write_text(json.dumps(sums), encoding="utf-8")
        cells[number] = SimpleNamespace(predict=f"key{number}")
    manifest = SimpleNamespace(study=SimpleNamespace(name="mini"))
    return SimpleNamespace(manifest=manifest, cells={"entry": cells})


def test_registration_compares_the_commit_with_the_first_result(tmp_path):
    def status(*finished):
        claims = load_claims(path, study_of("mini"))
        return registration(path, claims.sha256, results_at(tmp_path, *finished), tmp_path / "store")

    path = tmp_path / "claims.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert status("2026-02-01T00:00:00Z").status == Status.NO_GIT
    git(tmp_path, "init", "--quiet")
    assert status().status == Status.NO_GIT  # never committed
    git(tmp_path, "add", "claims.toml")
    git(tmp_path, "commit", "--quiet", "-m", "one", when="2026-01-01T00:00:00+0000")
    found = status("2026-03-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert found.status == Status.BEFORE and found.committed.startswith("2026-01-01") and len(found.commit) == 40
    assert found.first_result.startswith("2026-02-01")
    assert status().status == Status.NO_RESULT
    assert status("2025-12-01T00:00:00Z").status == Status.AFTER

    path.write_text("# only a comment\n" + GOOD, encoding="utf-8")
    git(tmp_path, "commit", "--quiet", "-am", "two", when="2026-04-01T00:00:00+0000")
    assert status("2026-02-01T00:00:00Z").committed.startswith("2026-01-01")

    path.write_text(GOOD.replace("sesoi = 1.0", "sesoi = 0.5"), encoding="utf-8")
    found = status("2026-02-01T00:00:00Z")
    assert (found.status, found.commit) == (Status.AFTER, None)  # changed and not committed
    git(tmp_path, "commit", "--quiet", "-am", "three", when="2026-05-01T00:00:00+0000")
    assert status("2026-02-01T00:00:00Z").status == Status.AFTER
    assert status("2026-06-01T00:00:00Z").status == Status.BEFORE


# ------------------------------------------------------------------------------------------------------- rules

SUP, NI, MIN = Superiority(sesoi=1.0), NonInferiority(margin=1.0), MinimalEffect(bound=10.0)
EQ, NO_GAIN, MAG = Equivalence(margin=1.0), Equivalence(margin=1.0, side="no gain"), Magnitude(value=8.0, tolerance=2.0)


@pytest.mark.parametrize(("hypothesis", "low", "high", "verdict"), [
    (SUP, 1.1, 3.0, Verdict.RELEVANT),
    (SUP, 0.1, 3.0, Verdict.SUPPORTED),
    (SUP, 0.1, 0.9, Verdict.SMALL),
    (SUP, -0.1, 0.9, Verdict.REFUTED),
    (SUP, -3.0, -1.0, Verdict.REFUTED),
    (SUP, -0.1, 1.1, Verdict.INCONCLUSIVE),
    (NI, -0.9, 3.0, Verdict.SUPPORTED),
    (NI, -3.0, -1.1, Verdict.REFUTED),
    (NI, -1.1, 3.0, Verdict.INCONCLUSIVE),
    (EQ, -0.9, 0.9, Verdict.SUPPORTED),
    (EQ, 1.1, 2.0, Verdict.REFUTED),
    (EQ, -2.0, -1.1, Verdict.REFUTED),
    (EQ, -0.9, 1.1, Verdict.INCONCLUSIVE),
    (NO_GAIN, -9.0, 0.9, Verdict.SUPPORTED),
    (NO_GAIN, 1.1, 2.0, Verdict.REFUTED),
    (NO_GAIN, -9.0, 1.1, Verdict.INCONCLUSIVE),
    (MAG, 6.1, 9.9, Verdict.SUPPORTED),
    (MAG, 10.1, 12.0, Verdict.REFUTED),
    (MAG, 1.0, 5.9, Verdict.REFUTED),
    (MAG, 5.0, 11.0, Verdict.COMPATIBLE),
    (MAG, 9.0, 11.0, Verdict.INCONCLUSIVE),
    (MIN, 10.1, 20.0, Verdict.SUPPORTED),
    (MIN, 5.0, 9.9, Verdict.REFUTED),
    (MIN, 5.0, 10.1, Verdict.INCONCLUSIVE),
    (Ahead(sesoi=1.0), 0.1, 0.5, Verdict.SUPPORTED),
    (Ahead(sesoi=1.0), -0.5, 0.5, Verdict.INCONCLUSIVE),
    (Ahead(sesoi=1.0), -0.5, -0.1, Verdict.REFUTED),
])  # fmt: skip
def test_the_rules(hypothesis, low, high, verdict):
    assert judge(hypothesis, Limits(low, high), math.nan)[0] == verdict


@pytest.mark.parametrize(("mde", "reason"), [(1.1, Reason.UNDERPOWERED), (0.9, Reason.NEAR)])
def test_power_is_judged_against_the_effect_that_was_set(mde, reason):
    assert judge(SUP, Limits(-0.1, 1.1), mde) == (Verdict.INCONCLUSIVE, reason)
    assert judge(SUP, Limits(0.1, 1.1), mde) == (Verdict.SUPPORTED, Reason.NONE)


def test_no_variance_is_no_verdict():
    assert judge(SUP, Limits(math.nan, math.nan), math.nan) == (Verdict.INCONCLUSIVE, Reason.NO_VARIANCE)


def two(rng, seeds=5, examples=300, effect=0.0, run_sd=0.004):
    """Candidate − reference with a true difference of ``effect`` points."""
    item, run = rng.normal(0, 0.15, examples), rng.normal(0, run_sd, (2, seeds, 1))
    scores = 0.6 + item + run + rng.normal(0, 0.25, (2, seeds, examples))
    scores[0] += effect / 100
    cells = [linearise(each, np.ones_like(each), np.arange(examples)) for each in scores]
    keys = [tuple(frozenset({f"{name}{seed}"}) for seed in range(seeds)) for name in "ab"]
    return contrast([Arm(cells[0], 1.0, keys[0]), Arm(cells[1], -1.0, keys[1])])


@pytest.mark.parametrize("hypothesis", [SUP, NI, EQ, NO_GAIN, MAG, MIN, Ahead(sesoi=1.0)])
def test_the_p_value_is_that_of_the_rule(hypothesis):
    """For some effects it holds, for some not: always together with the interval's rule."""
    rng, seen = np.random.default_rng(1), set()
    for effect in np.linspace(-6, 16, 60):
        found = two(rng, 5, 600, effect)
        verdict, _ = judge(hypothesis, limits(found, level(hypothesis, 0.05)), math.nan)
        assert (p_value(hypothesis, found) <= 0.05) == verdict.is_support
        seen.add(verdict.is_support)
    assert seen == ({True, False} if hypothesis not in (EQ, MAG) else seen)


def test_the_same_predictions_are_certain():
    found = two(np.random.default_rng(2))
    nothing = found._replace(interval=found.interval._replace(difference=0.0, low=0.0, high=0.0, se=0.0, df=math.nan))
    shown = {hypothesis.kind: p_value(hypothesis, nothing) for hypothesis in (SUP, NI, EQ, MAG)}
    assert shown == {"superiority": 1.0, "non_inferiority": 0.0, "equivalence": 0.0, "magnitude": 1.0}
    assert judge(NI, limits(nothing, 0.95), math.nan)[0] == Verdict.SUPPORTED


def test_what_could_be_shown_does_not_depend_on_what_was():
    rng = np.random.default_rng(3)
    small, large = two(rng, effect=0.0), None
    large = small._replace(interval=small.interval._replace(difference=50.0))
    for hypothesis in (SUP, NI, EQ, MAG):
        assert detectable(hypothesis, small, 0.05) == detectable(hypothesis, large, 0.05) > 0
        assert seeds_needed(hypothesis, small, 0.05) == seeds_needed(hypothesis, large, 0.05)
    assert detectable(NO_GAIN, small, 0.05) < detectable(NI, small, 0.05)  # one-sided at α
    assert detectable(MAG, small, 0.05) > detectable(NI, small, 0.05)  # two ends to keep


# ------------------------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("hypothesis", "effect", "alpha"), [
    (SUP, 0.0, 0.025),  # SESOI 1: nothing may be called an effect more often than one side of α
    (NI, -1.0, 0.025),
    (NO_GAIN, 1.0, 0.05),
    (EQ, 1.0, 0.05),
    (MIN, 10.0, 0.025),
])  # fmt: skip
def test_support_is_as_rarely_false_as_promised(hypothesis, effect, alpha, seeds):
    rng = np.random.default_rng(np.random.SeedSequence([30, seeds, len(hypothesis.kind), round(effect) + 1]))
    repetitions = 1200
    confidence = level(hypothesis, 0.05)
    alarms = 0
    for _ in range(repetitions):
        alarms += judge(hypothesis, limits(two(rng, seeds, effect=effect), confidence), math.nan)[0].is_support
    assert alarms / repetitions <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)


@pytest.mark.parametrize(("hypothesis", "effect"), [(SUP, 1.0), (NI, -1.0), (MAG, 7.0)])
def test_a_true_claim_is_rarely_refuted(hypothesis, effect):
    rng = np.random.default_rng(np.random.SeedSequence([31, round(effect) + 10]))
    refuted = sum(
        judge(hypothesis, limits(two(rng, effect=effect), 0.95), math.nan)[0] == Verdict.REFUTED for _ in range(800)
    )
    assert refuted / 800 <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 800)


def test_preset_effects():
    assert [preset(each) for each in (SUP, NI, EQ, MAG, MIN)] == [1.0, 1.0, 1.0, 2.0, 10.0]


# ------------------------------------------------------------------------------------------------------- choice


def test_a_seed_is_scored_with_the_choice_of_the_others():
    scores = {"a": (9, 1, 1), "b": (2, 2, 2)}
    dev = {("t", name, seed): value for name, values in scores.items() for seed, value in enumerate(values)}
    assert choose(dev, ["t"], ["a", "b"], [0, 1, 2], True) == {"t": {0: "b", 1: "a", 2: "a"}}
    assert choose(dev, ["t"], ["a", "b"], [0], True) == {"t": {0: "a"}}


def test_a_target_without_dev_scores_takes_the_best_of_the_others():
    dev = {(target, name, seed): value for target, values in (("t", {"a": 1, "b": 2}), ("u", {"a": 9, "b": 1}))
           for name, value in values.items() for seed in (1, 2)}  # fmt: skip
    assert choose(dev, ["t", "u", "retrieval"], ["a", "b"], [1, 2], True) == {
        "t": {1: "b", 2: "b"}, "u": {1: "a", 2: "a"}, "retrieval": {1: "a", 2: "a"},
    }  # fmt: skip
    assert choose(dev, ["t", "u"], ["a", "b"], [1, 2], False) == {"t": {1: "a", 2: "a"}, "u": {1: "a", 2: "a"}}
    assert choose(dev, ["retrieval"], ["a", "b"], [1, 2], True) is None


def test_honest_selection_gains_nothing_among_nine_nulls():
    """A run's luck is on both sets: chosen by its own dev score it is scored too high, by its test score even more."""
    rng = np.random.default_rng(np.random.SeedSequence(32))
    names, seeds, repetitions = list(range(9)), [0, 1, 2], 4000
    honest, own_dev, naive = [], [], []
    for _ in range(repetitions):
        luck = rng.normal(0, 0.5, (9, 3))
        dev, test = luck + rng.normal(0, 0.5, (9, 3)), luck + rng.normal(0, 0.5, (9, 3))
        table = {("t", name, seed): dev[name, seed] for name in names for seed in seeds}
        chosen = choose(table, ["t"], names, seeds, True)["t"]
        honest.append(np.mean([test[chosen[seed], seed] for seed in seeds]))
        own_dev.append(test[dev.mean(axis=1).argmax()].mean())
        naive.append(test.mean(axis=1).max())
    assert abs(np.mean(honest)) < 0.05
    assert np.mean(own_dev) > 0.2 and np.mean(naive) > 0.5
