"""Model cards: plain Markdown with YAML front matter, as hubs read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from xstilts.published import plain

LARGEST = 1_000_000  # bytes of a card that is read
FRONT_MATTER = 65_536  # characters
FENCE = "---"


class _NoRepeats(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases: merged into each other, a few lines of them are billions of entries."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def front_matter(card: Path) -> dict[str, Any]:
    """The YAML between the first two ``---`` of a card; empty where there is none that can be read."""
    try:
        if not card.is_file() or card.stat().st_size > LARGEST:
            return {}
        return parse_front_matter(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def parse_front_matter(text: str) -> dict[str, Any]:
    """The YAML between the first two ``---`` of a text; empty where there is none.

    Raises:
        ValueError: it is not YAML, or is YAML with aliases.
    """
    lines = text.splitlines()
    ends = (number for number, line in enumerate(lines[1:], 1) if line.strip() == FENCE)
    end = next(ends, 0) if lines and lines[0].strip() == FENCE else 0
    matter = "\n".join(lines[1:end])
    if not end or len(matter) > FRONT_MATTER:
        return {}
    try:
        found = yaml.load(matter, _NoRepeats)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError("is not YAML without aliases") from error
    return found if isinstance(found, dict) else {}


def stated_licence(card: Path) -> str | None:
    """The licence that a card states, by its own name where it is none that hubs know; None = not stated."""
    return licence_of(front_matter(card))


def licence_of(facts: Mapping[str, Any]) -> str | None:
    """The licence among the facts of a card; see ``stated_licence``."""
    stated = facts.get("license")
    if isinstance(stated, list):
        stated = ", ".join(word for word in stated if isinstance(word, str)) or None
    named = facts.get("license_name") if stated == "other" else stated
    return plain(named or stated) if isinstance(named or stated, str) else None


def render(manifest: Mapping[str, Any]) -> str:
    """The card of a bundle.

    Args:
        manifest: the fields of ``bundle.Manifest``, where ``files`` are those with tensors.
    """
    sections = (
        _yaml(manifest),
        f"# {manifest['name']}",
        _what(manifest),
        _use(manifest),
        _below(manifest["below"]),
        _data(manifest["tasks"]),
        _metrics(manifest["metrics"]),
        _recipe(manifest),
        _licences(manifest["licences"]),
        _checksums(manifest["files"]),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _yaml(manifest: Mapping[str, Any]) -> str:
    kind, base = manifest["method"]["kind"], manifest["backbone"]["name"].partition("@")[0]
    languages = {task["language"] for task in manifest["tasks"]} | {manifest["language"]} - {None}
    values: dict[str, Any] = {"library_name": "xstilts", "tags": ["xstilts", "xlm-roberta", "cross-lingual", kind]}
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        values["base_model"] = base
    if languages:
        values["language"] = sorted(languages)
    values |= {"license": "other", "license_name": "see-the-licence-section"}
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return f"{FENCE}\n{text}{FENCE}"


def _what(manifest: Mapping[str, Any]) -> str:
    method, backbone = manifest["method"], manifest["backbone"]
    options = ", ".join(f"{name} = {_shown(value)}" for name, value in method["options"].items()) or "its defaults"
    count = sum(_product(tensor["shape"]) for file in manifest["files"] for tensor in file["tensors"])
    language = f" Language adapter for {_code(manifest['language'])}." if manifest["language"] else ""
    return (
        f"A module of kind `{method['kind']}` ({options}) for the frozen encoder {_code(backbone['name'])} "
        f"({backbone['layers']} layers of {backbone['hidden']} units, fingerprint `{backbone['fingerprint'][:16]}…`). "
        f"{count:,} parameters are stored, heads included.{language}\n\n"
        f"How it was made: {_plain(manifest['made'])}; {_plain(manifest['start'])}. Its key is `{manifest['key']}`."
    )


def _use(manifest: Mapping[str, Any]) -> str:
    return (
        "## Use\n\nIn a study of xstilts, with `source` the path of this directory or the id of its repository:\n\n"
        f'```toml\n[module.{manifest["name"]}]\nsource = "path/to/this/directory"\n```\n\n'
        f"and `{manifest['name']}` among the study's `intermediates`. Before anything is trained it is compared with "
        "its manifest and with the study's backbone. Heads are not reused."
    )


def _below(below: Sequence[Mapping[str, Any]]) -> str:
    if not below:
        return ""
    rows = "\n".join(f"{number}. {_plain(each['what'])}: `{each['key']}`" for number, each in enumerate(below, 1))
    return (
        "## What lies below it\n\nThis module was trained on top of other modules, which are **not** in this bundle. "
        f"Without them it computes something else than what was measured. From the lowest up:\n\n{rows}"
    )


def _data(tasks: Sequence[Mapping[str, Any]]) -> str:
    if not tasks:
        return ""
    rows = (
        (
            f"{task['name']} (version {task['version']})",
            task["format"],
            task["language"],
            ", ".join(task["labels"]) or "none",
            f"`{task['rows'][:16]}`",
        )
        for task in tasks
    )
    return "## Data\n\n" + _table(("task", "format", "language", "labels", "rows"), rows)


def _metrics(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return ""
    rows = (
        (
            each["name"],
            f"{each['value']:.2f}",
            "not known" if each["low"] is None or each["high"] is None else f"{each['low']:.2f} to {each['high']:.2f}",
            "not known" if each["n"] is None else f"{each['n']:,}",
        )
        for each in metrics
    )
    return "## Metrics\n\n" + _table(("metric", "value", "95 % interval", "examples"), rows)


def _recipe(manifest: Mapping[str, Any]) -> str:
    if manifest["recipe"] is None:
        return ""
    values = {name: value for name, value in manifest["recipe"].items() if value is not None}
    rows = ((name, _shown(value)) for name, value in {**values, "seed": manifest["seed"]}.items())
    return "## Recipe\n\n" + _table(("field", "value"), rows)


def _licences(licences: Sequence[Mapping[str, Any]]) -> str:
    rows = ((each["of"], each["text"] or "not stated") for each in licences)
    return "## Licence\n\nThe terms of what went into this module, as their publishers state them:\n\n" + _table(
        ("of", "terms"), rows
    )


def _checksums(files: Sequence[Mapping[str, Any]]) -> str:
    rows = ((file["name"], f"{file['bytes']:,}", str(len(file["tensors"])), f"`{file['sha256']}`") for file in files)
    return "## Checksums\n\n" + _table(("file", "bytes", "tensors", "sha256"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_plain(str(cell)) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """One line that neither ends a table's cell nor is HTML, a link or a picture; code stays code."""
    return re.sub(r"[\\|\[\]]", r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")


def _code(text: str) -> str:
    """A name from outside as code, which it cannot end."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _product(shape: Iterable[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
