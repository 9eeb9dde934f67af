"""Heads of other libraries that are heads of ours: the same layers under other names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xstilts.errors import fail
from xstilts.exchange.files import shown
from xstilts.published import PublishedHead
from xstilts.spec import FormatName

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("weight", "bias")


@dataclass(frozen=True, slots=True)
class Kind:
    """A head class of a library.

    Attributes:
        format: the format of ours that computes the same.
        layers: name of a layer there → its name in our head.
    """

    format: FormatName
    layers: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """Name of each tensor there → its name in our head."""
        return {f"{there}.{part}": f"{ours}.{part}" for there, ours in self.layers.items() for part in PARTS}


SENTENCE = Kind("classification", {"classifier.dense": "dense", "classifier.out_proj": "out_proj"})
TOKEN = Kind("tagging", {"classifier": "out_proj"})
SPAN = Kind("span", {"qa_outputs": "out_proj"})
# transformers' model classes, and the task types of peft that lead to them
CLASSES = {
    "XLMRobertaForSequenceClassification": SENTENCE,
    "XLMRobertaForTokenClassification": TOKEN,
    "XLMRobertaForQuestionAnswering": SPAN,
}
TASK_TYPES = {"SEQ_CLS": SENTENCE, "TOKEN_CLS": TOKEN, "QUESTION_ANS": SPAN}
# adapters' heads that are chosen by configuration; layers count their dropouts and activations
_TWO_LAYERS = {"1": "dense", "4": "out_proj"}
_FLEXIBLE = {
    "classification": (Kind("classification", _TWO_LAYERS), 2),
    "multiple_choice": (Kind("choice", _TWO_LAYERS), 2),
    "tagging": (Kind("tagging", {"1": "out_proj"}), 1),
    "question_answering": (Kind("span", {"1": "out_proj"}), 1),
}


def flexible(config: Mapping[str, Any]) -> Kind | str:
    """Find the head that a configuration of the adapters library describes, or why there is none like it."""
    head_type = config.get("head_type")
    if not isinstance(head_type, str) or head_type not in _FLEXIBLE:
        return f"a head of type {str(head_type)[:40]!r} is none of ours"
    kind, layers = _FLEXIBLE[head_type]
    if config.get("layers") != layers:
        return f"a {head_type} head of {str(config.get('layers'))[:10]} layers; ours has {layers}"
    if layers == 2 and (config.get("activation_function") != "tanh" or config.get("use_pooler")):
        return f"a {head_type} head with another activation than tanh, or over the pooler"
    if config.get("bias") is False:
        return f"a {head_type} head without bias"
    return kind


def flexible_config(head: PublishedHead) -> dict[str, Any] | None:
    """Describe a head of ours to the adapters library; None where its description needs what the head does not say."""
    if head.format not in ("classification", "tagging", "span"):
        return None
    outputs = int(head.tensors["out_proj.weight"].shape[0])
    label2id = {label: number for number, label in enumerate(head.labels)} if head.labels else None
    common = {"num_labels": outputs, "activation_function": "tanh", "label2id": label2id, "dropout_prob": None}
    if head.format == "classification":
        return {**common, "head_type": "classification", "layers": 2, "use_pooler": False, "bias": True}
    if head.format == "tagging":
        return {**common, "head_type": "tagging", "layers": 1}
    return {**common, "head_type": "question_answering", "layers": 1, "activation_function": None}


def flexible_names(format_name: FormatName) -> dict[str, str]:
    """Name of each tensor in the adapters library, below ``heads.<name>.`` → its name in our head."""
    return next(kind.names for kind, _ in _FLEXIBLE.values() if kind.format == format_name)


def labels(where: str, label2id: object) -> tuple[str, ...] | None:
    """Names of the outputs in order; None if they are not given, or are the library's ``LABEL_0``.

    Raises:
        XstiltsError: not one name for each number from 0.
    """
    if not label2id:
        return None
    if not isinstance(label2id, dict) or sorted(map(str, label2id.values())) != sorted(map(str, range(len(label2id)))):
        raise fail(where, "label2id must number the labels from 0", str(label2id)[:100])
    names = tuple(sorted(label2id, key=lambda label: int(label2id[label])))
    return None if names == tuple(f"LABEL_{number}" for number in range(len(names))) else names


def head(where: str, kind: Kind, tensors: Mapping[str, Tensor], names: tuple[str, ...] | None) -> PublishedHead:
    """Take a head out of its tensors.

    Args:
        where: for messages.
        kind: what the file says it is.
        tensors: by the library's names, exactly the head's.
        names: of its outputs.

    Raises:
        XstiltsError: missing or unknown tensors, or shapes and labels that do not agree.
    """
    wanted = kind.names
    if tensors.keys() != wanted.keys():
        unlike = {*tensors.keys() ^ wanted.keys()}
        raise fail(where, f"a head for {kind.format} needs {shown(wanted)}; missing or unknown: {shown(unlike)}")
    found = {ours: tensors[there] for there, ours in wanted.items()}
    weight = found["out_proj.weight"]
    outputs = weight.shape[0] if weight.ndim == 2 else 0
    hidden = weight.shape[-1] if weight.ndim == 2 else 0
    shapes = {"dense.weight": (hidden, hidden), "dense.bias": (hidden,)}
    shapes |= {"out_proj.weight": (outputs, hidden), "out_proj.bias": (outputs,)}
    unlike_names = sorted(name for name, tensor in found.items() if tuple(tensor.shape) != shapes[name])
    if unlike_names or not outputs:
        raise fail(where, f"a head whose tensors do not fit together: {shown(unlike_names or found)}")
    needed = {"choice": 1, "span": 2}.get(kind.format, len(names) if names else outputs)
    if outputs != needed:
        raise fail(where, f"a head for {kind.format} with {needed} labels has {outputs} outputs")
    return PublishedHead(kind.format, found, names if kind.format in ("classification", "tagging") else None)
