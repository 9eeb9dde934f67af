"""What the card of a published directory (README.md, YAML front matter) says of licence, language and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xstilts.errors import XstiltsError
from xstilts.exchange.files import Folder, read_text
from xstilts.published import Remark

CARD = "README.md"
FENCE = "---"
FRONT_MATTER = 65_536  # characters
TAG = "adapterhub:"  # the tag that names the data of an AdapterHub module, such as adapterhub:en/wiki


@dataclass(frozen=True, slots=True)
class Card:
    """None = the card does not say, or there is none."""

    licence: str | None = None
    languages: tuple[str, ...] = ()
    data: str | None = None


def read_card(folder: Folder) -> tuple[Card, tuple[Remark, ...]]:
    """Read the front matter; a card that cannot be read is a remark, for nothing depends on it."""
    import yaml  # type: ignore[import-untyped]

    if CARD not in folder.files:
        return Card(), ()
    try:
        text = read_text(folder, CARD)
    except XstiltsError as error:
        return Card(), (Remark("card", f"cannot be read: {error}"),)
    parts = text.split(f"{FENCE}\n", 2)
    if len(parts) < 3 or parts[0].strip() or len(parts[1]) > FRONT_MATTER:
        return Card(), ()
    try:
        facts = yaml.safe_load(parts[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        return Card(), (Remark("card", f"{CARD} begins with something that is not YAML"),)
    if not isinstance(facts, dict):
        return Card(), ()
    tags = [tag.removeprefix(TAG) for tag in _words(facts, "tags") if tag.startswith(TAG)]
    licences = _words(facts, "license")
    return Card(licences[0] if licences else None, _words(facts, "language"), tags[0] if len(tags) == 1 else None), ()


def card(licence: str | None, language: str | None, tags: tuple[str, ...], text: str) -> str:
    """Write a card with the same facts."""
    import yaml

    facts: dict[str, Any] = {"tags": list(tags)}
    if language:
        facts["language"] = [language]
    if licence:
        facts["license"] = licence
    return f"{FENCE}\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}{FENCE}\n\n{text}\n"


def _words(facts: Mapping[Any, Any], name: str) -> tuple[str, ...]:
    """One word, or a list of them; YAML reads ``no`` as a truth value, which was a language."""
    value = facts.get(name)
    words = value if isinstance(value, list) else [value]
    return tuple("no" if word is False else word for word in words if isinstance(word, str) or word is False)
