"""Settings of other libraries: what changes a module's function and is not ours is refused by name, never dropped."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from xstilts.errors import Problem, XstiltsError
from xstilts.published import Remark, plain

SHOWN = 10  # names of settings in a message


def refuse_others(where: str, given: Mapping[str, Any], allowed: Mapping[str, tuple[object, ...]]) -> None:
    """Refuse settings with which a module computes something that no method of ours does.

    Args:
        where: file, for messages.
        given: the configuration.
        allowed: setting → its values that ours has; an absent setting has one of them.

    Raises:
        XstiltsError: all of them.
    """
    wrong = [
        Problem(where, f"{name}: no method here can do this", _text(given[name]), tuple(map(_text, values)))
        for name, values in allowed.items()
        if name in given and given[name] not in values
    ]
    if wrong:
        raise XstiltsError(*wrong)


def unknown(where: str, given: Mapping[str, Any], known: Collection[str], idle: str) -> tuple[Remark, ...]:
    """Tell of settings that are not understood.

    Args:
        where: file.
        given: the configuration.
        known: names of settings that are read.
        idle: pattern of names of settings that have no effect on a trained module.
    """
    names = sorted(name for name in given if name not in known and not re.fullmatch(idle, name))
    if not names:
        return ()
    few = ", ".join(plain(name, 60) for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return (Remark("settings", f"{where} has unknown settings, which are ignored: {few}"),)


def whole_number(value: Any) -> Any:
    """16.0 is 16; anything else stays, and is refused where a whole number is needed."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> str:
    return str(value)[:100]
