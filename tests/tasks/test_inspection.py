"""``experiments/inspect_task.py``: what it counts, against counts by other ways, and what it shows."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xstilts import inspection
from xstilts.backbone import load_tokenizer, resolve
from xstilts.data import Sources, load_examples
from xstilts.inspection import SPLITS, Offsets, Request, look
from xstilts.spec import Answers, Example, GeneratedData, Passage, Task
from xstilts.tasks import load_task

FIXTURES = Path(__file__).parent / "fixtures"
SCRIPT = Path(__file__).parents[2] / "experiments" / "inspect_task.py"


@pytest.fixture(scope="module")
def run():
    """The command line: (arguments) → exit code."""
    spec = importlib.util.spec_from_file_location("inspect_task", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda line: module.main(line.split())


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(resolve("mini"))


def request(task, language=None, split="test", max_length=128):
    return Request(task, split, Sources(), "mini", max_length, 3, language)


def facts_of(*asked, **more):
    (found,) = look(request(*asked, **more))
    return found.facts


# ------------------------------------------------------------------------------------------------------- counting


def test_classification_is_counted_as_the_tokenizer_counts_pairs(tokenizer):
    facts = facts_of("mini_xnli", "ar")
    examples = load_examples(load_task("mini_xnli"), "test", ("ar",), Sources())
    whole = [tokenizer.encode(each.fields.first, each.fields.second) for each in examples]
    sizes = [len(each.ids) for each in whole]
    texts = [text for each in examples for text in (each.fields.first, each.fields.second)]
    assert (facts.examples, facts.rows, facts.without_gold, facts.truncated) == (120, 120, 0, 0)
    assert facts.lengths == (min(sizes), *np.quantile(sizes, [0.5, 0.95], method="inverted_cdf"), max(sizes))
    assert facts.tokens == sum(sizes) - 4 * 120  # <s> </s> </s> </s>
    assert facts.unknown == sum(each.tokens.count("<unk>") for each in whole)
    assert facts.words == len(" ".join(texts).split())
    assert facts.characters == sum(not char.isspace() for text in texts for char in text)
    assert facts.labels == (("entailment", 40), ("neutral", 40), ("contradiction", 40))
    assert (facts.clusters, facts.largest_cluster, facts.offsets) == (40, 3, None)


@pytest.mark.parametrize("max_length", [8, 12, 16, 24])
def test_truncation_is_what_is_longer_than_the_row(max_length):
    (short,), (whole,) = (look(request("mini_xnli", "sw", max_length=size)) for size in (max_length, 256))
    longer = sum(feature.length > max_length for feature in whole.encoded.features)
    assert short.facts.truncated == longer
    assert short.facts.lengths == whole.facts.lengths
    assert short.facts.tokens == whole.facts.tokens


def test_tagging_counts_tags_and_given_words():
    facts = facts_of("mini_panx", "zh", max_length=12)
    examples = load_examples(load_task("mini_panx"), "test", ("zh",), Sources())
    assert facts.words == sum(len(each.fields.words) for each in examples) == sum(count for _, count in facts.labels)
    assert facts.rows > facts.examples  # sentences are cut into rows, not cut off
    assert facts.truncated > 0


def test_choice_counts_options_and_a_row_for_each():
    facts = facts_of("mini_xcopa", "vi")
    assert {label for label, _ in facts.labels} == {"option 0", "option 1"}
    assert facts.rows == 2 * facts.examples == 240


def test_queries_and_candidates_are_counted_apart(tokenizer):
    english, finnish = look(request("mini_tatoeba", "fi"))
    assert (english.side, finnish.side) == ("queries", "candidates")
    examples = load_examples(load_task("mini_tatoeba"), "test", ("fi",), Sources())
    for side, role in ((english, "query"), (finnish, "candidate")):
        texts = [each.fields.text for each in examples if each.fields.role == role]
        assert [each.fields.text for each in side.examples] == texts
        assert (side.facts.examples, side.facts.without_gold, side.facts.labels) == (120, 0, ())
        assert side.facts.tokens == sum(len(each.ids) - 2 for each in tokenizer.encode_batch(texts))


def test_windows_are_rows_and_pairs_that_retrieval_is_trained_on_are_two(from_fixture, monkeypatch, made):
    made((CONTEXT, 0, "2015"))
    assert (
        facts_of("made", max_length=60).rows == 3
    )  # 100 tokens of context in windows of about 50 that overlap by half
    task, sources = from_fixture("lareqa")
    monkeypatch.setattr(inspection, "load_task", lambda name, where: task)
    (pairs,) = look(replace(request("lareqa", split="train"), sources=sources))
    assert (pairs.side, pairs.facts.rows) == ("", 2 * pairs.facts.examples)


@pytest.mark.parametrize(
    ("task", "language", "split"),
    [("mini_xnli", "sw", "test"), ("mini_mnli", None, "test"), ("mini_xnli", "en", "test"), ("squad1", None, "dev")],
)
def test_the_split_is_test_or_the_next_that_has_the_language(task, language, split):
    assert inspection._split(load_task(task), language) == split


def test_a_language_without_test_rows_is_looked_at_in_another_split():
    data = GeneratedData({"train": ("en",), "dev": ("en",), "test": ("de",)}, lambda split, language: [])
    task = Task("made", 1, "classification", "accuracy", data)
    assert [inspection._split(task, language) for language in ("de", "en", "xx")] == ["test", "dev", "test"]


def test_unanswerable_questions_are_counted():
    facts = facts_of("mini_squad2", split="dev")
    labels = dict(facts.labels)
    assert set(labels) == {"0 answers", "1 answer"}
    assert facts.offsets == Offsets(answers=labels["1 answer"], exact=labels["1 answer"], wider=0, lost=0, long=0)


@pytest.mark.parametrize("language", load_task("mini_xquad").languages("test"))
def test_every_answer_of_the_miniature_comes_back_exactly(language):
    assert facts_of("mini_xquad", language).offsets == Offsets(120, 120, 0, 0, 0)


CONTEXT = "2015 " * 99 + "2015"  # 100 words of one token each


@pytest.fixture
def made(monkeypatch):
    """Makes ``load_task`` give a span task with these answers: (context, start, answer) each."""

    def make(*rows):
        def examples(split, language):
            return [
                Example(str(number), language, "c", Passage("which?", context), Answers((answer,), (start,)))
                for number, (context, start, answer) in enumerate(rows)
            ]

        task = Task("made", 1, "span", "squad", GeneratedData({"test": ("en",)}, examples))
        monkeypatch.setattr(inspection, "load_task", lambda name, where: task)

    return make


def test_offsets_tell_exact_wider_lost_and_long_answers_apart(made):
    made(
        ("In Berlin.", 3, "Berlin"),  # exact
        ("In 龘龘龘.", 4, "龘"),  # one unknown token covers all three
        (CONTEXT, 0, CONTEXT),  # longer than a window
        (CONTEXT, 0, CONTEXT[: 65 * 5 - 1]),  # of 65 tokens
    )
    assert facts_of("made", max_length=80).offsets == Offsets(answers=4, exact=2, wider=1, lost=1, long=1)


# --------------------------------------------------------------------------------------------------------- showing

SHOWN = {
    "mini_xnli --lang sw": ("classification, scored by accuracy", "  tokens  <s>", "  gold    ", "entailment"),
    "mini_panx --lang th": ("tagging, scored by tagging", "word", "B-DATE", "I-DATE"),
    "mini_xquad --lang ar": ("  question  ", "  found     ", "exact", "answer", "100.00 % of 120 recovered exactly"),
    "mini_squad2 --split train": ("no answer", "0 answers    1,000    33.33 %"),
    "mini_xcopa --lang vi": ("* tokens  <s>", "  tokens  <s>", "option 1"),
    "mini_tatoeba --lang sw": ("QUERIES\n\nexample test-0-0", "CANDIDATES\n\nexample test-0-0", "lira za Uturuki"),
    "mini_xnli --lang en --rows 0": ("examples            120\n",),
}


@pytest.mark.parametrize("line", SHOWN)
def test_every_format_is_shown_as_plain_text(run, capsys, line):
    assert run(line) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "\x1b" not in shown.out
    assert all(part in shown.out for part in SHOWN[line])
    sides = 2 if "tatoeba" in line else 1
    for name in ("clusters", "tokens per example  min", "truncated", "unknown tokens", "per word", "backbone"):
        assert shown.out.count(name) == sides
    assert shown.out.count("label  ") == (sides == 1)
    assert shown.out.count("\nexample ") == (0 if "--rows 0" in line else 3 * sides)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("mini_xquad --max-length 24", ": no row holds the whole answer, or the question was cut"),
        ("mini_panx --max-length 8", ": do not fit 8 tokens whole and are split into rows"),
        ("mini_xnli --max-length 8", "100.00 % of the examples: do not fit 8 tokens whole and are cut"),
        ("mini_xcopa", "rows per example    2.00 of at most 128 tokens"),
    ],
)
def test_what_truncated_means_is_told(run, capsys, line, told):
    assert run(line) == 0
    assert told in capsys.readouterr().out


def test_an_interrupt_is_no_traceback(run, capsys, monkeypatch):
    def interrupted(request):
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "look", interrupted)
    assert run("mini_xnli") == 130
    assert capsys.readouterr().err == ""


def test_an_answer_that_cannot_be_found_exactly_is_told(run, capsys, made):
    made(("In 龘龘龘.", 4, "龘"), (CONTEXT, 0, CONTEXT))
    assert run("made --max-length 40") == 0
    shown = capsys.readouterr().out
    assert "'龘龘龘', 1 token, NOT exact" in shown
    assert "nothing: no window holds the whole answer" in shown


def test_text_that_looks_like_markup_is_shown_as_it_is(run, capsys, made):
    made(("see [bold red]this[/bold red] now", 4, "[bold red]this[/bold red]"))
    assert run("made") == 0
    assert "[[[bold red]this[/bold red]]]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mini_xnly", "task (docs/tasks.md lists them): unknown task; given 'mini_xnly', did you mean 'mini_xnli'?"),
        ("mini_xnli --lang xx", "--lang: task mini_xnli has no such language in --split test; given 'xx' (allowed: "),
        ("mini_xnli --split dev --lang sw", "--lang: task mini_xnli has no such language in --split dev; given 'sw'"),
        ("mini_tatoeba --split train", "--split: task mini_tatoeba has no such split; given 'train' (allowed: test)"),
        ("squad1 --split test", "--split: task squad1 has no such split; given 'test' (allowed: dev, train)"),
        ("mini_xnli --max-length 7", "--max-length: must be 8 to 256 tokens with this backbone; given '7'"),
        ("mini_xnli --max-length 257", "--max-length: must be 8 to 256 tokens with this backbone; given '257'"),
        ("mini_xnli --rows -1", "--rows: must not be negative; given '-1'"),
        ("mini_xnli --backbone nowhere", "backbone: neither a directory nor a hub id 'org/name'; given 'nowhere'"),
        ("sib200 --data nowhere", "data: the mirror is not a directory; given 'nowhere'"),
    ],
)
def test_bad_input_is_one_message(run, capsys, line, message):
    assert run(line) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert shown.err.count("\n") == 1


# -------------------------------------------------------------------------------------------------- real task


def test_a_task_of_the_hub(run, capsys, from_fixture):
    _, sources = from_fixture("sib200")
    command = f"sib200 --lang en --split train --data {sources.mirror}"
    assert run(f"{command} --subset") == 0
    shown = capsys.readouterr().out
    assert "The night train leaves at nine." in shown
    assert "travel    1        100.00 %" in shown
    assert run(command) == 2
    assert "1 rows where 701 are declared; if it is a subset on purpose" in capsys.readouterr().err


def test_a_test_set_is_whole_even_of_a_declared_subset(run, capsys, from_fixture):
    _, sources = from_fixture("sib200")
    assert run(f"sib200 --lang zh --data {sources.mirror} --subset") == 2
    assert "1 rows where 204 are declared" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.json")))
def test_every_fixture_is_inspected_and_shown(from_fixture, monkeypatch, run, capsys, name):
    task, sources = from_fixture(name)
    monkeypatch.setattr(inspection, "load_task", lambda name, where: task)
    options = f"--data {sources.mirror} --files {sources.files}"
    for split in SPLITS:
        for language in task.languages(split):
            assert run(f"{name} --split {split} --lang {language} {options}") == 0, capsys.readouterr().err
            for found in look(replace(request(name, language, split), sources=sources)):
                assert found.facts.examples > 0 and found.facts.unknown <= found.facts.tokens
                if found.facts.offsets:
                    assert found.facts.offsets.lost == found.facts.offsets.long == 0
            assert f"{name}, {split}, {language}: {task.format}" in capsys.readouterr().out
