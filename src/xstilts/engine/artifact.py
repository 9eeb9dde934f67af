"""Named tensors in one safetensors file that is written atomically and read with suspicion.

The libraries load what fits and keep random weights for what does not; here a file either holds exactly the tensors
that are expected, finite, with the shape and type they must have, and says that it belongs where it is read, or it is
refused. Never a pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xstilts.errors import fail

HEADER = "xstilts"  # one entry: the library writes several in an order that differs from process to process


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors so that a reader, or a kill at any moment, finds the old file or the new one, never half of it.

    Args:
        path: the file.
        tensors: by name.
        about: short facts stored in the header; ``load`` compares them.

    Raises:
        XstiltsError: the disk refuses.
    """
    temporary = path.with_name(f".{path.name}")  # one name, so that the next save sweeps up after a kill
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, temporary, {HEADER: json.dumps(dict(about), sort_keys=True)})
    except SafetensorError as error:  # how the library reports a full disk
        raise fail(str(path), f"cannot be written ({error})") from error
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    temporary.replace(path)


def facts(path: Path) -> dict[str, str]:
    """The facts in the header of a file.

    Raises:
        XstiltsError: missing or unreadable.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(json.loads((file.metadata() or {}).get(HEADER, "{}")))
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(path, error) from error


def stream(
    path: Path, expected: Mapping[str, Tensor], about: Mapping[str, str], prefix: str = ""
) -> Iterator[tuple[str, Tensor]]:
    """Read tensors that must be exactly the expected ones, one after the other, so that one is held at a time.

    What the file says of itself and all names are checked before the first one is yielded.

    Args:
        path: the file.
        expected: name → any tensor of the shape and type that the stored one must have.
        about: facts that the header must hold.
        prefix: of the names that are read; the others may be anything.

    Raises:
        XstiltsError: missing, unreadable, of something else, or with other names, shapes, types, or NaN or infinity.
    """
    found = facts(path)
    for fact, value in about.items():
        if found.get(fact) != value:
            raise fail(str(path), f"belongs to another {fact}", found.get(fact, "none"), (value,))
    try:
        with safe_open(path, "pt") as file:
            _same_names(path, {name for name in file.keys() if name.startswith(prefix)}, set(expected))  # noqa: SIM118
            for name, wanted in expected.items():
                tensor = file.get_tensor(name)
                _sound(path, name, tensor, wanted)
                yield name, tensor
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def everything(path: Path, about: Mapping[str, str]) -> dict[str, Tensor]:
    """Read all tensors of a file that says what it belongs to.

    Raises:
        XstiltsError: missing, unreadable, of something else, or NaN or infinity in it.
    """
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    return load(path, shapes, about)


def load(path: Path, expected: Mapping[str, Tensor], about: Mapping[str, str]) -> dict[str, Tensor]:
    """Read tensors that must be exactly the expected ones; see ``stream``."""
    return dict(stream(path, expected, about))


def _unreadable(path: Path, error: Exception) -> Exception:
    what = "is missing" if isinstance(error, FileNotFoundError) else f"is not a readable safetensors file ({error})"
    return fail(str(path), what)


def _same_names(path: Path, found: set[str], expected: set[str]) -> None:
    for what, names in (("lacks", expected - found), ("holds unexpected", found - expected)):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
            raise fail(str(path), f"{what} {len(names)} of {len(expected)} tensors: {shown}")


def _sound(path: Path, name: str, tensor: Tensor, expected: Tensor) -> None:
    given, wanted = _form(tensor), _form(expected)
    if given != wanted:
        raise fail(str(path), f"tensor {name} has another shape or type", given, (wanted,))
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise fail(str(path), f"tensor {name} holds NaN or infinity")


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
