"""The two libraries that attach modules, and why they never share an encoder.

``adapters`` rebuilds the layers of an encoder when it is first used on it, and takes what ``peft`` has wrapped around
them away without a word; in the other order, its modules stay but can no longer be told apart by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from xstilts.errors import fail

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

Library = Literal["adapters", "peft"]
MARKS: dict[Library, str] = {"adapters": "adapters_config", "peft": "peft_config"}  # what each leaves on an encoder


def only(encoder: XLMRobertaModel, library: Library) -> None:
    """Hold that an encoder carries modules of one library only.

    Raises:
        XstiltsError: it carries modules of the other one.
    """
    for other, mark in MARKS.items():
        if other != library and hasattr(encoder, mark):
            what = f"the encoder carries modules of the library {other}, and {library} would break them"
            raise fail("attach", f"{what}; modules of one encoder are all bottlenecks, or all low-rank and scales")
