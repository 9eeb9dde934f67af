"""The English intermediate tasks: row by row on small files in their sources' schema, in full where data exists."""

from pathlib import Path

import pytest

from xstilts.data import Sources, load_examples
from xstilts.data.table import read_rows
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, Passage, TextPair, UserPart, Words
from xstilts.tasks import ccg, ccg_pmb, load_task
from xstilts.tasks._readers import causal, text_id
from xstilts.tasks._xquad_items import PARAGRAPH

HUB = Path(__file__).parents[3] / "shared" / "data" / "hub"

# task → split → rows of the source that its parts declare, before declared drops.
DECLARED = {
    "anli_plus": {
        "train": 550_152 + 392_702 + 16_946 + 45_460 + 100_459,
        "dev": 10_000 + 9_815 + 1_000 + 1_000 + 1_200,
        "test": 10_000 + 9_832 + 1_000 + 1_000 + 1_200,
    },
    "ccg_pmb": {"train": 7_745, "dev": 1_174, "test": 1_053},
    "copa": {"train": 400, "dev": 100},
    "cosmosqa": {"train": 25_262, "dev": 2_985},
    "cosmosqa_offline": {"train": 2_300, "dev": 685},
    "csqa": {"train": 9_741, "dev": 1_221},
    "hellaswag": {"train": 39_905, "dev": 10_042},
    "hellaswag_offline": {"train": 8_000, "dev": 2_042},
    "mnli": {"train": 392_702, "dev": 9_815, "test": 9_832},
    "mnli_offline": {"train": 8_601, "dev": 1_214},
    "qqp": {"train": 363_846, "dev": 40_430},
    "siqa": {"train": 33_410, "dev": 1_954},
    "squad1": {"train": 87_599, "dev": 10_570},
    "squad2": {"train": 130_319, "dev": 11_873},
}
OFFLINE = {"cosmosqa_offline": "cosmosqa", "hellaswag_offline": "hellaswag", "mnli_offline": "mnli"}
NAMES = (*DECLARED, "ccg")


@pytest.fixture
def load(examples_of):
    """``load(name, split)`` → item id → Example of the task's fixture."""

    def by_item(name, split):
        return {example.item_id: example for example in examples_of(name, split)}

    return by_item


# -------------------------------------------------------------------------------------------------- declarations


def test_there_are_fifteen():
    assert len(NAMES) == 15


@pytest.mark.parametrize("name", NAMES)
def test_english_only(name):
    task = load_task(name)
    assert {part.language for part in task.data.parts} == {"en"}
    assert task.trained
    assert task.languages("dev") == ("en",)


@pytest.mark.parametrize("name", DECLARED)
def test_declared_rows(name):
    parts = load_task(name).data.parts
    assert {part.split for part in parts} == set(DECLARED[name])
    for split, rows in DECLARED[name].items():
        assert sum(part.rows for part in parts if part.split == split) == rows


def test_anli_plus_has_as_many_training_rows_as_in_the_paper():
    unlabelled = 550_152 - 549_367  # of SNLI's rows
    assert DECLARED["anli_plus"]["train"] - unlabelled == 1_104_934


@pytest.mark.parametrize("name", OFFLINE)
def test_stand_ins_are_declared_as_such(name):
    """They read as the task they stand for, from a config of its repository that the hub does not have."""
    task, base = load_task(name), load_task(OFFLINE[name])
    assert task.data.read is base.data.read
    assert (task.format, task.metric, task.labels, task.licence) == (
        base.format,
        base.metric,
        base.labels,
        base.licence,
    )
    assert {part.repo for part in task.data.parts} <= {part.repo for part in base.data.parts}
    assert not {part.config for part in task.data.parts} & {part.config for part in base.data.parts}
    assert task.languages("test") == ()
    assert "not" in task.caveat
    assert not base.caveat
    assert base.name in task.overlaps
    assert name in base.overlaps


def test_only_squad2_has_questions_without_answer():
    assert {name for name in NAMES if load_task(name).no_answer} == {"squad2"}


# ------------------------------------------------------------------------------------------------------------ NLI


