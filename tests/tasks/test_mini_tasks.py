"""The tasks of the miniature: exact gold, parallel languages, balance, held-out facts, and no give-aways."""

import calendar
import functools
import itertools
from collections import Counter, defaultdict
from dataclasses import asdict

import pytest
from babel.core import get_global

from xstilts.mini import choice, nli, paraphrase, qa, retrieval, tagging
from xstilts.mini.draw import is_held_out
from xstilts.mini.facts import FACT_TYPES, Day, Money, Place, Quantity
from xstilts.mini.languages import CODES
from xstilts.mini.record import write
from xstilts.spec import Answers, Choices, Passage, Sentence, TextPair, Words
from xstilts.tasks import load_task, task_names

INTERMEDIATE = (
    "mini_mnli", "mini_anli", "mini_qqp", "mini_squad1", "mini_squad2", "mini_hellaswag", "mini_cosmosqa", "mini_csqa",
    "mini_ccg",
)  # fmt: skip
TARGET = ("mini_xnli", "mini_pawsx", "mini_xquad", "mini_xcopa", "mini_udpos", "mini_panx", "mini_tatoeba")
NLI = ("mini_mnli", "mini_anli", "mini_xnli")
PARAPHRASE = ("mini_qqp", "mini_pawsx")
SPAN = ("mini_squad1", "mini_squad2", "mini_xquad")
CHOICE = ("mini_hellaswag", "mini_cosmosqa", "mini_csqa", "mini_xcopa")
TAGGING = ("mini_ccg", "mini_udpos", "mini_panx")
FIELDS = {
    "classification": TextPair, "span": Passage, "choice": Choices, "tagging": Words, "retrieval": Sentence,
}  # fmt: skip


@functools.cache
def rows(name, split, language):
    return load_task(name).data.examples(split, language)


def item_facts(name, split):
    """The facts of a split, item by item, as the generators drew them."""
    if name in NLI:
        drawn = nli.inferences(name, split, {"train": 334, "dev": 67, "test": 40}[split], 2 if "anli" in name else 1)
        return [[shown.fact for shown in item.premise + item.hypothesis] for item in drawn]
    if name in PARAPHRASE:
        drawn = paraphrase.pairs(name, split, {"train": 500, "dev": 100, "test": 60}[split], 3 if "paws" in name else 2)
        return [[shown.fact for shown in item.first + item.second] for item in drawn]
    if name in SPAN:
        drawn = qa.questions(name, split, {"train": 1000, "dev": 200, "test": 120}[split])
        return [[shown.fact for shown in (*item.record, item.cue)] for item in drawn]
    if name in TAGGING:
        drawn = tagging.records(name, split, {"train": 1000, "dev": 200, "test": 120}[split])
        return [[shown.fact for shown in record] for record in drawn]
    make = __import__(f"xstilts.tasks.{name}", fromlist=["make"]).make
    drawn = choice.items(name, split, {"train": 1000, "dev": 200, "test": 120}[split], make)
    return [[shown.fact for shown in item.prompt + item.options] for item in drawn]


# ------------------------------------------------------------------------------------------------- what is shipped


def test_the_tasks_are_all_there():
    shipped = [name for name in task_names() if name.startswith("mini_")]
    assert len(INTERMEDIATE) == 9 and len(TARGET) == 7
    assert sorted(shipped) == sorted((*INTERMEDIATE, *TARGET, "mini_mlm"))  # which test_mlm_tasks.py looks at


@pytest.mark.parametrize("name", INTERMEDIATE + TARGET)
def test_splits_and_languages(name):
    task = load_task(name)
    if name == "mini_tatoeba":
        assert task.languages("train") == () and task.languages("test") == CODES[1:]
        return
    assert task.languages("train") == task.languages("dev") == ("en",)
    assert task.languages("test") == CODES
    few = 900 < len(rows(name, "train", "en")) < 1100
    assert few if name in TARGET else 1400 < len(rows(name, "train", "en")) < 3100
    assert len(rows(name, "dev", "en")) in (200, 201)
    assert len(rows(name, "test", "en")) == 120


