"""Which head of a module speaks for a task, and which of its outputs is which label.

A head whose outputs are read in another order than it was trained with gives numbers like any other: so the order is
known, or the module is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xstilts.errors import XstiltsError, fail
from xstilts.spec import FormatName, Task

if TYPE_CHECKING:
    from torch import Tensor

LABELLED: tuple[FormatName, ...] = ("classification", "tagging")
OUTPUTS = ("out_proj.weight", "out_proj.bias")  # tensors with one row for each label
OPTION = "--labels"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head that a module has.

    Attributes:
        tensors: by the names of the parameters of that format's head.
        labels: of its outputs in order; None = not named.
        task: that it was trained on; None = not known.
    """

    format: FormatName
    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...] | None
    task: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A head for a task.

    Attributes:
        tensors: with outputs in the order of the task's labels; empty where the task needs none.
        remark: what a reader of the scores should know; None = nothing.
    """

    tensors: Mapping[str, Tensor]
    remark: str | None = None


def choose(where: str, heads: Sequence[Head], task: Task, said: Sequence[str] = ()) -> Chosen:
    """Find the head for a task: the one that was trained on it, otherwise the only one that fits.

    Args:
        where: the module, for messages.
        heads: that it has.
        task: to be predicted.
        said: labels in the order of the outputs, as the user says, for a head that does not name the task's.

    Raises:
        XstiltsError: no head of this format, other labels, an order that is not known, or several heads that fit.
    """
    if task.retrieves:
        return Chosen({})
    of_format = [head for head in heads if head.format == task.format]
    if not of_format:
        given = ", ".join(head.format for head in heads) or "none"
        what = f"has no head for {task.name}, a task of the format {task.format}; a study trains one"
        raise fail(where, what, given)
    own = [head for head in of_format if head.task == task.name] or of_format
    found, errors = [], []
    for head in own:
        try:
            found.append((head, _ordered(where, head, task, said)))
        except XstiltsError as error:
            errors.append(error)
    if not found:
        raise XstiltsError(*dict.fromkeys(problem for error in errors for problem in error.problems))
    if len(found) > 1:
        given = ", ".join(head.task or "not known" for head, _ in found)
        raise fail(where, f"has several heads that fit {task.name}, and none was trained on it", given)
    head, tensors = found[0]
    other = f"its head was trained on {head.task}" if head.task not in (None, task.name) else None
    return Chosen(tensors, other)


def check_labels(said: Sequence[str], task: Task) -> None:
    """Hold labels that the user names against the task's.

    Raises:
        XstiltsError: not each of the task's labels once, or a task without.
    """
    if said and task.format not in LABELLED:
        raise fail(OPTION, f"{task.name} has no labels", " ".join(said))
    if said and _places(said, task.labels) is None:
        raise fail(OPTION, f"must name every label of {task.name} once", " ".join(said), task.labels)


def _ordered(where: str, head: Head, task: Task, said: Sequence[str]) -> Mapping[str, Tensor]:
    """The tensors of a head, with its outputs in the order of the task's labels."""
    if task.format not in LABELLED:
        return head.tensors
    outputs = len(head.tensors[OUTPUTS[0]])
    if outputs != len(task.labels):
        raise fail(where, f"its head has {outputs} outputs, {task.name} has {len(task.labels)} labels")
    places = _places(head.labels, task.labels) if head.labels else None
    places = _places(said, task.labels) if places is None and said else places
    if places is None:
        names = f"names its outputs {', '.join(head.labels)}" if head.labels else "does not name its outputs"
        what = f"its head {names}, so which is which label of {task.name} is not known; say their order with {OPTION}"
        raise fail(where, what, None, task.labels)
    return {name: tensor[places] if name in OUTPUTS else tensor for name, tensor in head.tensors.items()}


def _places(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Where in ``names`` each label stands, in whatever case; None if they are not the same, each once."""
    there = [name.casefold() for name in names]
    wanted = [label.casefold() for label in labels]
    if len(set(wanted)) < len(wanted) or sorted(there) != sorted(wanted):
        return None
    return [there.index(label) for label in wanted]