def test_mnli(load):
    train = load("mnli", "train")
    assert train["1"].fields == TextPair("The shop opens at nine.", "It never opens.")
    assert [each.gold for each in train.values()] == ["entailment", "contradiction", "neutral"]
    assert train["0"].cluster == train["1"].cluster == text_id("The shop opens at nine.") != train["2"].cluster
    assert load("mnli", "dev")["0"].gold == "contradiction"
    assert load("mnli", "test")["0"].fields == TextPair("Bees dance.", "Insects dance.")


def test_mnli_offline(load):
    assert list(load("mnli_offline", "train")) == ["17", "940"]
    assert load("mnli_offline", "dev")["5"].gold == "entailment"


def test_anli_plus_joins_its_corpora_under_names_of_their_own(load):
    assert list(load("anli_plus", "train")) == [
        *("snli-0", "snli-2", "mnli-0", "mnli-1", "mnli-2"),
        *("anli-r1-0", "anli-r2-0", "anli-r3-0"),
    ]
    assert list(load("anli_plus", "dev")) == ["snli-0", "mnli-matched-0", "anli-r1-0", "anli-r2-0", "anli-r3-0"]
    assert list(load("anli_plus", "test")) == ["snli-0", "mnli-mismatched-0", "anli-r1-0", "anli-r2-0", "anli-r3-0"]


def test_anli_plus_takes_the_names_of_classes_whatever_their_numbers(load):
    """In the fixture ANLI numbers its classes the other way round."""
    train, dev = load("anli_plus", "train"), load("anli_plus", "dev")
    assert train["anli-r2-0"].gold == train["snli-0"].gold == "entailment"
    assert train["snli-2"].gold == dev["anli-r1-0"].gold == "contradiction"


def test_anli_plus_clusters_premises_across_rounds(load):
    train = load("anli_plus", "train")
    assert train["anli-r1-0"].cluster == train["anli-r3-0"].cluster
    assert train["snli-0"].cluster == train["snli-2"].cluster == text_id("A dog runs.")


def test_pair_without_label_is_dropped_from_snli_alone(from_fixture):
    task, sources = from_fixture("anli_plus")
    assert len(load_examples(task, "dev", ("en",), sources)) == 5
    elsewhere = [part for part in task.data.parts if part.repo != "stanfordnlp/snli"]
    row = {"premise": "A", "hypothesis": "B", "label": -1}
    assert all(task.data.read(row, part, 0)[0].gold == -1 for part in elsewhere)  # which is refused when loaded


def test_qqp(load):
    train = load("qqp", "train")
    assert list(train) == ["7", "8"], "the pair without a second question is dropped"
    assert train["7"].fields == TextPair("How do I bake bread?", "How is bread baked?")
    assert (train["7"].gold, train["8"].gold) == ("duplicate", "not_duplicate")
    assert train["7"].cluster == train["8"].cluster
    assert load("qqp", "dev")["3"].gold == "duplicate"


def test_qqp_drops_no_other_row(from_fixture):
    task, _ = from_fixture("qqp")
    train, dev = task.data.parts
    row = {"idx": 310_137, "question1": "Why?", "question2": "", "label": "duplicate"}
    assert task.data.read(row, train, 0) == ()
    assert len(task.data.read({**row, "idx": 5}, train, 0)) == 1  # empty, which is refused when loaded
    assert len(task.data.read({**row, "question2": "How?"}, train, 0)) == 1
    assert len(task.data.read(row, dev, 0)) == 1


# ---------------------------------------------------------------------------------------------------------- SQuAD


def test_squad1(load):
    train = load("squad1", "train")
    assert train["a"].fields == Passage("Who met Bob?", " Ann met Bob in Oslo.")
    assert train["a"].gold == Answers(("Ann",), (1,))
    assert train["a"].cluster == train["b"].cluster != train["c"].cluster


@pytest.mark.parametrize("name", ["squad1", "squad2"])
def test_no_question_of_xquad_selects_a_model(name, load):
    dev = load(name, "dev")
    assert dev
    assert not set(dev) & set(PARAGRAPH)
    assert next(iter(dev.values())).gold == Answers(("deep and cold", "deep"), (11, 11))


def test_squad2_question_without_answer_has_a_gold(load):
    train = load("squad2", "train")
    assert train["e"].gold == Answers()
    assert train["e"].gold is not None
    assert train["a"].gold == Answers(("Ann",), (1,))
    assert train["a"].cluster == train["e"].cluster
    assert load("squad2", "dev")["h"].gold == Answers()


