"""The target tasks of XTREME and XTREME-R that are classified, tagged, answered by a span or chosen."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, Choices, HubData, Passage, TextPair, UserPart, Words
from xstilts.tasks import _conllu, load_task, panx, xcopa
from xstilts.tasks._offsets import realigned
from xstilts.tasks._readers import text_id
from xstilts.tasks._xcopa_questions import TEST as XCOPA_QUESTIONS
from xstilts.tasks._xquad_items import PARAGRAPH

HUB = Path(__file__).parents[3] / "shared" / "data" / "hub"

# The languages of XTREME's and XTREME-R's evaluate.py.
XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
PANX = (
    "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et "
    "fi hu"
)
UDPOS = "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh"
LANGUAGES = {
    "xnli": XNLI,
    "pawsx": "de en es fr ja ko zh",
    "udpos": UDPOS,
    "udpos_hub": UDPOS,
    "udpos_r": f"{UDPOS} lt pl uk wo ro",
    "panx": PANX,
    "panx_r": f"{PANX} qu pl uk az lt pa gu ro",
    "xquad": "en es de el ru tr ar vi th zh hi",
    "xquad_r": "en es de el ru tr ar vi th zh hi ro",
    "mlqa": "en es de ar hi vi zh",
    "tydiqa": "en ar bn fi id ko ru sw te",
    "xcopa": "et ht id it qu sw ta th tr vi zh",
}
COUNTS = {"xnli": 15, "pawsx": 7, "udpos": 33, "udpos_r": 38, "panx": 40, "panx_r": 48, "xquad": 11, "xquad_r": 12}
# Task → rows of the source: train, dev, all of test; None where a part of test has no confirmed count.
ROWS = {
    "xnli": (392_702, 2_490, 15 * 5_010),
    "pawsx": (49_401, 2_000, 7 * 2_000),
    "udpos": (21_253, 3_974, None),
    "udpos_hub": (21_253, 3_974, 102_119),
    "udpos_r": (21_253, 3_974, None),
    "panx": (20_000, 10_000, 25 * 10_000 + 12 * 1_000 + 3 * 100),
    "panx_r": (20_000, 10_000, 29 * 10_000 + 13 * 1_000 + 6 * 100),
    "xquad": (87_599, 10_570, 11 * 1_190),
    "xquad_r": (87_599, 10_570, 12 * 1_190),
    "mlqa": (87_599, 1_148, 42_245),
    "tydiqa": (49_881, 49_881, 9 * 5_077),
    "xcopa": (400, 100, 11 * 500),
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_declared_languages(name):
    task = load_task(name)
    assert task.languages("train") == task.languages("dev") == ("en",)
    languages = task.languages("test")
    assert sorted(languages) == sorted(LANGUAGES[name].split())
    assert languages[0] == "en" or name == "xcopa"
    assert len(languages) == COUNTS.get(name, len(languages))


@pytest.mark.parametrize("name", ROWS)
def test_declared_rows(name):
    parts = load_task(name).data.parts
    rows = [[part.rows for part in parts if part.split == split] for split in ("train", "dev", "test")]
    totals = tuple(None if None in of_split else sum(of_split) for of_split in rows)
    assert totals == ROWS[name]


@pytest.mark.parametrize("name", ["udpos", "udpos_r"])
def test_udpos_has_no_count_where_none_could_be_confirmed(name):
    unknown = {part.language for part in load_task(name).data.parts if part.rows is None}
    assert unknown == {"et", "fr", "pt", "ru", "zh"}


def test_formats_and_metrics():
    kinds = {name: (load_task(name).format, load_task(name).metric) for name in LANGUAGES}
    assert kinds == {
        **dict.fromkeys(("xnli", "pawsx"), ("classification", "accuracy")),
        **dict.fromkeys(("udpos", "udpos_r", "udpos_hub", "panx", "panx_r"), ("tagging", "tagging")),
        **dict.fromkeys(("xquad", "xquad_r", "tydiqa"), ("span", "squad")),
        "mlqa": ("span", "mlqa"),
        "xcopa": ("choice", "accuracy"),
    }


def test_overlaps():
    assert set(load_task("xnli").overlaps) == {"mnli", "anli_plus"}
    assert set(load_task("xcopa").overlaps) == {"copa"}
    for name in ("xquad", "xquad_r", "mlqa"):
        assert set(load_task(name).overlaps) == {"squad1", "squad2"}
    tagged = {"udpos", "udpos_r", "udpos_hub", "udpos_pud"}
    for name in tagged:
        assert set(load_task(name).overlaps) == tagged - {name}, "all are trained on English EWT"
    for name in ("pawsx", "panx", "panx_r", "tydiqa"):
        assert not load_task(name).overlaps


@pytest.mark.parametrize("base", ["panx", "udpos", "xquad"])
def test_xtreme_r_only_adds_languages(base):
    first, second = load_task(base), load_task(f"{base}_r")
    assert second.data.parts[: len(first.data.parts)] == first.data.parts
    assert (second.data.read, second.labels, second.metric) == (first.data.read, first.labels, first.metric)


# ------------------------------------------------------------------------------------------------- classification


def test_xnli(examples_of):
    first, second = examples_of("xnli", "train")
    assert first.cluster == second.cluster == text_id("A dog sleeps.")
    assert (first.gold, second.gold) == ("entailment", "contradiction")
    test = examples_of("xnli", "test")
    of = {code: [each for each in test if each.language == code] for code in ("en", "de", "th")}
    assert [each.item_id for each in of["en"]] == ["0", "1", "2", "3"]
    assert [each.cluster for each in of["en"]] == ["premise-0"] * 3 + ["premise-1"]
    for code in ("de", "th"):
        assert [(each.item_id, each.cluster, each.gold) for each in of[code]] == [
            (each.item_id, each.cluster, each.gold) for each in of["en"]
        ]
    assert of["de"][1].fields == TextPair("Der Laden öffnet um neun.", "Er verkauft Brot.")
    assert of["de"][1].gold == "neutral"


def test_pawsx(examples_of):
    first, second = examples_of("pawsx", "dev")
    assert first.cluster == second.cluster, "pairs with the same first sentence"
    test = examples_of("pawsx", "test")
    assert [(each.language, each.item_id, each.cluster) for each in test] == [
        (code, item, item) for code in ("en", "fr", "ko") for item in ("1", "2")
    ]
    assert [each.gold for each in test] == ["0", "1"] * 3
    korean = [each.fields for each in test if each.language == "ko"]
    assert korean == [TextPair("보가 알을 이겼다 .", "NS"), TextPair("NS", "월요일에 비가 왔다 .")]


# -------------------------------------------------------------------------------------------------------- tagging


def test_panx(examples_of):
    (train,) = examples_of("panx", "train")
    assert train.fields == Words(("Ann", "Lee", "left", "Oslo"))
    assert train.gold == ("B-PER", "I-PER", "O", "B-LOC")
    (dev,) = examples_of("panx", "dev")
    assert dev.fields.words[1] == ":"
    test = examples_of("panx", "test")
    assert [each.item_id for each in test] == ["en-test-0", "en-test-1", "en-test-2", "sw-test-0", "zh-test-0"]
    assert test[0].cluster == test[2].cluster != test[1].cluster, "the same sentence twice"
    assert test[4].fields == Words(("北", "京", panx.BLANK, "大", "学"))
    assert test[4].gold == ("B-ORG", *["I-ORG"] * 4)


def test_panx_r(examples_of):
    assert {each.language for each in examples_of("panx_r", "test")} == {"en", "qu", "uk"}


def test_udpos_hub(examples_of):
    (train,) = examples_of("udpos_hub", "train")
    assert train.fields == Words(("Dogs", "bark", "."))
    assert train.gold == ("NOUN", "VERB", "PUNCT")
    test = examples_of("udpos_hub", "test")
    assert [each.item_id for each in test] == ["en-test-0", "en-test-1", "en-test-2", "de-test-0", "el-test-0"]
    assert test[1].cluster == test[2].cluster != test[0].cluster
    assert "Ancient Greek" in load_task("udpos_hub").caveat


def test_udpos_pud(examples_of):
    assert [each.item_id for each in examples_of("udpos_pud", "train")] == ["en-train-0", "en-train-1"]
    test = examples_of("udpos_pud", "test")
    assert [each.cluster for each in test] == ["pud-0", "pud-1", "pud-0", "pud-1", "yo-test-0", "yo-test-1"]
    assert [each.item_id for each in test] == [each.cluster for each in test]
    assert test[0].fields == Words(("dogs", "bark"))
    assert test[0].gold == ("NOUN", "VERB")
    assert test[3].fields == Words(("1 000",))


def test_udpos_pud_refuses_the_hubs_joined_treebanks(from_fixture):
    _, sources = from_fixture("udpos_pud")
    with pytest.raises(XstiltsError, match=r"'udpos.French', split 'test': 2 rows where 1,000 are declared"):
        load_examples(load_task("udpos_pud"), "test", ("fr",), sources)


@pytest.mark.parametrize("name", ["udpos", "udpos_r"])
def test_udpos(name, examples_of):
    first, second = examples_of(name, "train")
    assert first.item_id == "en_ewt-ud-train-0"
    assert second.fields == Words(("Don't", "go"))
    assert second.gold == ("AUX", "VERB"), "both parts depend on the verb, and AUX comes before PART"


def test_udpos_r_test_sets(examples_of):
    of = {}
    for each in examples_of("udpos_r", "test"):
        of.setdefault(each.language, []).append(each)
    assert set(of) == {"en", "de", "fa", "wo", "zh"}, "Swiss German is not German"
    sings, yes, pud = of["en"]
    assert sings.fields == Words(("She", "sings")), "without the empty node"
    assert yes.item_id == "en_ewt-ud-test-1"
    assert (pud.item_id, pud.cluster) == ("pud-n01", "pud-n01")
    (german,) = of["de"]
    assert (german.item_id, german.cluster) == (pud.item_id, pud.cluster)
    assert german.fields == Words(("Wir", "gehen", "zum", "Haus"))
    assert german.gold == ("PRON", "VERB", "ADP", "NOUN")
    assert of["fa"][0].fields == Words(("میروم", "10000"))
    traditional, _, simplified, _ = of["zh"]
    assert traditional.cluster == simplified.cluster
    assert traditional.item_id != simplified.item_id
    assert [each.item_id for each in of["wo"]] == ["wo_wtb-ud-test-0"]


def test_udpos_r_says_what_to_download(tmp_path):
    with pytest.raises(XstiltsError) as caught:
        load_examples(load_task("udpos_r"), "test", ("lt",), Sources(None, tmp_path))
    what, where = map(str, caught.value.problems)
    assert what.startswith(f"task udpos_r: needs files that only you can supply, in {tmp_path}. Download ud-treebanks")
    assert "11234/1-3424" in what
    assert where == f"task udpos_r: {tmp_path} holds no file ud-treebanks-v2.7/*/lt_*-ud-test.conllu"


def conllu(*rows):
    """Write a sentence: rows are (number, form, tag, head)."""
    return "".join(f"{n}\t{form}\t_\t{tag}\t_\t_\t{head}\t_\t_\t_\n" for n, form, tag, head in rows) + "\n"


@pytest.fixture
def read_ud(tmp_path):
    def read(text, language="en", name="xx_tree-ud-test.conllu"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return list(_conllu.read(tmp_path / name, UserPart("test", language, name)))

    return read


@pytest.mark.parametrize(
    ("language", "tags", "expected"),
    [
        ("en", ("DET", "ADP"), "ADP"),
        ("en", ("ADP", "VERB"), "VERB"),
        ("fr", ("ADP", "PRON"), "PRON"),
        ("fr", ("NUM", "SCONJ"), "SCONJ"),
        ("it", ("PRON", "ADV"), "ADV"),
        ("en", ("PRON", "ADV"), "PRON"),
        ("en", ("SYM", "PUNCT"), "PUNCT"),
    ],
)
def test_tag_of_a_multiword_token_whose_parts_are_equally_near_to_the_root(read_ud, language, tags, expected):
    rows = (("1-2", "xy", "_", "_"), (1, "x", tags[0], 3), (2, "y", tags[1], 3), (3, "z", "NOUN", 0))
    (example,) = read_ud(conllu(*rows), language)
    assert example.fields == Words(("xy", "z"))
    assert example.gold == (expected, "NOUN")


def test_tag_of_a_multiword_token_is_that_of_the_part_nearest_to_the_root(read_ud):
    rows = ((1, "a", "VERB", 0), ("2-3", "bc", "_", "_"), (2, "b", "VERB", 3), (3, "c", "X", 1), (4, "d", "ADV", 2))
    (example,) = read_ud(conllu(*rows))
    assert example.gold == ("VERB", "X", "ADV")


@pytest.mark.parametrize(
    ("forms", "kept"),
    [(("_",), False), (("_", "_"), False), (("a", "_"), False), (("a", "b", "_"), True), (("a", "_", "_"), False)],
)
def test_withheld_sentences_are_dropped(read_ud, forms, kept):
    text = conllu(*((n, form, "X", 0) for n, form in enumerate(forms, start=1)))
    assert len(read_ud(text)) == kept


def test_files_need_no_final_blank_line_and_may_have_windows_line_ends(read_ud, tmp_path):
    text = conllu((1, "a", "X", 0)) + conllu((1, "b", "X", 0)).rstrip("\n")
    assert [each.fields.words for each in read_ud(text)] == [("a",), ("b",)]
    (tmp_path / "w.conllu").write_bytes(text.replace("\n", "\r\n").encode())
    assert [each.fields.words for each in _conllu.read(tmp_path / "w.conllu", UserPart("test", "en", ""))] == [
        ("a",),
        ("b",),
    ]


def numbers(*given):
    """Lines of CoNLL-U with these numbers in their first column."""
    return "".join(f"{number}\tw{number}\t_\tX\t_\t_\t0\t_\t_\t_\n" for number in given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta\tX\n", "line 1: 3 columns"),
        (numbers("one"), "line 1: 'one' is not the number"),
        (numbers("1", "1.b"), "line 2: '1.b' is not the number"),
        (numbers("1", "٢"), "line 2: '٢' is not the number"),
        (numbers("0", "1"), "line 1: '0' where word 1 of the sentence is due"),
        (numbers("2"), "line 1: '2' where word 1 of the sentence is due"),
        ("# sent_id = a\n" + numbers(1, 2, 4), "line 4: '4' where word 3 of the sentence is due"),
        (numbers(1, 2, 2), "line 3: '2' where word 3"),
        (numbers(1, 2) + "# sent_id = b\n" + numbers(1, 2), "line 4: '1' where word 3 .* a blank line ends a sentence"),
        (numbers(1, 2) + numbers("1-2", 1, 2), "line 3: '1-2' where word 3"),
        (numbers(1, "1-2", 2), "line 2: '1-2' where word 2"),
        (numbers("1-1", 1), "line 1: '1-1' does not hold two words"),
        (numbers("1-3", 1, "2-3", 2, 3), "line 3: '2-3' does not hold .* no other token holds"),
        (numbers("1-2", "1-2", 1, 2), "line 2: '1-2' does not hold"),
        (numbers("1-3", 1, 2) + "\n" + numbers(1), "line 4: the sentence ends before word 3"),
        (numbers(1, "2-3", 2), "line 3: the sentence ends before word 3"),
        (numbers("1-2"), "line 1: the sentence ends before word 2"),
        (numbers(1).encode() + b"2\tcaf\xe9\n", "line 2: is not UTF-8 text"),
    ],
)
def test_damaged_conllu_is_refused(tmp_path, text, message):
    path = tmp_path / "ud-treebanks-v2.7" / "UD_Wolof-WTB" / "wo_wtb-ud-test.conllu"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(XstiltsError, match=message):
        load_examples(load_task("udpos_r"), "test", ("wo",), Sources(None, tmp_path))


def test_empty_nodes_and_multiword_tokens_stand_between_words(read_ud):
    (example,) = read_ud(numbers("0.1", "1-2", 1, "1.1", 2, 3, "4-5", 4, 5, "5.1"))
    assert example.fields == Words(("w1-2", "w3", "w4-5"))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_words_cover_the_sentence_once(heads, data):
    """Whatever the tree (cycles included): every part of a fused word is replaced, every other word is kept."""
    tokens = {n: _conllu.Token(f"w{n}", "X", head) for n, head in enumerate(heads, start=1)}
    cuts = sorted(data.draw(st.sets(st.integers(1, len(heads) + 1), max_size=4)) | {1, len(heads) + 1})
    spans = [(first, after - 1) for first, after in pairwise(cuts) if after - first > 1]
    fused = {first: (last, "+".join(f"w{n}" for n in range(first, last + 1))) for first, last in spans}
    words = list(_conllu._words(_conllu.Sentence("", tokens, fused), _conllu.TAG_ORDER))
    assert "+".join(form for form, _ in words) == "+".join(token.form for token in tokens.values())


# ----------------------------------------------------------------------------------------------------------- span


def test_xquads_questions_and_paragraphs():
    assert len(PARAGRAPH) == 1_190
    assert len(set(PARAGRAPH.values())) == 240


def test_xquad(examples_of):
    (dev,) = examples_of("xquad", "dev")
    assert dev.item_id == "d1", "the other one is a question of XQuAD's"
    assert dev.gold == Answers(("a cat", "cat"), (8, 10))
    test = examples_of("xquad", "test")
    assert [each.cluster for each in test] == ["paragraph-000", "paragraph-000", "paragraph-239"] * 2
    assert test[3].gold == Answers(("สอง",), (3,))


def test_xquad_r(examples_of):
    romanian = [each for each in examples_of("xquad_r", "test") if each.language == "ro"]
    assert romanian[0].fields.context.startswith("\ufeff")
    assert romanian[0].gold == Answers(("Doi",), (1,))


def test_xquad_refuses_a_question_it_does_not_know(from_fixture, monkeypatch):
    task, sources = from_fixture("xquad")
    monkeypatch.delitem(PARAGRAPH, next(iter(PARAGRAPH)))
    with pytest.raises(XstiltsError, match=r"row 0: .*KeyError"):
        load_examples(task, "test", ("en",), sources)


def test_mlqa(examples_of):
    assert {each.cluster for each in examples_of("mlqa", "train")} == {text_id(" Ann met Bob.")}
    test = examples_of("mlqa", "test")
    assert [(each.language, each.item_id) for each in test] == [("en", "m1"), ("en", "m2"), ("de", "m1"), ("zh", "m1")]
    assert all(each.cluster == each.item_id for each in test)
    assert test[2].fields == Passage("Wie lang ist sie?", "Die Brücke ist 90 Meter lang.")
    assert test[1].gold == Answers(("Oslo",), (6,)), "moved from 7, where nothing is"


def test_tydiqa(examples_of):
    train, dev = examples_of("tydiqa", "train"), examples_of("tydiqa", "dev")
    assert [each.item_id for each in train] == ["english-1-0", "english-4-0"]
    assert [each.item_id for each in dev] == ["english-3-0"]
    assert all(int(each.cluster, 16) % 10 for each in train)
    assert all(int(each.cluster, 16) % 10 == 0 for each in dev)
    test = examples_of("tydiqa", "test")
    assert [each.item_id for each in test if each.language == "en"] == ["english-5-0", "english-7-0"]
    assert [each.item_id for each in test if each.language == "ko"] == ["korean-6-0"]
    assert len(test) == 10
    assert test[1].gold == Answers(("Rome",), (12,)), "moved from 14"


def test_tydiqa_refuses_a_language_it_does_not_know():
    task = load_task("tydiqa")
    row = {"id": "klingon-1-0", "context": "c", "question": "q", "answers": {"text": ["c"], "answer_start": [0]}}
    with pytest.raises(ValueError, match="does not begin with a language"):
        task.data.read(row, task.data.parts[0], 0)


def test_tydiqa_holds_out_a_tenth():
    task = load_task("tydiqa")
    assert isinstance(task.data, HubData)
    train, dev = (next(part for part in task.data.parts if part.split == split) for split in ("train", "dev"))
    kept = {train: 0, dev: 0}
    for number in range(2_000):
        row = {"id": f"english-{number}", "context": f"text {number}", "question": "q"}
        row["answers"] = {"text": ["text"], "answer_start": [0]}
        for part in kept:
            kept[part] += len(task.data.read(row, part, number))
    assert kept[train] + kept[dev] == 2_000
    assert 150 < kept[dev] < 250


@pytest.mark.parametrize(
    ("start", "expected"), [(0, 0), (1, 0), (2, 0), (3, 4), (4, 4), (5, 4), (7, 8), (8, 8), (99, 8), (-1, 0)]
)
def test_answers_are_moved_to_the_nearest_occurrence(start, expected):
    row = {"id": "a", "context": "abc abc abc", "question": "q", "answers": {"text": ["abc"], "answer_start": [start]}}
    assert realigned(row, "en", "c").gold == Answers(("abc",), (expected,))


def test_an_answer_that_does_not_occur_keeps_its_offset():
    row = {"id": "a", "context": "abc", "question": "q", "answers": {"text": ["x"], "answer_start": [1]}}
    assert realigned(row, "en", "c").gold == Answers(("x",), (1,))


# --------------------------------------------------------------------------------------------------------- choice


def test_xcopa(examples_of):
    first, second = examples_of("xcopa", "train")
    assert first.fields.prompt == "The lamp went out. What was the cause?"
    assert second.gold == 1
    test = examples_of("xcopa", "test")
    assert [(each.language, each.item_id) for each in test] == [("et", "1"), ("et", "0"), ("th", "0"), ("th", "1")]
    assert [each.gold for each in test] == [1, 0, 0, 1]
    estonian, thai = test[1], test[2]
    assert thai.fields == Choices("ไฟดับ What was the cause?", ("ไฟฟ้าขัดข้อง", "ดวงอาทิตย์ขึ้น")), (
        "not the effect, as its row says"
    )
    assert estonian.fields.prompt.endswith("What was the cause?")


def test_xcopa_questions():
    assert len(XCOPA_QUESTIONS) == 500
    assert set(XCOPA_QUESTIONS) == {"cause", "effect"}
    assert XCOPA_QUESTIONS.count("cause") == 250


# -------------------------------------------------------------------------------------------------------- in full

# (task, split) → number of languages, Examples, clusters.
FULL = {
    ("udpos_pud", "train"): (1, 12_544, 12_544),
    ("udpos_pud", "dev"): (1, 2_001, 2_001),
    ("udpos_pud", "test"): (12, 11 * 1_000 + 317, 1_317),
    ("xcopa", "train"): (1, 400, 400),
    ("xcopa", "dev"): (1, 100, 100),
    ("xcopa", "test"): (11, 11 * 500, 500),
    ("xquad", "train"): (1, 3_545, 800),
    ("xquad", "dev"): (1, 883 - 97, 179),
    ("xquad", "test"): (11, 11 * 1_190, 240),
    ("xquad_r", "test"): (12, 12 * 1_190, 240),
}
# Languages whose test rows are translations of each other: the same items with the same clusters.
PARALLEL = {"udpos_pud": 11, "xcopa": 11, "xquad": 11, "xquad_r": 12}
MIRROR = Sources(HUB, subsets=frozenset({"xquad", "xquad_r"}))


def load(name, split):
    task = load_task(name)
    return load_examples(task, split, task.languages(split), MIRROR)


if HUB.is_dir():

    @pytest.mark.parametrize(("name", "split"), FULL)
    def test_in_full(name, split):
        examples = load(name, split)
        languages = tuple(dict.fromkeys(each.language for each in examples))
        assert languages == load_task(name).languages(split)
        assert (len(languages), len(examples), len({each.cluster for each in examples})) == FULL[name, split]

    @pytest.mark.parametrize("name", PARALLEL)
    def test_translations_share_their_ids(name):
        items = {}
        for each in load(name, "test"):
            items.setdefault(each.language, set()).add((each.item_id, each.cluster))
        first = next(iter(items.values()))
        assert list(items.values()).count(first) == PARALLEL[name]

    def test_xquad_shares_nothing_with_its_training_data():
        texts = {split: {each.fields.context for each in load("xquad", split)} for split in ("train", "dev", "test")}
        assert not texts["test"] & (texts["train"] | texts["dev"])
        assert not texts["train"] & texts["dev"]

    def test_the_mirrors_squad_is_refused_unless_declared_a_subset():
        with pytest.raises(XstiltsError, match="3,545 rows where 87,599 are declared"):
            load_examples(load_task("xquad"), "train", ("en",), Sources(HUB))

    def test_xcopa_asks_the_same_in_every_language():
        asked = {}
        for each in load("xcopa", "test"):
            asked.setdefault(each.item_id, set()).add((each.fields.prompt.split()[-1], each.gold))
        assert {len(kinds) for kinds in asked.values()} == {1}
        assert sum("cause?" in kind for kinds in asked.values() for kind in kinds) == 250
        assert len(xcopa.LANGUAGES) == 11
