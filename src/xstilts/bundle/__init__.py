"""Bundles: a module as a directory of safetensors, a manifest that says what they are, and a model card.

    encoder.safetensors    the module's tensors, by their stored names; see ``methods``
    head.safetensors       its heads; absent where there is none
    README.md              the model card
    manifest.json          everything that is needed to use the module, and the sha256 of the other three

Finished steps of the store are bundles; what else lies there (``STORE_FILES``) is the store's own account, no part of
them. A manifest is a function of what was computed and of what it was called: it holds no time and no path.
"""

from xstilts.bundle.contents import Contents, backbone_licence, contents
from xstilts.bundle.manifest import Below, HeadEntry, Licence, Manifest, Measure, TaskEntry
from xstilts.bundle.reading import read, verify
from xstilts.bundle.writing import write

__all__ = [
    "Below",
    "Contents",
    "HeadEntry",
    "Licence",
    "Manifest",
    "Measure",
    "TaskEntry",
    "backbone_licence",
    "contents",
    "read",
    "verify",
    "write",
]
