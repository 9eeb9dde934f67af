"""LAReQA (XQuAD-R): find the sentences that answer a question, in eleven languages at once.

XTREME-R's question retrieval (arXiv 2104.07412): 1,190 questions in each language, one pool of the 13,014 sentences of
240 paragraphs in all of them. Relevant is the sentence with the answer, in each of the eleven languages: a model that
keeps to the language of the question cannot score more than one of eleven. Trained on SQuAD 1.1 as a dual encoder.

Traps:
    * The sentence is the one in which the answer begins; in English three answers, in Turkish twenty go on beyond it.
      If it stands twice in its paragraph, both are relevant (it never does; one Chinese paragraph repeats another).
    * Sentences are cut out by ``sentence_breaks``; the field ``sentences`` differs from them in two places (Turkish).
      They are not parallel: a paragraph may have more of them in one language than in another (Thai has fewest).
    * SQuAD itself has no sentence marks. The rule for training and dev is ``_sentences.sentences``; on XQuAD-R's
      English it finds the same answer sentence for 1,177 of 1,190 questions.
    * All test paragraphs come from SQuAD's dev set, so dev leaves these paragraphs out, with all their questions.
    * XTREME-R's baseline reads each candidate sentence with its paragraph behind it, and pools ``<s>``. Here the
      sentence stands alone: mean pooling would make the sentences of a paragraph nearly one.
    * The pool is made of all files that are there, whatever languages are asked in; its size is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from xstilts.spec import POOL, Example, Sentence, Task, TextPair, UserData, UserPart, candidate_key
from xstilts.tasks._readers import text_id
from xstilts.tasks._sentences import sentences
from xstilts.tasks._xquad_items import PARAGRAPH

LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")
QUESTIONS, CANDIDATES, TRAINING_PAIRS = 1_190, 13_014, 87_599

Paragraph = dict[str, Any]


def read(path: Path, part: UserPart) -> Iterator[Example]:
    """The Examples of a file: pairs to train on, dev with its own candidates, the pool, or questions."""
    if part.split == "train":
        return _pairs(path)
    if part.split == "dev":
        return _dev(path)
    return _candidates(path) if part.language == POOL else _questions(path, part.language)


def _pairs(path: Path) -> Iterator[Example]:
    """Questions of SQuAD with the sentence that holds the answer."""
    for number, paragraph in enumerate(_paragraphs(path)):
        context, spans = paragraph["context"], list(sentences(paragraph["context"]))
        for question in paragraph["qas"]:
            place = _place(question, spans)
            pair = TextPair(question["question"].strip(), _cut(context, spans[place]))
            yield Example(question["id"], "en", text_id(context), pair, f"{number}.{place}")


def _dev(path: Path) -> Iterator[Example]:
    """SQuAD's dev set without the paragraphs of the test, and all sentences of the others."""
    for number, paragraph in enumerate(_paragraphs(path)):
        if any(question["id"] in PARAGRAPH for question in paragraph["qas"]):
            continue
        context, spans = paragraph["context"], list(sentences(paragraph["context"]))
        found = _sentences(number, context, spans, "en", text_id(context))
        yield from found
        for question in paragraph["qas"]:
            gold = _relevant(question, context, spans, found)
            yield Example(question["id"], "en", text_id(context), Sentence(question["question"].strip(), "query"), gold)


def _candidates(path: Path) -> Iterator[Example]:
    """All sentences of one language."""
    for number, paragraph in enumerate(_paragraphs(path)):
        yield from _sentences(number, paragraph["context"], _breaks(paragraph), _language(path), str(number))


def _questions(path: Path, language: str) -> Iterator[Example]:
    """The questions of one language; what is relevant stands in the files of all languages."""
    files = sorted(path.parent.glob("*.json"))
    relevant = _relevant_of_all(tuple((file, file.stat().st_mtime_ns) for file in files))
    for number, paragraph in enumerate(_paragraphs(path)):
        for question in paragraph["qas"]:
            item = question["id"]
            yield Example(item, language, str(number), Sentence(question["question"].strip(), "query"), relevant[item])


