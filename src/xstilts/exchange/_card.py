"""What the card of a published directory (README.md, YAML front matter) says of licence, language and data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xstilts.bundle.card import FENCE, licence_of, parse_front_matter
from xstilts.errors import XstiltsError
from xstilts.exchange.files import Folder, read_text
from xstilts.published import Remark, plain

CARD = "README.md"
IDENTIFIER = r"[a-z0-9.-]+"  # of a licence
TAG = "adapterhub:"  # the tag that names the data of an AdapterHub module, such as adapterhub:en/wiki


@dataclass(frozen=True, slots=True)
class Card:
    """None = the card does not say, or there is none."""

    licence: str | None = None
    languages: tuple[str, ...] = ()
    data: str | None = None


def read_card(folder: Folder) -> tuple[Card, tuple[Remark, ...]]:
    """Read the front matter; a card that cannot be read is a remark, for nothing depends on it."""
    if CARD not in folder.files:
        return Card(), ()
    try:
        facts = parse_front_matter(read_text(folder, CARD))
    except XstiltsError as error:
        return Card(), (Remark("card", f"cannot be read: {error}"),)
    except ValueError as error:
        return Card(), (Remark("card", f"{CARD} begins with something that {error}"),)
    tags = [tag.removeprefix(TAG) for tag in _words(facts, "tags") if tag.startswith(TAG)]
    return Card(licence_of(facts), _words(facts, "language"), tags[0] if len(tags) == 1 else None), ()


def card(licence: str | None, language: str | None, tags: tuple[str, ...], text: str) -> str:
    """Write a card with the same facts."""
    import yaml  # type: ignore[import-untyped]

    facts: dict[str, Any] = {"tags": list(tags)}
    if language:
        facts["language"] = [language]
    if licence and re.fullmatch(IDENTIFIER, licence):
        facts["license"] = licence
    elif licence:  # hubs take only names that they know
        facts |= {"license": "other", "license_name": licence}
    return f"{FENCE}\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}{FENCE}\n\n{text}\n"


def _words(facts: Mapping[Any, Any], name: str) -> tuple[str, ...]:
    """One word, or a list of them; YAML reads ``no`` as a truth value, which was a language."""
    value = facts.get(name)
    words = value if isinstance(value, list) else [value]
    return tuple("no" if word is False else plain(word) for word in words if isinstance(word, str) or word is False)