# ------------------------------------------------------------------------------------------------ multiple choice


def test_hellaswag(load):
    train = load("hellaswag", "train")
    assert train["0"].fields == Choices(
        "A boat lies on a lake.",
        (
            "a woman rows it away.",
            "a woman eats it.",
            "a woman sings to it on a bus.",
            "a woman paints the lake red.",
        ),
    )
    assert [each.gold for each in train.values()] == [0, 1, 2]
    assert train["0"].cluster == train["1"].cluster == "activitynet~v_a1"
    assert train["2"].cluster == "wikihow~77"


def test_hellaswag_option_without_clause_is_the_ending(load):
    assert load("hellaswag", "train")["2"].fields.options[2] == "Look for the loose leg."


def test_hellaswag_offline_clusters_by_context(load):
    train = load("hellaswag_offline", "train")
    assert train["0"].fields.prompt == "A cook cuts an onion. he"
    assert train["0"].cluster == train["1"].cluster == text_id("A cook cuts an onion. he")
    assert load("hellaswag_offline", "dev")["0"].cluster != train["0"].cluster


@pytest.mark.parametrize("name", ["cosmosqa", "cosmosqa_offline"])
def test_cosmosqa(name, load):
    train = load(name, "train")
    assert train["3A##q1"].fields == Choices(
        "I packed my tent and left before dawn . Where was I going ?",
        ("To camp .", "To a dance .", "None of the above choices .", "To bed ."),
    )
    assert [each.gold for each in train.values()] == [0, 2]
    assert train["3A##q1"].cluster == train["3A##q2"].cluster == text_id("I packed my tent and left before dawn .")
    assert load(name, "dev")["3B##q1"].gold == 0


def test_csqa(load):
    train = load("csqa", "train")
    assert train["q2"].fields == Choices("What do you cross a river on?", ("valley", "sea", "bridge", "soup", "hat"))
    assert (train["q1"].gold, train["q2"].gold) == (0, 2)
    assert train["q1"].cluster == train["q2"].cluster == "river"
    assert load("csqa", "dev")["q3"].gold == 4


def test_csqa_looks_the_answer_up_among_the_letters(from_fixture):
    task, _ = from_fixture("csqa")
    choices = {"label": ["E", "D", "C", "B", "A"], "text": ["e", "d", "c", "b", "a"]}
    row = {"id": "q", "question": "?", "question_concept": "c", "choices": choices, "answerKey": "D"}
    (example,) = task.data.read(row, task.data.parts[0], 0)
    assert example.fields.options[example.gold] == "d"


@pytest.mark.parametrize(
    ("letters", "texts"),
    [("ABCDE", "a"), ("AB", "a"), ("ABCD", "abcd"), ("AACDE", "abcde"), ("ABCDEF", "abcdef")],
)
def test_csqa_refuses_letters_that_are_not_those_of_its_five_options(letters, texts):
    task = load_task("csqa")
    choices = {"label": list(letters), "text": list(texts)}
    row = {"id": "q", "question": "?", "question_concept": "c", "choices": choices, "answerKey": "A"}
    with pytest.raises(ValueError, match="where CommonsenseQA has 5"):
        task.data.read(row, task.data.parts[0], 0)


@pytest.mark.parametrize("endings", [3, 5])
def test_hellaswag_refuses_another_number_of_endings(endings):
    task = load_task("hellaswag")
    row = {"source_id": "s", "ctx": "c", "ctx_a": "c", "ctx_b": "", "endings": ["e"] * endings, "label": "0"}
    with pytest.raises(ValueError, match=f"{endings} endings where HellaSwag has 4"):
        task.data.read(row, task.data.parts[0], 0)


def test_siqa_counts_from_one(load):
    train = load("siqa", "train")
    assert train["0"].fields == Choices(
        "Kim lent Lee a coat. Why did Kim do this?", ("Lee was cold", "Kim was cold", "Lee was tall")
    )
    assert [each.gold for each in train.values()] == [0, 2]
    assert train["0"].cluster == train["1"].cluster == text_id("Kim lent Lee a coat.")
    assert load("siqa", "dev")["0"].gold == 1


