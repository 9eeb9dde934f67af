"""SIB-200, SQuAD 1.1, Tatoeba: on small files in the hub's own schema, and in full where the optional data exists."""

from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from datasets import Features, Sequence, Value

from xstilts.data import Sources, load_examples
from xstilts.errors import XstiltsError
from xstilts.spec import Answers, HubData, Passage, Sentence, TextPair
from xstilts.tasks import load_task, tatoeba, tatoeba_r
from xstilts.tasks._xquad_items import PARAGRAPH

HUB = Path(__file__).parents[3] / "shared" / "data" / "hub"

# (task, split) → number of languages, Examples, clusters. Tatoeba has two Examples per pair.
FULL = {
    ("sib200", "train"): (1, 701, 701),
    ("sib200", "dev"): (1, 99, 99),
    ("sib200", "test"): (24, 24 * 204, 204),
    ("squad1", "train"): (1, 3_545, 800),
    ("squad1", "dev"): (1, 883 - 97, 179),
    ("tatoeba", "test"): (36, 2 * (28 * 1000 + 205 + 746 + 575 + 687 + 390 + 307 + 234 + 548), 28_234),
}
TASKS = sorted({name for name, _ in FULL})
SUBSETS = frozenset({"squad1"})  # the mirror holds a part of their rows
# Languages whose test rows are translations of each other, so that their item ids are the same in the same order.
PARALLEL = {"sib200": 24}


def load(task, split, sources):
    return load_examples(task, split, task.languages(split), sources)


@pytest.mark.parametrize("name", TASKS)
def test_declaration(name):
    task = load_task(name)
    assert isinstance(task.data, HubData)
    assert task.citation
    assert task.licence
    assert len(set(task.data.parts)) == len(task.data.parts)
    for part in task.data.parts:
        assert len(part.revision) == 40, "a revision is a commit hash, not a branch"
        assert part.split == "test" or part.language == "en", "labels are English only"
    splits = {part.split for part in task.data.parts}
    assert {(name, split) for split in splits} == {key for key in FULL if key[0] == name}


# ------------------------------------------------------------------------------------------------------ small files

ANSWERS = Sequence({"text": Value("string"), "answer_start": Value("int32")})
TEXT_COLUMNS = dict.fromkeys(("id", "context", "question"), Value("string"))
SQUAD = Features({"title": Value("string"), **TEXT_COLUMNS, "answers": ANSWERS})
SIB200 = Features({"index_id": Value("int64"), "category": Value("string"), "text": Value("string")})
TATOEBA = Features(dict.fromkeys(("source_sentence", "target_sentence", "source_lang", "target_lang"), Value("string")))


@pytest.fixture
def write(tmp_path):
    """Writes one split of a repository as the hub holds it."""
    datasets.disable_progress_bars()

    def write_split(repo, config, split, features, *rows):
        path = tmp_path / repo / config / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        columns = {name: [row[name] for row in rows] for name in features}
        datasets.Dataset.from_dict(columns, features=features).to_parquet(path)

    return write_split


def reduced(name, *languages):
    """A task with its own reader and columns but only some test languages, and without declared row counts."""
    task = load_task(name)
    parts = [part for part in task.data.parts if part.split != "test" or part.language in languages]
    return replace(task, data=replace(task.data, parts=tuple(replace(part, rows=None) for part in parts)))


def question(item, context, answer):
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    return {"id": item, "title": "", "context": context, "question": "Who?", "answers": answers}


def test_sib200(write, tmp_path):
    write("Davlan/sib200", "eng_Latn", "test", SIB200, {"index_id": 7, "category": "health", "text": "A cell."})
    write("Davlan/sib200", "zho_Hans", "test", SIB200, {"index_id": 7, "category": "health", "text": "一个细胞。"})
    english, chinese = load(reduced("sib200", "en", "zh"), "test", Sources(tmp_path))
    assert (english.language, chinese.language) == ("en", "zh")
    assert english.item_id == chinese.item_id == english.cluster == "7"
    assert chinese.fields == TextPair("一个细胞。")
    assert chinese.gold == "health"


def test_sib200_as_the_hub_holds_it(tmp_path):
    repo = tmp_path / "Davlan" / "sib200"
    (repo / "data" / "eng_Latn").mkdir(parents=True)
    (repo / "data" / "eng_Latn" / "dev.tsv").write_text('index_id\tcategory\ttext\n5\ttravel\t"Say ""hi""."\n')
    (repo / "README.md").write_text(
        "---\nconfigs:\n- config_name: eng_Latn\n  data_files:\n"
        "  - split: validation\n    path: data/eng_Latn/dev.tsv\n---\n"
    )
    (example,) = load(reduced("sib200", "en"), "dev", Sources(tmp_path))
    assert example.fields == TextPair('Say "hi".')


