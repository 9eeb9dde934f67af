"""Identity and size of a set of Examples: the fingerprint that enters a step's key, and nested subsets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from xstilts.key import stable_int
from xstilts.spec import Answers, Choices, Example, Fields, Gold, Passage, TextPair, Words, is_candidate

CHUNK = 4096  # rows encoded at once; part of what a fingerprint is, so it never changes
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def fingerprint(examples: Sequence[Example]) -> str:
    """Return sha256 (hexadecimal) over the rows in their order: ids, languages, clusters, inputs and gold."""
    digest = hashlib.sha256()
    for start in range(0, len(examples), CHUNK):
        rows = [
            (each.item_id, each.language, each.cluster, _fields(each.fields), _gold(each.gold))
            for each in examples[start : start + CHUNK]
        ]
        digest.update(_ENCODER.encode(rows).encode())
    return digest.hexdigest()


def subset(examples: Sequence[Example], n: int) -> tuple[Example, ...]:
    """Return ``n`` Examples chosen by a hash of their ``item_id``, in their original order.

    In retrieval these are queries, and all candidates are kept: with fewer of them the task would be easier.
    Subsets are nested: a larger one contains every smaller one. The choice depends neither on the order of the rows nor
    on the seed of a training. With ``n`` beyond the number of Examples all are returned.
    """
    kept = [index for index, example in enumerate(examples) if is_candidate(example)]
    chosen = (index for index, example in enumerate(examples) if not is_candidate(example))
    order = sorted(chosen, key=lambda index: (stable_int(examples[index].item_id), index))
    return tuple(examples[index] for index in sorted([*kept, *order[:n]]))


def _fields(fields: Fields) -> tuple[object, ...]:
    """The values of an input as JSON can hold them, led by its type."""
    if isinstance(fields, TextPair):
        return ("TextPair", fields.first, fields.second)
    if isinstance(fields, Words):
        return ("Words", fields.words)
    if isinstance(fields, Passage):
        return ("Passage", fields.question, fields.context)
    if isinstance(fields, Choices):
        return ("Choices", fields.prompt, fields.options)
    return ("Sentence", fields.role, fields.text)


def _gold(gold: Gold) -> object:
    return {"texts": gold.texts, "starts": gold.starts} if isinstance(gold, Answers) else gold
