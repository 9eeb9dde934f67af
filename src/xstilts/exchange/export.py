"""A module handed on: converted to the layout of another library, or copied as the bundle that it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from xstilts import bundle
from xstilts.bundle.manifest import MANIFEST
from xstilts.errors import fail
from xstilts.exchange import load, locate
from xstilts.exchange.write import write
from xstilts.files import new_directory, told
from xstilts.published import Layout, Published, PublishedHead, Remark

# Model classes of transformers whose heads PEFT fills.
CLASSES = {
    "classification": "XLMRobertaForSequenceClassification",
    "tagging": "XLMRobertaForTokenClassification",
    "span": "XLMRobertaForQuestionAnswering",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A module that was handed on.

    Attributes:
        load: how it is loaded: a line of code, of a bundle a line of a study.
        model: what ``model`` is in that line; empty for a bundle.
        remarks: what was noticed when it was read, and what the layout cannot hold and is therefore not in it.
    """

    directory: Path
    load: str
    model: str
    remarks: tuple[Remark, ...]


def export(source: str, layout: Layout, directory: Path) -> Exported:
    """Write a published module, or one of the store, as another library or another study reads it.

    Args:
        source: a directory of any layout, or a hub id; see ``exchange.locate``.
        layout: ``adapterhub`` and ``peft`` convert, a ``bundle`` is copied as it is.
        directory: to be made; may exist if it is empty.

    Raises:
        XstiltsError: not a whole module; NaN or infinity in it; a method or a fusion that the layout cannot hold; a
            bundle wanted of something else; a directory that is not empty, a disk that refuses.
    """
    if layout == "bundle":
        return _copied(source, directory)
    published = load(source)
    heads = published.head.tensors if published.head else {}
    unsound = [name for name, tensor in {**heads, **published.tensors}.items() if not tensor.isfinite().all()]
    if unsound:
        raise fail(source, f"{len(unsound)} tensors hold NaN or infinity; every prediction would be void", unsound[0])
    left_out = write(published, directory, layout)
    written = "head" not in {remark.check for remark in left_out}
    model, line = _loaded(published, published.head if written else None, layout, directory)
    return Exported(directory, line, model, (*_told(published), *left_out))


def _copied(source: str, directory: Path) -> Exported:
    """Copy the files that a manifest speaks of, and none of the store's own account."""
    place = locate(source)
    if not (place / MANIFEST).is_file():
        what = f"is no bundle: it has no {MANIFEST}; put it into a study, and the store makes one of it"
        raise fail(source, what)
    published = load(source)
    with told(directory), new_directory(directory) as folder:
        for name in (MANIFEST, *(name for name, _ in published.origin.files)):
            shutil.copyfile(place / name, folder / name)
        bundle.verify(folder)
    return Exported(directory, f'module.{published.origin.name}.source = "{directory}"', "", _told(published))


def _told(published: Published) -> tuple[Remark, ...]:
    """What was noticed when the module was read; what lies below it is missed in every layout."""
    missed = "it is not in what was written, and without it this module computes something else than was measured"
    return tuple(
        replace(remark, what=f"{remark.what}; {missed}") if remark.check == "below" else remark
        for remark in published.remarks
    )


def _loaded(published: Published, head: PublishedHead | None, layout: Layout, directory: Path) -> tuple[str, str]:
    """What the model has to be, and the line of code that puts the module into it."""
    of = published.origin.backbone or "the backbone"
    outputs = f" with {len(head.tensors['out_proj.weight'])} labels" if head and head.format != "span" else ""
    if layout == "adapterhub":
        line = f'model.load_adapter("{directory}", use_safetensors=True, set_active=True)'
        return f"adapters.XLMRobertaAdapterModel of {of}" if head else f"any XLM-R of {of} after adapters.init", line
    name = CLASSES[head.format] if head else "XLMRobertaModel"
    return f"transformers.{name} of {of}{outputs}", f'model = peft.PeftModel.from_pretrained(model, "{directory}")'
