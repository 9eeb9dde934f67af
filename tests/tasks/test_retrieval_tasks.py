"""The retrieval tasks: what their readers make of the rows of a fixture, and of the real files where they lie here."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Sentence, TextPair, candidate_key, is_candidate
from xstilts.tasks import bucc_gold, bucc_mining, lareqa, load_task, mewsli_x, tatoeba, tatoeba_r
from xstilts.tasks._sentences import sentences

SHARED = Path(__file__).parents[3] / "shared" / "data"
XQUAD_R = SHARED / "raw" / "lareqa" / "xquad-r"
SQUAD = SHARED / "hub" / "rajpurkar" / "squad"


def queries(examples):
    return [example for example in examples if not is_candidate(example)]


def candidates(examples):
    return [example for example in examples if is_candidate(example)]


# --------------------------------------------------------------------------------------------------- declarations


def test_languages_and_sizes_are_those_of_the_benchmarks():
    assert len(load_task("tatoeba").languages("test")) == 36
    assert len(load_task("tatoeba_r").languages("test")) == 41
    assert not tatoeba.CONFIGS.keys() & tatoeba_r.ADDED.keys()
    assert set(load_task("tatoeba").data.parts) < set(load_task("tatoeba_r").data.parts)
    assert (
        load_task("bucc_gold").languages("test")
        == load_task("bucc_mining").languages("dev")
        == ("de", "fr", "ru", "zh")
    )
    assert sum(bucc_gold.PAIRS.values()) == 35_000
    assert len(load_task("lareqa").languages("test")) == len(mewsli_x.MENTIONS) == 11
    assert sum(mewsli_x.MENTIONS.values()) == 14_624
    for name in ("lareqa", "mewsli_x"):
        task = load_task(name)
        assert task.trained and task.languages("train") == task.languages("dev") == ("en",)
        assert "pool" not in task.languages("test"), "the pool is no language"


# ------------------------------------------------------------------------------------------------- Tatoeba and BUCC


@pytest.mark.parametrize("name", ["tatoeba", "tatoeba_r"])
def test_tatoeba_asks_in_english_for_the_foreign_sentence(examples_of, name):
    examples = examples_of(name, "test")
    query, candidate = examples[:2]
    assert query.fields == Sentence("The train leaves at nine.", "query")
    assert candidate.fields == Sentence("Der Zug fährt um neun.", "candidate")
    assert query.gold == query.item_id == candidate.item_id and candidate.gold is None
    rain = [example for example in examples if example.fields.text == "It is raining."]
    assert len(rain) == len({example.language for example in rain}) == (3 if name == "tatoeba_r" else 2)
    assert len({(example.item_id, example.cluster) for example in rain}) == 1


def test_the_languages_that_xtreme_r_adds_come_from_a_repository_of_the_hub_that_has_them():
    added = {part.language: part for part in load_task("tatoeba_r").data.parts if part.repo == tatoeba_r.REPO}
    assert {code: (part.config, part.hub_split, part.rows) for code, part in added.items()} == {
        code: (f"{iso3}-eng", "test", 1_000) for code, iso3 in tatoeba_r.ADDED.items()
    }
    assert all(part.columns == tatoeba_r.COLUMNS for part in added.values())
    rows = ({"sentence1": "Lyja.\n", "sentence2": "It rains."}, {"source_sentence": "Es", "target_sentence": "It"})
    for row, part in zip(rows, (added["lt"], tatoeba.PARTS[0]), strict=True):
        query, candidate = tatoeba_r.read(row, part, 0)
        assert query.fields.text.startswith("It") and candidate.language == part.language


def test_bucc_gold_drops_pairs_that_lost_a_side_and_keeps_repeated_sentences(examples_of):
    examples = examples_of("bucc_gold", "test")
    assert [(query.item_id, query.fields.text) for query in queries(examples)] == [
        ("0", "The bridge was built in 1901."),
        ("2", "The bridge was built in 1901."),
        ("0", "The bridge was built in 1901."),
    ]
    assert [candidate.language for candidate in candidates(examples)] == ["de", "de", "zh"]
    assert len({example.cluster for example in examples}) == 1
    assert all(query.gold == query.item_id for query in queries(examples))


def test_bucc_mining_reads_both_corpora_and_the_gold(examples_of):
    examples = examples_of("bucc_mining", "test")
    german = [example for example in examples if example.language == "de"]
    assert [(query.item_id, query.gold) for query in queries(german)] == [
        ("de-000000001", ("en-000000001",)),
        ("de-000000002", ()),
        ("de-000000003", ()),
        ("de-000000004", ("en-000000002",)),
    ]
    assert queries(german)[1].fields.text == "Sie singt.\u2028Er tanzt.", "a line ends at a line feed only"
    assert [candidate.item_id for candidate in candidates(german)] == ["en-000000001", "en-000000002", "en-000000003"]
    assert len(examples) == 11


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("training.de", "de-1 no tab\n", "de-en.training.de, line 1: needs two columns"),
        ("training.de", "de-1\ta\nde-2\tb\nde-1\ta\n", "de-en.training.de, line 3: de-1 is given twice"),
        ("training.en", "en-1\ta\n\nen-2\tb\n", "de-en.training.en, line 2: needs two columns"),
        ("training.en", "en-1\ta\nen-1\tb\n", "de-en.training.en, line 2: en-1 is given twice"),
        ("training.en", b"en-1\ta\nen-2\tcaf\xe9\n", "de-en.training.en, line 2: is not UTF-8 text"),
        (
            "training.gold",
            "de-000000009\ten-000000001\n",
            "de-en.training.gold, line 1: de-000000009 is not in de-en.tra",
        ),
        ("training.gold", "de-000000001\ten-000000009\n", "line 1: en-000000009 is not in de-en.training.en"),
        (
            "training.gold",
            "de-000000001\ten-000000001\n" * 2,
            "de-en.training.gold, line 2: the pair of de-000000001 and",
        ),
        ("training.en", None, "No such file"),
    ],
)
def test_damaged_corpora_are_named(from_fixture, file, content, message):
    task, sources = from_fixture("bucc_mining")
    path = sources.files / "bucc2018" / "de-en" / f"de-en.{file}"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(XstiltsError, match=message):
        load_examples(task, "test", ("de",), sources)


def test_bucc_files_may_begin_with_a_byte_order_mark_and_a_source_may_have_several_translations(from_fixture):
    task, sources = from_fixture("bucc_mining")
    whole = load_examples(task, "dev", ("de",), sources)
    for end in ("de", "en", "gold"):
        path = sources.files / "bucc2018" / "de-en" / f"de-en.training.{end}"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_examples(task, "test", ("de",), sources) == whole, "the fixture's sample and training set are the same"
    path.write_text(path.read_text(encoding="utf-8") + "de-000000004\ten-000000003\n", encoding="utf-8")
    task = replace(task)  # loads are remembered by task
    found = {query.item_id: query.gold for query in queries(load_examples(task, "test", ("de",), sources))}
    assert found["de-000000004"] == ("en-000000002", "en-000000003")


def test_lareqa_says_what_it_shares_with_squad():
    overlaps = load_task("lareqa").overlaps
    assert set(overlaps) == {"squad1", "squad2"}
    assert all("training questions" in what for what in overlaps.values())


@pytest.mark.parametrize("name", ["bucc_mining", "lareqa", "mewsli_x"])
def test_a_user_is_told_what_to_put_where(name, tmp_path):
    task = load_task(name)
    for sources in (Sources(), Sources(files=tmp_path)):
        with pytest.raises(XstiltsError) as caught:
            load_examples(task, "test", task.languages("test")[:1], sources)
        assert task.data.obtain in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- LAReQA


def test_lareqa_trains_on_questions_and_answer_sentences(examples_of):
    first, second, third = examples_of("lareqa", "train")
    assert first.fields == TextPair("Who built the mill?", "It was built by Dr. Ames in 1720.")
    assert second.fields.second == "Today it is a museum." and third.fields.second.startswith("A dance tells")
    assert first.cluster == second.cluster != third.cluster
    assert (first.gold, second.gold, third.gold) == ("0.1", "0.2", "1.1")


def test_lareqa_dev_leaves_out_the_paragraphs_of_the_test(examples_of):
    examples = examples_of("lareqa", "dev")
    assert [query.fields.text for query in queries(examples)] == ["When did the lake freeze?", "What survived?"]
    texts = {candidate_key(each): each.fields.text for each in candidates(examples)}
    assert [[texts[key] for key in query.gold] for query in queries(examples)] == [
        ["The lake froze in May."],
        ["Fish survived below the ice."],
    ]
    assert "Children skated." in texts.values() and not any("choir" in text for text in texts.values())


def test_lareqa_asks_every_language_for_the_answer_in_all(examples_of):
    examples = examples_of("lareqa", "test")
    texts = {candidate_key(each): each.fields.text for each in candidates(examples)}
    assert len(texts) == 5 + 4 + 5
    found = {(query.language, query.item_id): {texts[key] for key in query.gold} for query in queries(examples)}
    assert len(found) == 9
    for language in ("en", "de", "zh"):
        assert found[language, "q2"] == {"It is white.", "Er ist weiß und alt.", "它是白色的。"}
        assert found[language, "q3"] == {"Rain fell.", "Regen fiel.", "下雨了。"}
    twice = next(query for query in queries(examples) if query.item_id == "q3")
    assert len(twice.gold) == 4, "a sentence that stands twice is relevant twice"


def test_the_pool_is_whole_whatever_languages_are_asked(from_fixture):
    task, sources = from_fixture("lareqa")
    examples = load_examples(task, "test", ("de",), sources)
    assert {query.language for query in queries(examples)} == {"de"}
    assert {candidate.language for candidate in candidates(examples)} == {"de", "en", "zh"}


def test_an_answer_outside_all_sentences_is_refused(from_fixture):
    task, sources = from_fixture("lareqa")
    path = sources.files / "lareqa" / "xquad-r" / "de.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["data"][0]["paragraphs"][0]["sentence_breaks"] = [[0, 3]]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(XstiltsError, match="question q1: its answer, at character 4, begins in no sentence"):
        load_examples(task, "test", ("en",), sources)


def test_a_sentence_ends_where_a_reader_would_end_it():
    text = '  Dr. A. Smith of the U.S. Army left. "Why?" he asked. It cost 3.5 no. 7 dollars! (Really.) 12 came'
    assert [text[first:last] for first, last in sentences(text)] == [
        "Dr. A. Smith of the U.S. Army left.",
        '"Why?" he asked.',
        "It cost 3.5 no. 7 dollars!",
        "(Really.)",
        "12 came",
    ]
    assert list(sentences("  ")) == []


@pytest.mark.skipif(not XQUAD_R.is_dir(), reason="XQuAD-R is not here")
def test_xquad_r_is_read_whole(tmp_path):
    (tmp_path / "lareqa").mkdir()
    (tmp_path / "lareqa" / "xquad-r").symlink_to(XQUAD_R)
    task = load_task("lareqa")
    examples = load_examples(task, "test", task.languages("test"), Sources(files=tmp_path))
    assert Counter(map(is_candidate, examples)) == {False: 11 * 1190, True: 13_014}
    asked = queries(examples)
    assert len({query.cluster for query in asked}) == 240
    assert Counter(len(query.gold) for query in asked) == {11: 11 * 1190}
    assert all(Counter(key.partition("|")[2] for key in query.gold).keys() == set(lareqa.LANGUAGES) for query in asked)


@pytest.mark.skipif(not XQUAD_R.is_dir(), reason="XQuAD-R is not here")
def test_the_rule_for_sentences_agrees_with_those_that_were_marked():
    content = json.loads((XQUAD_R / "en.json").read_text(encoding="utf-8"))
    marked = found = right = 0
    for paragraph in (each for article in content["data"] for each in article["paragraphs"]):
        ends = {last for _, last in paragraph["sentence_breaks"]}
        own = {last for _, last in sentences(paragraph["context"])}
        marked, found, right = marked + len(ends), found + len(own), right + len(ends & own)
    assert (marked, found, right) == (1180, 1171, 1171)


@pytest.mark.skipif(not SQUAD.is_dir(), reason="SQuAD is not here")
def test_lareqa_trains_on_real_squad(tmp_path):
    """The sample of the mirror, in the form of the original files."""
    folder = tmp_path / "lareqa" / "squad"
    folder.mkdir(parents=True)
    for hub_split, name in (("train", "train-v1.1.json"), ("validation", "dev-v1.1.json")):
        paragraphs = {}
        for path in sorted(SQUAD.rglob(f"*{hub_split}*.parquet")):
            for row in pq.read_table(path).to_pylist():
                answers = row["answers"]
                pairs = zip(answers["text"], answers["answer_start"], strict=True)
                given = [{"text": text, "answer_start": start} for text, start in pairs]
                question = {"id": row["id"], "question": row["question"], "answers": given}
                paragraphs.setdefault(row["context"], []).append(question)
        content = {"data": [{"paragraphs": [{"context": text, "qas": qas} for text, qas in paragraphs.items()]}]}
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    task = load_task("lareqa")
    sources = Sources(files=tmp_path, subsets=frozenset({"lareqa"}))
    train, dev = (load_examples(task, split, ("en",), sources) for split in ("train", "dev"))
    assert len(train) == 3_545 and all(example.fields.second for example in train)
    assert 0 < len(queries(dev)) < 883 and len(candidates(dev)) > 500
    assert all(len(query.gold) == 1 for query in queries(dev))


# --------------------------------------------------------------------------------------------------------- Mewsli-X


def test_mewsli_x_marks_the_mention_in_its_sentence(examples_of):
    examples = examples_of("mewsli_x", "test")
    german = [query for query in queries(examples) if query.language == "de"]
    assert [query.fields.text for query in german] == [
        "Erdbeben: Ein { Erdbeben } traf die Küste.",
        "Rhein: Auch (am) { Rhein } war es zu spüren.",
    ]
    assert [query.gold for query in german] == [("Q7944|mul",), ("Q584|mul",)]
    assert len({query.cluster for query in german}) == 1
    assert {candidate_key(each): each.fields.text for each in candidates(examples)} == {
        "Q584|mul": "The Rhine is a river. It flows north.",
        "Q585|mul": "Oslo is the capital of Norway.",
        "Q7944|mul": "Gempa bumi adalah getaran.",
    }
    assert {query.language for query in queries(examples)} == set(mewsli_x.MENTIONS)


def test_mewsli_x_trains_on_pairs_and_searches_its_own_entities_on_dev(examples_of):
    (train,) = examples_of("mewsli_x", "train")
    assert train.fields == TextPair("Rhine: It lies on the { Rhine } .", "The Rhine is a river. It flows north.")
    assert (train.item_id, train.gold, train.cluster) == ("w1", "Q584", "Q1")
    dev = examples_of("mewsli_x", "dev")
    assert [query.item_id for query in queries(dev)] == ["w2", "w3"]
    assert [candidate.item_id for candidate in candidates(dev)] == ["Q585"], "an entity is a candidate once"
    assert {query.gold for query in queries(dev)} == {("Q585|mul",)}


def damage(kind, row):
    context, mention = row["context"], row["mentions"][0]
    if kind == "text":
        context["text"] = ""
    elif kind == "span":
        mention["mention_span"]["start"] += 1
    elif kind == "sentence":
        context["sentence_spans"] = context["sentence_spans"][1:]
    elif kind == "field":
        del mention["entity_id"]
    else:
        mention["entity_id"] = "Q1"
    return row


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "line 1: ValueError: the article has no text: run the release's get-mewsli-x.sh"),
        ("span", "line 1: ValueError: mention m1: the text has 'rdbeben' there, not 'Erdbeben'"),
        ("sentence", "line 1: ValueError: mention m1 lies in no sentence"),
        ("field", "line 1: KeyError: 'entity_id'"),
        ("unknown", r"no candidate has this key; given 'Q1\|mul'"),
    ],
)
def test_damaged_mewsli_x_is_named(from_fixture, kind, message):
    task, sources = from_fixture("mewsli_x")
    path = sources.files / "mewsli_x" / "wikinews_mentions-test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0] = damage(kind, rows[0])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(XstiltsError, match=message):
        load_examples(task, "test", ("de",), sources)


def test_a_short_pool_is_noticed(from_fixture):
    task, sources = from_fixture("mewsli_x")
    parts = tuple(replace(part, rows=4) if part.language == "pool" else part for part in task.data.parts)
    with pytest.raises(XstiltsError, match=r"entities\.jsonl: 3 rows where 4 are declared"):
        load_examples(replace(task, data=replace(task.data, parts=parts)), "test", ("de",), sources)


def test_bucc_files_have_the_names_that_the_shared_task_gave_them():
    assert load_task("bucc_mining").data.parts[0].pattern == "bucc2018/de-en/de-en.sample.gold"
    assert bucc_mining.FILES == {"dev": "sample", "test": "training"}
