"""Mewsli-X: find the entity that a mention in a news article means, among a million descriptions in 50 languages.

XTREME-R's entity linking (arXiv 2104.07412): 14,624 mentions in WikiNews, in eleven languages; one pool of 1,003,893
candidates, each the first sentences of a Wikipedia page in one language drawn at random. Trained as a dual encoder on
167,719 mentions in English Wikipedia. Files and schema: version ``mewsli-x_20220518_6``, ``mewsli-x.md`` in
google-research/dense_representations_for_entity_retrieval/mel.

Traps:
    * The released WikiNews files have no text; the release's script puts it in. ``wikinews_mentions_no_text-….jsonl``
      will not do.
    * The scores in the paper are of an earlier version of the data, and not comparable (says the release).
    * One entity is relevant, so mAP@20 is the reciprocal rank among the first 20.
    * As in the released code, a query is the mention, a colon, and the sentence around it with the mention in braces
      (braces of the text's own become parentheses); a candidate is its description without the title.
    * The language of a candidate is not told to the model; here all candidates have the language ``mul``.
    * dev is English Wikipedia, and searches only the 8,742 entities of its own pairs: embedding a million descriptions
      for every evaluation would cost more than the training. So a dev score is higher than one on the whole pool.
    * A copy on the hub (``izhx/mewsli-x``) has other names for its columns; it is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xstilts.spec import POOL, Example, Sentence, Task, TextPair, UserData, UserPart, candidate_key
from xstilts.tasks._readers import numbered_lines

# Mentions of each language in the test set.
MENTIONS = {
    "ar": 1_501,
    "de": 1_551,
    "en": 1_490,
    "es": 1_552,
    "fa": 458,
    "ja": 1_519,
    "pl": 1_562,
    "ro": 672,
    "ta": 1_567,
    "tr": 1_215,
    "uk": 1_537,
}
TRAINING_PAIRS, DEV_MENTIONS, DEV_ENTITIES, CANDIDATES = 167_719, 14_051, 8_742, 1_003_893
ANY = "mul"  # language of the candidates

_BRACES = re.compile(r"\{(.*?)\}")

Json = dict[str, Any]


def read(path: Path, part: UserPart) -> Iterator[Example]:
    """The Examples of a file: pairs to train on, dev with its own candidates, the pool, or the mentions of a language.

    Raises:
        ValueError: a line that breaks the schema, with its number.
    """
    entities: set[str] = set()
    for number, line in numbered_lines(path, newline="\n"):
        try:
            yield from _read_line(json.loads(line), part, entities)
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"line {number}: {type(error).__name__}: {error}") from error


def _read_line(content: Json, part: UserPart, entities: set[str]) -> Iterator[Example]:
    if part.language == POOL:
        yield _candidate(content)
    elif part.split == "test":
        if content["context"]["language"] == part.language:
            for mention in content["mentions"]:
                yield _query(content["context"], mention, part.language)
    else:
        context, mention = content["contextual_mention"]["context"], content["contextual_mention"]["mention"]
        entity = _candidate(content["entity"])
        if entity.item_id != mention["entity_id"]:
            raise ValueError(f"mention {mention['example_id']} is paired with another entity, {entity.item_id}")
        if part.split == "train":
            pair = TextPair(_marked(context, mention), _text(content["entity"]))
            yield Example(mention["example_id"], "en", context["document_id"], pair, entity.item_id)
            return
        yield _query(context, mention, "en")
        if entity.item_id not in entities:
            entities.add(entity.item_id)
            yield entity


def _query(context: Json, mention: Json, language: str) -> Example:
    sentence = Sentence(_marked(context, mention), "query")
    wanted = candidate_key(Example(mention["entity_id"], ANY, "", sentence, None))
    return Example(mention["example_id"], language, context["document_id"], sentence, (wanted,))


def _candidate(entity: Json) -> Example:
    return Example(entity["entity_id"], ANY, entity["entity_id"], Sentence(_text(entity), "candidate"), None)


def _text(entity: Json) -> str:
    """The sentences of a description."""
    return _tidy(" ".join(entity["description"][span["start"] : span["end"]] for span in entity["sentence_spans"]))


def _marked(context: Json, mention: Json) -> str:
    """The mention, then its sentence with the mention in braces."""
    text, span = context["text"], mention["mention_span"]
    if not text:
        raise ValueError("the article has no text: run the release's get-mewsli-x.sh, which puts it in")
    start, end = span["start"], span["end"]
    if text[start:end] != span["text"]:
        raise ValueError(
            f"mention {mention['example_id']}: the text has {text[start:end]!r} there, not {span['text']!r}"
        )
    around = [(s["start"], s["end"]) for s in context["sentence_spans"] if s["start"] <= start and end <= s["end"]]
    if not around:
        raise ValueError(f"mention {mention['example_id']} lies in no sentence")
    first, last = around[0]
    left, right = (_BRACES.sub(r"(\1)", side) for side in (text[first:start], text[end:last]))
    return _tidy(f"{span['text']}: {left} {{ {span['text']} }} {right}")


def _tidy(text: str) -> str:
    return " ".join(text.split())


TASK = Task(
    name="mewsli_x",
    version=1,
    format="ranking",
    metric="map20",
    data=UserData(
        parts=(
            UserPart("train", "en", "mewsli_x/wikipedia_pairs-train.jsonl", rows=TRAINING_PAIRS),
            UserPart("dev", "en", "mewsli_x/wikipedia_pairs-dev.jsonl", rows=DEV_MENTIONS + DEV_ENTITIES),
            *(
                UserPart("test", code, "mewsli_x/wikinews_mentions-test.jsonl", rows=mentions)
                for code, mentions in MENTIONS.items()
            ),
            UserPart("test", POOL, "mewsli_x/candidate_set_entities.jsonl", rows=CANDIDATES),
        ),
        obtain="Run get-mewsli-x.sh of https://github.com/google-research/google-research/tree/master/"
        "dense_representations_for_entity_retrieval/mel and copy wikipedia_pairs-train.jsonl, "
        "wikipedia_pairs-dev.jsonl, wikinews_mentions-test.jsonl and candidate_set_entities.jsonl from "
        "mewsli_x/output/dataset to mewsli_x in it.",
        read=read,
    ),
    cluster="article",
    licence="texts: Wikipedia CC BY-SA 3.0, WikiNews CC BY 2.5",
    citation="Ruder et al. 2021, XTREME-R: Towards More Challenging and Nuanced Evaluation, arXiv 2104.07412",
)
