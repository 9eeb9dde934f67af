"""A module as it was published, in our terms: what every reader gives, every writer takes, and the doctor looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from xstilts.spec import AdapterConfig, FormatName

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["bundle", "adapterhub", "peft"]


def plain(value: object, longest: int = 200) -> str:
    """What somebody else's file says, fit to be shown and written on.

    Returns:
        One line without characters that move a cursor, hide, or are no text; of so many characters at most.
    """
    start = str(value)[: 10 * longest]
    text = "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in start)
    return " ".join(text.split())[:longest]


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """A head that came with a module.

    Attributes:
        format: the format of ours whose head it is.
        tensors: by the names of that head's parameters, fp32.
        labels: names of its outputs in order; None = the file does not name them.
    """

    format: FormatName
    tensors: dict[str, Tensor]
    labels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a user should know that does not by itself forbid use.

    Attributes:
        check: one of the doctor's checks, in a word or two.
        what: what was found.
        serious: whether it makes results doubtful, not only untidy.
    """

    check: str
    what: str
    serious: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What a published directory says of itself; None = it does not say.

    Attributes:
        layout: of the files.
        version: of the library that wrote it, as written there.
        name: of the module.
        backbone: name of the model it was trained on.
        fingerprint: of that backbone; known of bundles only.
        model_type: as in the model's configuration.
        hidden_size: of that model.
        language: ISO 639 code, of a language adapter.
        task: what it was trained on, in the file's words.
        licence: as stated.
        files: the files that were read, relative to the directory, with their sizes in bytes.
    """

    layout: Layout
    version: str | None = None
    name: str | None = None
    backbone: str | None = None
    fingerprint: str | None = None
    model_type: str | None = None
    hidden_size: int | None = None
    language: str | None = None
    task: str | None = None
    licence: str | None = None
    files: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """A published module that was read whole.

    Attributes:
        method: its shape; the kind's ``Options`` accept the options, and hold only what differs from their defaults.
        tensors: by the stored names of ``methods``, fp32; exactly those that the method has in an encoder of ``layers``
            layers and ``hidden`` units. Values may be NaN or infinite: the doctor tells.
        layers: of the encoder it was made for, as its tensors show.
        hidden: size of that encoder's states, as its tensors show.
        head: if it came with one that a format of ours has.
        remarks: what the reader noticed.
    """

    method: AdapterConfig
    tensors: dict[str, Tensor]
    layers: int
    hidden: int
    head: PublishedHead | None
    origin: Origin
    remarks: tuple[Remark, ...] = ()