@pytest.mark.parametrize("name", INTERMEDIATE + TARGET)
def test_examples_are_whole(name):
    task = load_task(name)
    for split in task.data.splits:
        for language in task.languages(split)[:3]:
            for row in rows(name, split, language):
                assert row.language == language and row.item_id and row.cluster
                assert type(row.fields) is FIELDS[task.format]
                texts = [v for v in asdict(row.fields).values() if isinstance(v, str)]
                assert all(text and text == text.strip() for text in texts)


@pytest.mark.parametrize("name", INTERMEDIATE + TARGET)
def test_test_sets_are_parallel(name):
    languages = load_task(name).languages("test")

    def frame(language):
        free = load_task(name).format in ("tagging", "span")  # there gold depends on the language
        return [(row.item_id, row.cluster, None if free else row.gold) for row in rows(name, "test", language)]

    expected = frame(languages[0])
    assert all(frame(language) == expected for language in languages)
    roles = Counter(
        (item, getattr(rows(name, "test", languages[0])[i].fields, "role", "")) for i, (item, *_) in enumerate(expected)
    )
    assert max(roles.values()) == 1


@pytest.mark.parametrize("name", INTERMEDIATE + TARGET)
def test_examples_repeat(name):
    task = load_task(name)
    language = task.languages("test")[-1]
    again = [cached for cached in vars(nli).values() if hasattr(cached, "cache_clear")]
    first = task.data.examples("test", language)
    for each in [*again, paraphrase.pairs, qa.questions, choice.items, tagging.records, retrieval.families]:
        each.cache_clear()
    assert task.data.examples("test", language) == first


# ------------------------------------------------------------------------------------------------ held-out facts


@pytest.mark.parametrize(
    "name", [name for name in INTERMEDIATE + TARGET if name not in ("mini_tatoeba", "mini_hellaswag")]
)
def test_test_facts_do_not_occur_in_training(name):
    seen = {fact.key for split in ("train", "dev") for facts in item_facts(name, split) for fact in facts}
    tested = {fact.key for facts in item_facts(name, "test") for fact in facts}
    assert not seen & tested
    assert all(map(is_held_out, tested)) and not any(map(is_held_out, seen))
    assert {key.partition(":")[0] for key in tested} >= {"place", "date", "quantity"}


def test_retrieval_uses_held_out_facts():
    for family in retrieval.families("mini_tatoeba", "test", 40, 3, 3):
        facts = [shown.fact for item in family for shown in item.query]
        assert all(is_held_out(fact.key) for fact in facts)
        assert [shown.fact for item in family for shown in item.candidate] == facts
        assert len({tuple(shown.fact for shown in item.query) for item in family}) == len(family)


# -------------------------------------------------------------------------------------------- labels are exact


def claims(shown):
    """What a form of a fact says, worked out from the raw value and not by ``meaning``."""
    fact, form = shown.fact, shown.form
    if isinstance(fact, Place):
        territory = get_global("zone_territories")[fact.zone]
        return {("country", territory)} | ({("city", fact.zone)} if form == "city" else set())
    if isinstance(fact, Day):
        day = fact.date
        parts = {("month", day.month), ("weekday", calendar.weekday(day.year, day.month, day.day)), ("ymd", str(day))}
        return parts if form in ("full", "long", "medium") else {each for each in parts if each[0] == form}
    if isinstance(fact, Quantity):
        return {("unit", fact.unit)} | ({("amount", fact.amount)} if form in ("long", "short") else set())
    assert isinstance(fact, Money)
    return {("currency", fact.currency)} | ({("sum", fact.amount)} if form in ("name", "symbol") else set())


def judge(premise, hypothesis):
    verdicts = []
    for said in hypothesis:
        known = [claims(shown) for shown in premise if type(shown.fact) is type(said.fact)]
        verdicts.append("neutral" if not known else "entailment" if claims(said) <= known[0] else "contradiction")
    return next((v for v in ("neutral", "contradiction") if v in verdicts), "entailment")


