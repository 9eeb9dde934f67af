"""What was found out before and may be forgotten: small JSON files that are believed only if they are whole.

A damaged file, or one that was copied to another name, is no file. Where nothing can be written, nothing is remembered.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from xstilts.errors import XstiltsError
from xstilts.files import write_json


def recall(path: Path) -> Any:
    """Return what was remembered; None if there is nothing, or nothing that can be believed."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["value"] if content["sha256"] == _checksum(path, content["value"]) else None
    except (OSError, LookupError, TypeError, ValueError):
        return None


def remember(path: Path, value: object) -> None:
    """Keep a value that JSON can hold; the name of the file must say all that the value depends on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"value": value, "sha256": _checksum(path, value)})
    except (OSError, XstiltsError):
        return


def _checksum(path: Path, value: object) -> str:
    text = json.dumps([path.name, value], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