def test_squad1(write, tmp_path):
    first, second = " Ann met Bob.", "Eve met Bob."
    rows = [question("a", first, "Ann"), question("b", first, "Bob"), question("c", second, "Bob")]
    write("rajpurkar/squad", "plain_text", "train", SQUAD, *rows)
    a, b, c = load(reduced("squad1"), "train", Sources(tmp_path))
    assert a.fields == Passage("Who?", first)
    assert a.gold == Answers(("Ann",), (1,))
    assert a.cluster == b.cluster != c.cluster


def test_no_dev_split_holds_a_question_of_xquad(write, tmp_path):
    rows = [question(next(iter(PARAGRAPH)), "one", "one"), question("other", "two", "two")]
    write("rajpurkar/squad", "plain_text", "validation", SQUAD, *rows)
    for name in ("xquad", "squad1"):
        assert [each.item_id for each in load(reduced(name), "dev", Sources(tmp_path))] == ["other"]


def test_question_without_answer_is_refused(write, tmp_path):
    row = {**question("a", "Ann", "Ann"), "answers": {"text": [], "answer_start": []}}
    write("rajpurkar/squad", "plain_text", "train", SQUAD, row)
    with pytest.raises(XstiltsError, match=r"row 0: column 'answers.text' \(gold\): has no gold"):
        load(reduced("squad1"), "train", Sources(tmp_path))


def test_tatoeba(write, tmp_path):
    for iso3, foreign in (("deu", "Hallo.\n"), ("jpn", "こんにちは。")):
        row = {"source_sentence": foreign, "target_sentence": "Hello.\n", "source_lang": "?", "target_lang": "?"}
        write("google/xtreme", f"tatoeba.{iso3}", "validation", TATOEBA, row)
    query, candidate, *japanese = load(reduced("tatoeba", "de", "ja"), "test", Sources(tmp_path))
    assert query.fields == Sentence("Hello.", "query")
    assert candidate.fields == Sentence("Hallo.", "candidate")
    assert query.gold == candidate.item_id
    assert candidate.gold is None
    assert {each.cluster for each in japanese} == {query.cluster}


# ------------------------------------------------------------------------------------------------------- in full

if HUB.is_dir():

    @pytest.mark.parametrize(("name", "split"), FULL)
    def test_in_full(name, split):
        task = load_task(name)
        examples = load(task, split, Sources(HUB, subsets=SUBSETS))
        languages = list(dict.fromkeys(each.language for each in examples))
        assert tuple(languages) == task.languages(split)
        assert (len(languages), len(examples), len({each.cluster for each in examples})) == FULL[name, split]

    def test_tatoeba_r_in_full(tmp_path):
        """The mirror holds the five additions in the form of the other 36; here they are given that of their source."""
        (tmp_path / "google").mkdir()
        (tmp_path / "google" / "xtreme").symlink_to(HUB / "google" / "xtreme")
        for iso3 in tatoeba_r.ADDED.values():
            table = pq.read_table(HUB / "google" / "xtreme" / f"tatoeba.{iso3}")
            folder = tmp_path / tatoeba_r.REPO / f"{iso3}-eng" / "test"
            folder.mkdir(parents=True)
            pq.write_table(table.select(tatoeba.COLUMNS).rename_columns(tatoeba_r.COLUMNS), folder / "0000.parquet")
        task = load_task("tatoeba_r")
        examples = load(task, "test", Sources(tmp_path))
        assert tuple(dict.fromkeys(each.language for each in examples)) == task.languages("test")
        assert len(examples) == 2 * (33 * 1000 + 205 + 746 + 575 + 687 + 390 + 307 + 234 + 548)
        assert len({each.cluster for each in examples}) == 32_558
        of_mirror = load_examples(task, "test", load_task("tatoeba").languages("test"), Sources(HUB))
        assert of_mirror == load(load_task("tatoeba"), "test", Sources(HUB))
        with pytest.raises(XstiltsError, match="mteb/tatoeba-bitext-mining"):
            load_examples(task, "test", ("uk",), Sources(HUB))

    @pytest.mark.parametrize("name", PARALLEL)
    def test_translations_share_their_ids(name):
        task = load_task(name)
        items = {}
        for each in load(task, "test", Sources(HUB)):
            items.setdefault(each.language, []).append((each.item_id, each.cluster))
        assert list(items.values()).count(items["en"]) == PARALLEL[name]