def test_copa_asks_as_xtreme_r_does(load):
    train = load("copa", "train")
    assert train["0"].fields == Choices("The glass broke. What was the cause?", ("It fell.", "It was blue."))
    assert train["1"].fields == Choices("The sun set. What was the effect?", ("It grew warm.", "It grew dark."))
    assert [each.gold for each in train.values()] == [0, 1]
    assert train["0"].cluster == text_id("The glass broke.")


def test_causal_refuses_another_question():
    with pytest.raises(ValueError, match="'why' is neither 'cause' nor 'effect'"):
        causal({"premise": "A.", "choice1": "B.", "choice2": "C."}, "why")


# ------------------------------------------------------------------------------------------------------------ CCG


def test_ccg(load):
    train = load("ccg", "train")
    assert list(train) == ["wsj_0200.1", "wsj_0200.2", "wsj_2101.1"]
    assert train["wsj_0200.1"].fields == Words(("Dogs", "bark", "."))
    assert train["wsj_0200.1"].cluster == train["wsj_0200.2"].cluster == "wsj_0200"
    assert load("ccg", "dev")["wsj_0001.1"].fields == Words(("Ann", "slept"))
    assert load("ccg", "test")["wsj_2300.1"].fields == Words(("Sleep",))


def test_ccg_numbers_the_categories_of_all_its_sections_in_their_order(from_fixture):
    _, sources = from_fixture("ccg")
    found = ccg.inventory(sources.files / "ccg" / "AUTO")
    assert list(found) == [".", "N", "NP[nb]/N", "RRB", "S[b]\\NP", "S[dcl]\\NP"]
    assert list(found.values()) == list(ccg.LABELS[:6])


def test_ccg_labels_stand_for_the_same_category_in_every_split(load):
    verb = load("ccg", "train")["wsj_0200.1"].gold[1]
    assert load("ccg", "dev")["wsj_0001.1"].gold[1] == verb
    assert load("ccg", "train")["wsj_0200.2"].gold[2] == verb
    assert load("ccg", "test")["wsj_2300.1"].gold[0] != verb


def test_ccg_has_the_papers_number_of_labels():
    assert len(ccg.LABELS) == len(set(ccg.LABELS)) == 1_363


def test_ccg_refuses_more_categories_than_labels(from_fixture, monkeypatch):
    _, sources = from_fixture("ccg")
    monkeypatch.setattr(ccg, "LABELS", ccg.LABELS[:3])
    with pytest.raises(ValueError, match="holds 6 categories; the task has 3 labels"):
        ccg.inventory(sources.files / "ccg" / "AUTO")


def test_ccg_reads_the_sections_that_are_usual():
    sections = {
        split: [part.pattern.split("/")[2] for part in load_task("ccg").data.parts if part.split == split]
        for split in ("train", "dev", "test")
    }
    assert sections["train"] == [f"{number:02d}" for number in range(2, 22)]
    assert (sections["dev"], sections["test"]) == (["00"], ["23"])


def test_ccg_says_what_to_put_where(tmp_path):
    for sources in (Sources(), Sources(files=tmp_path)):
        with pytest.raises(XstiltsError, match=r"LDC2005T13.*ccg/AUTO/00/wsj_0001\.auto"):
            load_examples(load_task("ccg"), "dev", ("en",), sources)


NAMED = "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(<L N NN NN Rain N>)\n", "line 1 is not the name of a sentence"),
        (NAMED + NAMED, "line 2 is not a derivation"),
        (NAMED + "(<T S 0 1> )\n", "line 2 is not a derivation"),
        (NAMED + "(<L N NN NN Rain N>) (<L N NN Rain>)\n", "line 2 is not a derivation"),
        (NAMED, "ends before the derivation of wsj_0001.1"),
    ],
)
def test_ccg_refuses_a_damaged_file(text, problem, tmp_path):
    (tmp_path / "ccg" / "AUTO" / "00").mkdir(parents=True)
    (tmp_path / "ccg" / "AUTO" / "00" / "wsj_0001.auto").write_text(text)
    with pytest.raises(XstiltsError, match=rf"wsj_0001\.auto: cannot be read .*{problem}"):
        load_examples(load_task("ccg"), "dev", ("en",), Sources(files=tmp_path))