@pytest.mark.parametrize("name", NLI)
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_inference_labels(name, split):
    hops = 2 if name == "mini_anli" else 1
    for item in nli.inferences(name, split, 40, hops):
        assert len(item.hypothesis) == hops and len({shown.fact.kind for shown in item.premise}) == len(item.premise)
        assert judge(item.premise, item.hypothesis) == item.label
        for said in item.hypothesis:
            assert said not in item.premise
            if said.form == "weekday" and item.label != "neutral":
                assert all(shown.form == "full" for shown in item.premise if isinstance(shown.fact, Day))


@pytest.mark.parametrize("name", PARAPHRASE)
def test_paraphrase_labels(name):
    for item in paraphrase.pairs(name, "test", 60, 3 if "paws" in name else 2):
        first, second = ({shown.fact for shown in side} for side in (item.first, item.second))
        assert (first == second) == (item.label == "same")
        assert len(first & second) >= len(first) - 1
        assert [fact.kind for fact in sorted(first, key=str)] == [fact.kind for fact in sorted(second, key=str)]


@pytest.mark.parametrize("name", ["mini_cosmosqa", "mini_csqa", "mini_xcopa"])
def test_only_the_gold_option_follows(name):
    make = __import__(f"xstilts.tasks.{name}", fromlist=["make"]).make
    for item in choice.items(name, "test", 120, make):
        verdicts = [judge(item.prompt, (option,)) for option in item.options]
        assert verdicts[item.gold] == "entailment" and verdicts.count("contradiction") == len(verdicts) - 1


def test_sequences_continue():
    make = __import__("xstilts.tasks.mini_hellaswag", fromlist=["make"]).make
    kinds = set()
    for item in choice.items("mini_hellaswag", "test", 120, make):
        form = item.prompt[0].form
        kinds.add(form)

        def place(shown, form=form):
            fact = shown.fact
            return fact.date.month if form == "month" else fact.date.weekday() if form == "weekday" else fact.amount

        modulus = {"month": 12, "weekday": 7}.get(form, 10**6)
        line = [place(shown) for shown in (*item.prompt, item.options[item.gold])]
        assert all((b - a) % modulus == 1 for a, b in itertools.pairwise(line))
        assert len({place(shown) for shown in item.prompt + item.options}) == 7
    assert kinds == {"month", "weekday", "long", "short"}


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("name", SPAN)
def test_answers_stand_where_they_are_said_to(name, language):
    empty = 0
    for row in rows(name, "test", language):
        assert isinstance(row.gold, Answers)
        empty += not row.gold.texts
        for text, start in zip(row.gold.texts, row.gold.starts, strict=True):
            assert text and row.fields.context[start : start + len(text)] == text
    assert empty == (40 if name == "mini_squad2" else 0)


@pytest.mark.parametrize("name", SPAN)
def test_exactly_one_item_answers(name):
    for item in qa.questions(name, "test", 120, 1 / 3 if name == "mini_squad2" else 0.0):
        right = [i for i, shown in enumerate(item.record) if claims(item.cue) <= claims(shown)]
        assert right == ([] if item.answer is None else [item.answer])
        assert sum(type(shown.fact) is type(item.cue.fact) for shown in item.record) == 2


@pytest.mark.parametrize("language", CODES)
@pytest.mark.parametrize("name", TAGGING)
def test_tags_fit_words(name, language):
    labels = set(load_task(name).labels)
    for row in rows(name, "test", language):
        assert len(row.gold) == len(row.fields.words) > 1
        assert set(row.gold) <= labels
        for word, tag in zip(row.fields.words, row.gold, strict=True):
            assert word.isdigit() == (tag in ("NUM", "DAY", "YEAR", "NUMBER")) or name == "mini_panx" or tag == "MONTH"


