"""Content keys: a step's identity is a hash of what it computes, never of what it is called or where it runs.

Canonical form: JSON of plain values, keys sorted, dataclasses tagged by class name, a nested step replaced by its own
key. Fields declared ``unhashed`` are left out, and so is a field that is None, so that a new optional field does not
rename every artefact that exists.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from pydantic import BaseModel

from xstilts.spec import UNHASHED, Combine, Import, Predict, Recipe, Step, Train

# Raised by hand when a change of code changes what a step computes.
CODE_VERSION = {"Train": 1, "Predict": 1, "Import": 1, "Combine": 1}


def key(step: Step) -> str:
    """Return the content key of a step: 32 hexadecimal digits (128 bits of sha256)."""
    body = {"code": CODE_VERSION[type(step).__name__], "step": _fields(step)}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def stable_int(*parts: str | int) -> int:
    """Return a 63-bit integer that depends on the parts alone; for seeds and hash orders.

    Unlike ``hash`` it is the same in every process and on every machine.
    """
    text = json.dumps(parts, ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def describe(step: Step) -> dict[str, Any]:
    """Spell a step out for a reader, names and paths included (``step.json``)."""
    return _fields(step, spell_out=True)


def _fields(value: Any, spell_out: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {"type": type(value).__name__}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if content is None or (field.metadata.get(UNHASHED) and not spell_out):
            continue
        body[field.name] = _plain(content, spell_out)
    return body


def _plain(value: Any, spell_out: bool) -> Any:
    if isinstance(value, Train | Predict | Import | Combine):
        return {"key": key(value), **_fields(value, spell_out)} if spell_out else key(value)
    if dataclasses.is_dataclass(value):
        return _fields(value, spell_out)
    if isinstance(value, BaseModel):
        hidden = Recipe.unhashed_fields() if isinstance(value, Recipe) and not spell_out else frozenset()
        return value.model_dump(mode="json", exclude=set(hidden), exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(item, spell_out) for item in value]
    assert isinstance(value, str | int | float | bool), f"{value!r} cannot take part in a key"
    return value
