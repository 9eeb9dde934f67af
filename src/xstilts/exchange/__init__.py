"""Published modules, read into our terms and written out of them: one file per layout.

    adapterhub    AdapterHub: adapter-transformers 1 to 3, adapters ≥ 1.0
    peft          PEFT: LoRA, rsLoRA, DoRA, IA3
    bundle        our own; see ``xstilts.bundle``

Everything that is read here came from somebody else: see ``files``.
"""

from __future__ import annotations

from pathlib import Path

from xstilts import hub
from xstilts.errors import fail
from xstilts.exchange import adapterhub, peft
from xstilts.exchange._card import CARD
from xstilts.exchange.files import Folder, open_folder, read_json
from xstilts.exchange.write import write
from xstilts.published import Layout, Published

__all__ = ["layout", "load", "locate", "read", "write"]

BUNDLE = ("manifest.json", "encoder.safetensors", "head.safetensors")
INSTEAD = "a directory is read as well, but there is none of this name"
LACKS = f"neither {BUNDLE[0]} (xstilts) nor {adapterhub.CONFIG} (AdapterHub, PEFT) is in it"
PATTERNS = (*dict.fromkeys((*BUNDLE, *adapterhub.FILES, *peft.FILES, CARD)),)


def load(source: str) -> Published:
    """Read a module by the name that a user gives it; see ``locate`` and ``read``."""
    return read(locate(source), trusted_links=not Path(source).is_dir())


def locate(source: str) -> Path:
    """Find a published module.

    Args:
        source: a directory, or a hub id ``org/name`` or ``org/name@revision``, whose files are downloaded or taken from
            the hub's cache.

    Returns:
        The directory. That of a hub id consists of links, which ``read`` follows with ``trusted_links``.

    Raises:
        XstiltsError: neither; or the hub cannot give it.
    """
    if source and Path(source).is_dir():
        return Path(source)
    repo, _, revision = source.partition("@")
    if repo.count("/") != 1 or repo.startswith((".", "/")):
        raise fail("module", "neither a directory nor a hub id 'org/name'; no such directory is here", source)
    return hub.snapshot("model", repo, revision or None, PATTERNS, instead=INSTEAD)


def layout(directory: Path, trusted_links: bool = False) -> Layout:
    """Tell by what is in it how a directory is laid out.

    Raises:
        XstiltsError: in no way that is known here, or unsafe to look at; see ``files.open_folder``.
    """
    return _layout(open_folder(directory, trusted_links))


def read(directory: Path, trusted_links: bool = False) -> Published:
    """Read a published module whole, or not at all.

    Args:
        directory: of any layout.
        trusted_links: whether it is a snapshot of the hub's client, whose files are links; see ``files.open_folder``.

    Raises:
        XstiltsError: not a module; a shape that no method of ours has; tensors that are missing, unknown, of another
            shape or no floating point numbers, or that belong to the backbone; damaged, oversized or malicious files.
    """
    folder = open_folder(directory, trusted_links)
    found = _layout(folder)
    if found == "bundle":
        from xstilts import bundle

        return bundle.read(directory)
    return adapterhub.read(folder) if found == "adapterhub" else peft.read(folder)


def _layout(folder: Folder) -> Layout:
    if BUNDLE[0] in folder.files:
        return "bundle"
    if adapterhub.CONFIG not in folder.files:
        raise fail(str(folder.directory), f"is no published module: {LACKS}")
    config = read_json(folder, adapterhub.CONFIG)
    if "peft_type" in config:
        return "peft"
    if "config" in config:
        return "adapterhub"
    what = "is of no known layout: it has neither 'config' (AdapterHub) nor 'peft_type' (PEFT)"
    raise fail(folder.where(adapterhub.CONFIG), what)
