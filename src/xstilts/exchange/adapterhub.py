"""The AdapterHub layout, as adapter-transformers 1 to 3 and adapters ≥ 1.0 write it (checked against 1.3.0).

``adapter_config.json`` describes the shape; the weights, ``adapter.safetensors`` or ``pytorch_adapter.bin``, carry the
module's name in every key. What the two say must agree: the library loads what fits and leaves the rest random.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xstilts.bundle.manifest import LANGUAGE
from xstilts.errors import fail
from xstilts.exchange import _adapters, _heads
from xstilts.exchange._card import CARD, Card, read_card
from xstilts.exchange._shape import BACKBONE, checked, measure
from xstilts.exchange.files import Folder, read_json, read_tensors, shown
from xstilts.published import Origin, Published, PublishedHead, Remark, plain
from xstilts.spec import AdapterConfig

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, SAFE, PICKLED = "adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"
HEAD_CONFIG, SAFE_HEAD, PICKLED_HEAD = "head_config.json", "model_head.safetensors", "pytorch_model_head.bin"
COMPOSED = ("adapter_fusion_config.json", "adapter_setup.json")  # of several modules; not part of any
FILES = (CONFIG, SAFE, PICKLED, HEAD_CONFIG, SAFE_HEAD, PICKLED_HEAD, *COMPOSED)
MODEL_TYPE = "xlm-roberta"
MODEL = "roberta."  # how the encoder is called in models with heads
FLEXIBLE = ("AdapterModel", "ModelWithHeads")  # how model classes end whose heads are chosen by configuration

# Keys without ``roberta.``: place, name of the module, part.
BOTTLENECK = re.compile(
    r"(encoder\.layer\.\d{1,3}\.(?:attention\.)?output)"
    r"\.(?:adapters|layer_text_(?:task|lang)_adapters|attention_text_(?:task|lang)_adapters)"
    r"\.([^.]+)\.adapter_(down\.0|up)\.(weight|bias)"
)
INVERSE = re.compile(r"invertible_(?:lang_)?adapters\.([^.]+)\.([FG]\.[02]\.(?:weight|bias))")
LORA = re.compile(
    r"(encoder\.layer\.\d{1,3}\.(?:attention\.self\.(?:query|key|value)|intermediate\.dense|output\.dense))"
    r"\.loras\.([^.]+)\.(lora_[AB])"
)


def read(folder: Folder) -> Published:
    """Read a directory of this layout.

    Raises:
        XstiltsError: see ``exchange.read``.
    """
    where = folder.where(CONFIG)
    config = read_json(folder, CONFIG)
    check_model_type(where, config.get("model_type"))
    shape = _adapters.shape(where, config)
    weights = folder.first(SAFE, PICKLED)
    if weights is None:
        raise fail(str(folder.directory), f"has no weights: neither {SAFE} nor {PICKLED}")
    found, precision = read_tensors(folder, weights)
    name, tensors = _stored(folder.where(weights), found)
    options, remarks = shape.options, [*shape.remarks, *precision, *_beside(folder, weights)]
    if shape.inverse_if_stored and "inverse" in options and not any(key.startswith("inverse.") for key in tensors):
        options = {option: value for option, value in options.items() if not option.startswith("inverse")}
        remarks.append(Remark("format", "names an inverse block, which task adapters of its time did not have"))
    method = checked(where, shape.kind, options)
    layers, hidden = measure(folder.where(weights), method, tensors)
    declared = config.get("hidden_size")
    if declared not in (None, hidden):
        raise fail(where, f"hidden_size contradicts the weights, which are for {hidden}", str(declared)[:20])
    if config.get("name") != name:
        what = f"{CONFIG} calls the module {str(config.get('name'))[:60]!r}, the weights call it {name[:60]!r}"
        remarks.append(Remark("keys", f"{what}: the library loads none of them and keeps random ones", serious=True))
    card, unread = read_card(folder)
    head, used, said = _read_head(folder, hidden)
    origin = Origin(
        "adapterhub",
        version=_text(config, "version"),
        name=plain(name),
        backbone=_text(config, "model_name"),
        model_type=_text(config, "model_type"),
        hidden_size=None if declared is None else hidden,
        language=_language(config, name, method, card),
        task=card.data,
        licence=card.licence,
        files=folder.sizes(CONFIG, weights, *used, CARD),
    )
    return Published(method, tensors, layers, hidden, head, origin, (*remarks, *said, *unread))


def check_model_type(where: str, model_type: object) -> None:
    """Refuse modules of other models; English RoBERTa's fit in shape, and in nothing else.

    Raises:
        XstiltsError: another model type.
    """
    if model_type not in (None, MODEL_TYPE):
        raise fail(where, "was made for another kind of model", str(model_type)[:60], (MODEL_TYPE,))


def within_model(where: str, keys: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the name of the encoder off the keys.

    Raises:
        XstiltsError: keys of the encoder itself, which would overwrite the frozen backbone; two keys for one tensor.
    """
    plain = {key.removeprefix(MODEL): tensor for key, tensor in keys.items()}
    own = [key for key in plain if BACKBONE.fullmatch(key)]
    if own:
        raise fail(where, f"holds {len(own)} tensors of the backbone, which must stay as it is: {shown(own)}")
    if len(plain) < len(keys):
        raise fail(where, f"holds tensors twice, with and without {MODEL!r}")
    return plain