@lru_cache(maxsize=2)
def _relevant_of_all(files: tuple[tuple[Path, int], ...]) -> dict[str, tuple[str, ...]]:
    """Question → keys of the relevant sentences in all files (with the time of their last change)."""
    keys: dict[str, tuple[str, ...]] = {}
    for path, _ in files:
        for number, paragraph in enumerate(_paragraphs(path)):
            spans = _breaks(paragraph)
            found = _sentences(number, paragraph["context"], spans, _language(path), str(number))
            for question in paragraph["qas"]:
                own = _relevant(question, paragraph["context"], spans, found)
                keys[question["id"]] = keys.get(question["id"], ()) + own
    return keys


def _relevant(
    question: dict[str, Any], context: str, spans: list[tuple[int, int]], found: list[Example]
) -> tuple[str, ...]:
    """Keys of the candidates of a paragraph that read as the sentence with the answer does."""
    answer = _cut(context, spans[_place(question, spans)])
    pairs = zip(spans, found, strict=True)
    return tuple(candidate_key(candidate) for span, candidate in pairs if _cut(context, span) == answer)


def _sentences(number: int, context: str, spans: list[tuple[int, int]], language: str, cluster: str) -> list[Example]:
    texts = [Sentence(_cut(context, span), "candidate") for span in spans]
    return [Example(f"{number}.{place}", language, cluster, text, None) for place, text in enumerate(texts)]


def _place(question: dict[str, Any], spans: list[tuple[int, int]]) -> int:
    """Number of the sentence in which the first answer begins."""
    start = question["answers"][0]["answer_start"]
    for place, (first, last) in enumerate(spans):
        if first <= start < last:
            return place
    raise ValueError(f"question {question['id']}: its answer, at character {start}, begins in no sentence")


def _cut(context: str, span: tuple[int, int]) -> str:
    return context[span[0] : span[1]].strip()


def _breaks(paragraph: Paragraph) -> list[tuple[int, int]]:
    return [(first, last) for first, last in paragraph["sentence_breaks"]]


def _language(path: Path) -> str:
    if path.stem not in LANGUAGES:
        raise ValueError(f"{path.name} is not named by a language of XQuAD-R ({', '.join(LANGUAGES)})")
    return path.stem


def _paragraphs(path: Path) -> Iterator[Paragraph]:
    with path.open(encoding="utf-8") as file:
        articles = json.load(file)["data"]
    return (paragraph for article in articles for paragraph in article["paragraphs"])


TASK = Task(
    name="lareqa",
    version=1,
    format="ranking",
    metric="map20",
    data=UserData(
        parts=(
            UserPart("train", "en", "lareqa/squad/train-v1.1.json", rows=TRAINING_PAIRS),
            UserPart("dev", "en", "lareqa/squad/dev-v1.1.json"),
            *(UserPart("test", code, f"lareqa/xquad-r/{code}.json", rows=QUESTIONS) for code in LANGUAGES),
            UserPart("test", POOL, "lareqa/xquad-r/*.json", rows=CANDIDATES),
        ),
        obtain="Copy the folder xquad-r (11 files such as de.json) of "
        "https://github.com/google-research-datasets/lareqa to lareqa/xquad-r in it, and train-v1.1.json and "
        "dev-v1.1.json from https://rajpurkar.github.io/SQuAD-explorer/dataset/ to lareqa/squad.",
        read=read,
    ),
    overlaps={
        "squad1": "its training questions are this task's training questions, its dev set asks other questions about "
        "the test's English paragraphs",
        "squad2": "its training questions hold most of this task's training questions, its dev set asks questions "
        "about the test's English paragraphs",
    },
    cluster="paragraph, shared by all languages",
    licence="CC BY-SA 4.0",
    citation="Roy et al. 2020, LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, arXiv 2004.05484",
)
