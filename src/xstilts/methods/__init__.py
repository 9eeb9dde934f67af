"""Methods, one file per kind: what a kind attaches to an encoder, and which of its parameters train.

A *module* is what one training adds to the encoder: a set of adapters, a LoRA delta, or with full fine-tuning the
encoder itself. The file name is the kind; there is no list to edit. A file holds ``Options`` and the functions of
``Method``, and imports torch inside its functions, so that a study can be validated without it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from xstilts import catalogue
from xstilts.spec import StartName, Value

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


class Method(Protocol):
    """What every file of this package provides."""

    @property
    def Options(self) -> type[Value]:  # noqa: N802 - a class, held by a module
        """Closed, frozen model of the kind's options in ``adapter_configs/*.toml``."""

    def refuse(self, start: StartName) -> str | None:
        """Return why a training cannot start this way, or None if it can."""

    def attach(self, encoder: XLMRobertaModel, module: str, options: Any) -> None:
        """Attach a module; its weights are yet to be set.

        Args:
            encoder: changed in place; may carry other modules of the same kind.
            module: a name without dots, and none of an attribute of torch's containers, such as ``copy``.
            options: the kind's ``Options``.

        Raises:
            XstiltsError: options that do not fit the encoder, or an encoder that carries modules of another library.
        """

    def initialise(self, encoder: XLMRobertaModel, module: str) -> None:
        """Give an attached module fresh weights that leave the encoder's output as it is, bit for bit.

        They are drawn from torch's global generator and depend on nothing else.
        """

    def activate(self, encoder: XLMRobertaModel, chain: Sequence[tuple[str, ...]]) -> None:
        """Let attached modules take part in the forward pass.

        Args:
            encoder: changed in place.
            chain: blocks from the lowest up; a block of one name is a module, of several names the fusion over them.
        """

    def names(self, encoder: XLMRobertaModel, module: str) -> dict[str, str]:
        """Map the names under which a module's tensors are stored to the encoder's parameter names.

        Stored names belong to no library and do not contain the module's name.
        """


def method_kinds() -> tuple[str, ...]:
    """Names of all shipped kinds, sorted."""
    return catalogue.names(sys.modules[__name__])


def load_method(kind: str, where: str = "method") -> Method:
    """Import ``methods/<kind>.py``.

    Raises:
        XstiltsError: no such file; the nearest name is suggested.
    """
    return cast(Method, catalogue.entry(sys.modules[__name__], kind, where, "adapter kind"))