def test_ccg_pmb(load):
    train = load("ccg_pmb", "train")
    assert list(train) == ["p02/d0001/0", "p02/d0001/1", "p13/d0002/0"]
    assert train["p02/d0001/0"].fields == Words(("Ann", "saw", "New York", "."))
    assert train["p02/d0001/0"].gold == ("n", "(s:dcl\\np)/np", "n", ".")
    assert train["p02/d0001/0"].cluster == train["p02/d0001/1"].cluster == "p02/d0001"
    assert load("ccg_pmb", "test")["p01/d0004/0"].gold == ("n", "s:dcl\\np")


def test_ccg_pmb_takes_a_number_sign_for_a_word(load):
    assert load("ccg_pmb", "train")["p13/d0002/0"].fields == Words(("#", "5"))


def test_ccg_pmb_labels():
    labels = load_task("ccg_pmb").labels
    assert len(labels) == len(set(labels)) == 312
    assert list(labels) == sorted(labels)


@pytest.mark.parametrize(
    "text",
    [
        "Rain\tRain\tx\tX\tn\tO\t[]\n",
        f"{ccg_pmb.DOCUMENT}p00/d0001\nRain\tRain\tx\tX\tn\tO\t[]\n",
        f"{ccg_pmb.DOCUMENT}p00/d0001\n# tok:gold\ttok:gold\tsem:gold\nRain\tRain\tX\n",
        f"{ccg_pmb.DOCUMENT}p00/d0001\n# tok:gold\ttok:gold\tcat:gold\nRain\tRain\n",
    ],
)
def test_ccg_pmb_refuses_a_damaged_file(text, tmp_path):
    path = tmp_path / "dev.conll"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a word with its category"):
        list(ccg_pmb.read(path, UserPart("dev", "en", "dev.conll")))


# -------------------------------------------------------------------------------------------------------- in full

# (task, split) → number of Examples, of clusters.
FULL = {
    ("copa", "train"): (400, 400),
    ("copa", "dev"): (100, 100),
    ("cosmosqa", "dev"): (2_985, 2_445),
    ("cosmosqa_offline", "train"): (2_300, 1_885),
    ("cosmosqa_offline", "dev"): (685, 560),
    ("hellaswag", "dev"): (10_042, 10_018),
    ("hellaswag_offline", "train"): (8_000, 7_981),
    ("hellaswag_offline", "dev"): (2_042, 2_037),
    ("mnli", "dev"): (9_815, 3_334),
    ("mnli_offline", "train"): (8_601, 2_921),
    ("mnli_offline", "dev"): (1_214, 413),
    ("squad1", "train"): (3_545, 800),
    ("squad1", "dev"): (883 - 97, 179),
}

if HUB.is_dir():

    def load_full(name, split, **more):
        return load_examples(load_task(name), split, ("en",), Sources(HUB, **more))

    @pytest.mark.parametrize(("name", "split"), FULL)
    def test_in_full(name, split):
        examples = load_full(name, split, subsets=frozenset({"squad1"}))
        assert (len(examples), len({each.cluster for each in examples})) == FULL[name, split]

    @pytest.mark.parametrize("name", OFFLINE)
    def test_stand_ins_are_a_partition_of_the_dev_set(name):
        train, dev, whole = load_full(name, "train"), load_full(name, "dev"), load_full(OFFLINE[name], "dev")
        assert sorted(repr(each.fields) for each in (*train, *dev)) == sorted(repr(each.fields) for each in whole)
        assert not {each.cluster for each in train} & {each.cluster for each in dev}

    @pytest.mark.parametrize("name", ["squad1", "hellaswag", "mnli"])
    def test_a_mirror_that_lacks_rows_says_so(name):
        with pytest.raises(XstiltsError, match=r"87,599 are declared|no such split|no file of config"):
            load_full(name, "train")

    def test_copa_dev_is_what_xcopa_translates():
        """COPA's dev answers are XCOPA's validation answers, in the order of their numbers."""
        file = HUB / "cambridgeltl" / "xcopa" / "et" / "validation-00000-of-00001.parquet"
        answers = {row["idx"]: row["label"] for _, row in read_rows(file, ("idx", "label"))}
        assert [each.gold for each in load_full("copa", "dev")] == [answers[number] for number in range(100)]