def _stored(where: str, found: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The module's name, and its tensors by stored name."""
    tensors: dict[str, Tensor] = {}
    names: set[str] = set()
    strange = []
    for key, tensor in within_model(where, found).items():
        if match := BOTTLENECK.fullmatch(key):
            name, stored = match[2], f"{match[1]}.{match[3].removesuffix('.0')}.{match[4]}"
        elif match := INVERSE.fullmatch(key):
            name, stored = match[1], f"inverse.{match[2]}"
        elif match := LORA.fullmatch(key):
            name, stored = match[2], f"{match[1]}.{match[3]}"
        else:
            strange.append(key)
            continue
        names.add(name)
        tensors[stored] = tensor
    if strange:
        raise fail(where, f"holds {len(strange)} tensors that are not understood: {shown(strange)}")
    if len(names) != 1 or len(tensors) < len(found):
        raise fail(where, f"must hold one module, but its keys name {shown(names)}, or one tensor twice")
    return names.pop(), tensors


def _beside(folder: Folder, weights: str) -> list[Remark]:
    """Files of the layout that are there and not read."""
    remarks = []
    if weights == SAFE and PICKLED in folder.files:
        remarks.append(Remark("files", f"{PICKLED} lies beside {SAFE} and is not read"))
    composed = [name for name in COMPOSED if name in folder.files]
    if composed:
        remarks.append(Remark("files", f"{', '.join(composed)}: compositions of modules are not read"))
    return remarks


def _language(config: Mapping[str, Any], name: str, method: AdapterConfig, card: Card) -> str | None:
    """Language of a language adapter, by its card or its name; None = it is not one, or nothing says which."""
    if config.get("type") != "text_lang" and not method.options.get("inverse"):
        return None
    if len(card.languages) == 1 and re.match(LANGUAGE, card.languages[0]):
        return card.languages[0]
    return name if re.fullmatch(r"[a-z]{2,3}", name) else None


def _text(config: Mapping[str, Any], name: str) -> str | None:
    value = config.get(name)
    return None if value is None else plain(value)


# ------------------------------------------------------------------------------------------------------------- head


def _read_head(folder: Folder, hidden: int) -> tuple[PublishedHead | None, tuple[str, ...], tuple[Remark, ...]]:
    """The head, the files that it was read from, and what was noticed; a head that is none of ours is a remark."""
    weights = folder.first(SAFE_HEAD, PICKLED_HEAD)
    if HEAD_CONFIG not in folder.files or weights is None:
        alone = [name for name in (HEAD_CONFIG, weights) if name in folder.files]
        return None, (), tuple(Remark("head", f"{name} lies alone; a head has two files") for name in alone)
    where = folder.where(HEAD_CONFIG)
    config = read_json(folder, HEAD_CONFIG)
    check_model_type(where, config.get("model_type"))
    model, inner = plain(config.get("model_class"), 60), config.get("config")
    if model.endswith(FLEXIBLE) and isinstance(inner, dict):
        kind, prefix, label2id = _heads.flexible(inner), f"heads.{config.get('name')}.", inner.get("label2id")
        declared = inner.get("num_labels")
    else:
        kind, prefix, label2id = _heads.CLASSES.get(model, f"a head of class {model} is none of ours"), "", None
        label2id, declared = config.get("label2id"), config.get("num_labels")
    if isinstance(kind, str):
        return None, (), (Remark("head", f"{kind}; it is not read"),)
    found, remarks = read_tensors(folder, weights)
    tensors = within_model(folder.where(weights), found)
    own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    if len(own) < len(tensors):
        others = [key for key in tensors if not key.startswith(prefix)]
        remarks += (Remark("head", f"{weights} holds tensors of another head, which are not read: {shown(others)}"),)
    head = _heads.head(folder.where(weights), kind, own, _heads.labels(where, label2id))
    outputs, size = head.tensors["out_proj.weight"].shape
    if size != hidden or declared not in (None, outputs):
        raise fail(where, f"says {declared} labels for states of {hidden}; the weights have {outputs} for {size}")
    return head, (HEAD_CONFIG, weights), remarks