@pytest.mark.parametrize("language", CODES)
def test_entities_spell_their_facts(language):
    """Words of each IOB2 span, put together, are the text of a fact of that type."""
    records = tagging.records("mini_panx", "test", 120)
    for record, row in zip(records, rows("mini_panx", "test", language), strict=True):
        spans = []
        for word, tag in zip(row.fields.words, row.gold, strict=True):
            if tag.startswith("B-"):
                spans.append((tag[2:], word))
            elif tag.startswith("I-"):
                assert spans[-1][0] == tag[2:]
                spans[-1] = (tag[2:], spans[-1][1] + word)
        wanted = [
            (shown.fact.tag, "".join(shown.fact.text(shown.form, language).split()))
            for shown in record
            if shown.form in shown.fact.exact or shown.fact.tag == "LOC"
        ]
        assert spans == wanted


# ----------------------------------------------------------------------------------------------- no give-aways


@pytest.mark.parametrize("name", NLI + PARAPHRASE)
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_labels_are_balanced(name, split):
    counts = Counter(row.gold for row in rows(name, split, "en"))
    assert set(counts) == set(load_task(name).labels) and len(set(counts.values())) == 1


@pytest.mark.parametrize("name", CHOICE)
def test_right_options_stand_anywhere(name):
    golds = Counter(row.gold for row in rows(name, "train", "en"))
    options = len(rows(name, "train", "en")[0].fields.options)
    assert len(golds) == options
    assert max(golds.values()) < 1.25 * len(rows(name, "train", "en")) / options


def word_guess(train, test, view):
    """Accuracy of the label that the words of one part of the input have most often; naive Bayes, add-one."""
    counts, totals = defaultdict(Counter), Counter()
    for row in train:
        for word in view(row):
            counts[word][row.gold] += 1
        totals[row.gold] += 1

    def best(row):
        def score(label):
            product = 1.0
            for word in view(row):
                product *= (counts[word][label] + 1) / (totals[label] + 2)
            return product

        return max(totals, key=score)

    return sum(best(row) == row.gold for row in test) / len(test)


@pytest.mark.parametrize("name", NLI)
def test_hypothesis_alone_says_little(name):
    """Words, and number of words and of characters, of the hypothesis."""

    def view(row):
        words = row.fields.second.replace(",", " ").split()
        return {*words, f"#{len(words)}", f"##{len(row.fields.second) // 4}"}

    assert word_guess(rows("mini_mnli", "train", "en"), rows(name, "train", "en"), view) < 0.43 or name == "mini_mnli"
    assert word_guess(rows(name, "train", "en"), rows(name, "dev", "en"), view) < 0.45


@pytest.mark.parametrize("name", PARAPHRASE)
def test_second_record_alone_says_little(name):
    def view(row):
        words = row.fields.second.replace(",", " ").split()
        return {*words, f"#{len(words)}", f"##{len(row.fields.second) // 4}"}

    assert word_guess(rows(name, "train", "en"), rows(name, "dev", "en"), view) < 0.62


@pytest.mark.parametrize("name", CHOICE)
def test_length_does_not_tell_options_apart(name):
    for pick in (min, max):
        right = total = 0
        for row in rows(name, "train", "en"):
            lengths = [len(option) for option in row.fields.options]
            right += lengths.index(pick(lengths)) == row.gold
            total += 1
        assert right / total < 1.35 / len(row.fields.options)


def test_answers_stand_anywhere():
    places = Counter(item.answer for item in qa.questions("mini_xquad", "train", 1000))
    assert all(count > 80 for count in places.values()) and len(places) == 4


def test_write_is_what_tasks_use():
    item = nli.inferences("mini_xnli", "test", 40, 1)[0]
    assert rows("mini_xnli", "test", "th")[0].fields.first == write(item.premise, "th").text


def test_every_fact_type_is_asked_about():
    asked = {type(item.hypothesis[0].fact) for item in nli.inferences("mini_xnli", "test", 40, 1)}
    assert asked == set(FACT_TYPES)
