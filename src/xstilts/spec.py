"""The nouns of the project as frozen values: examples, tasks, recipes, starts and steps.

Nothing here computes. A step contains its inputs, so a plan *is* the graph and a cycle cannot be written down;
``key.py`` turns a step into its content key. A field declared with ``unhashed()`` says where or how fast, not what, and
stays out of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

T = TypeVar("T")

Split = Literal["train", "dev", "test"]
Role = Literal["intermediate", "target"]
Mode = Literal["fullft", "adapter"]
FormatName = Literal["classification", "tagging", "span", "choice", "retrieval", "ranking", "mining", "mlm"]
StartName = Literal["cold", "warm", "stack", "fuse"]
Pooling = Literal["mean_no_special", "mean", "cls"]
Decision = Literal["text", "few_shot", "learned"]  # how the weights of a combination are found

UNHASHED = "unhashed"
SOURCE_LANGUAGE = "en"  # of all labels that anything is trained on
RETRIEVAL_FORMATS: tuple[FormatName, ...] = ("retrieval", "ranking", "mining")
POOL = "pool"  # in the place of a language: rows that all languages of the split share, such as ranked candidates


def unhashed(default: Any = ...) -> Any:
    """Declare a dataclass field that does not take part in the key."""
    metadata = {UNHASHED: True}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


# ------------------------------------------------------------------------------------------------------- examples


@dataclass(frozen=True, slots=True)
class TextPair:
    """Input of a classification example: one text, or a pair (premise, hypothesis).

    In the training rows of a retrieval task: a query, and the candidate that answers it.
    """

    first: str
    second: str | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Input of a tagging example: the words of one sentence."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """Input of a span example: a question about a context."""

    question: str
    context: str


@dataclass(frozen=True, slots=True)
class Choices:
    """Input of a multiple-choice example: a prompt (may be empty) and its options."""

    prompt: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """Input of a retrieval example.

    A query is compared with the candidates of its language (retrieval, mining) or of all languages (ranking).
    """

    text: str
    role: Literal["query", "candidate"]


@dataclass(frozen=True, slots=True)
class Answers:
    """Gold of a span example: answer texts and their character offsets in the context; both empty = unanswerable."""

    texts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()


Fields = TextPair | Words | Passage | Choices | Sentence
Gold = str | int | tuple[str, ...] | Answers | None


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a task.

    Attributes:
        item_id: equal for translations of one item; unique within (language, role).
        language: ISO 639 code of the row (for retrieval: of the non-English side).
        cluster: the largest block that shares text or a translation source; the unit of resampling.
        fields: the input; its type is the task's format.
        gold: label (classification), tags (tagging), answers (span), index of the option (choice), or None where there
            is none. Never a fake label. Of a query: the ``item_id`` of its candidate (retrieval), the
            ``candidate_key`` of every relevant one (ranking), the ``item_id`` of every translation, possibly none
            (mining). Of a pair that retrieval is trained on: the ``item_id`` of the candidate.
    """

    item_id: str
    language: str
    cluster: str
    fields: Fields
    gold: Gold


def is_candidate(example: Example) -> bool:
    """Whether an example is there to be found, and has no gold of its own."""
    return isinstance(example.fields, Sentence) and example.fields.role == "candidate"


def candidate_key(candidate: Example) -> str:
    """Name of a candidate in the pool of a ranking task, where several languages may share an ``item_id``."""
    return f"{candidate.item_id}|{candidate.language}"


# ---------------------------------------------------------------------------------------------------------- tasks

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a hub data set that become one (split, language) of a task, or a part of it.

    Attributes:
        rows: number of rows of the hub's copy; None = not known, then only non-emptiness is checked.
        columns: the columns ``read`` uses, where they are not those of ``HubData.columns``.
    """

    split: Split
    language: str
    repo: str
    config: str
    hub_split: str
    revision: str
    rows: int | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HubData:
    """Data that lies on the hub, or in a local mirror of it.

    Attributes:
        columns: the columns ``read`` uses, unless the part names others; their presence is checked before the first
            row is read.
        read: (row, part, row number) → the Examples of that row; an empty tuple is a declared drop.
    """

    parts: tuple[Part, ...]
    columns: tuple[str, ...]
    read: Callable[[Row, Part, int], tuple[Example, ...]]


@dataclass(frozen=True, slots=True)
class UserPart:
    """Files of the user's that become one (split, language) of a task, or a part of it.

    Attributes:
        pattern: glob below the directory of the user's files (``--files``); by convention ``<task or corpus>/…``.
        rows: expected number of Examples; None = not known, then only non-emptiness is checked.
    """

    split: Split
    language: str
    pattern: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class UserData:
    """Data that only the user can supply: licensed, or not on the hub.

    Attributes:
        obtain: where the files come from and what to put where; shown when they are not there.
        read: (file, part) → its Examples, in order. A ``ValueError`` says what is wrong with the file, and where.
        fields: part of an Example → what its source is called in the files, for messages.
    """

    parts: tuple[UserPart, ...]
    obtain: str
    read: Callable[[Path, UserPart], Iterable[Example]]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GeneratedData:
    """Data that the project makes itself, deterministically: (split, language) → Examples."""

    splits: Mapping[Split, tuple[str, ...]]
    examples: Callable[[Split, str], Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Task:
    """A data set, its label space, format and metric. Intermediate and target tasks are the same type.

    A task without training rows is predicted straight from any trained encoder.

    Attributes:
        name: file name in ``tasks/``.
        version: raised by hand when the rows or the scoring change; part of the key.
        format: file name in ``formats/``.
        metric: file name in ``metrics/``.
        labels: label space in the order of the head's outputs; empty for span, choice and retrieval.
        no_answer: span tasks: whether a question may have no answer (SQuAD 2.0), so that none may be predicted.
        caveat: what every reader of a score on this task must know; shown wherever the task is used. Empty = nothing.
        overlaps: task → what its data shares with this task's, test rows or training rows; shown wherever the other is
            trained before this one.
        parallel: whether the test rows of all languages are translations of each other: the same items in each.
        cluster: what one cluster is, in words, for the report.
    """

    name: str
    version: int
    format: FormatName
    metric: str
    data: HubData | UserData | GeneratedData
    labels: tuple[str, ...] = ()
    no_answer: bool = False
    caveat: str = ""
    overlaps: Mapping[str, str] = field(default_factory=dict)
    parallel: bool = False
    cluster: str = "example"
    licence: str = ""
    citation: str = ""

    def languages(self, split: Split) -> tuple[str, ...]:
        """Languages the task declares for a split, in declared order."""
        if isinstance(self.data, GeneratedData):
            return self.data.splits.get(split, ())
        return unique(part.language for part in self.data.parts if part.split == split and part.language != POOL)

    @property
    def trained(self) -> bool:
        """Whether the task has training rows; if not, it is predicted straight from an encoder."""
        return bool(self.languages("train"))

    @property
    def retrieves(self) -> bool:
        """Whether queries are searched for among candidates, by vectors of one hidden layer."""
        return self.format in RETRIEVAL_FORMATS


def unique(values: Iterable[T]) -> tuple[T, ...]:
    """Distinct values in the order of their first appearance."""
    return tuple(dict.fromkeys(values))


# --------------------------------------------------------------------------------------------------- TOML values


class Value(BaseModel):
    """Base of everything that is written in TOML: closed, frozen, nothing coerced silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Recipe(Value):
    """How one training runs.

    In the key: everything but ``gradient_checkpointing``, which computes the same bits in another order of memory.
    ``micro_batch`` counts because every forward pass draws its own dropout, ``threads`` because sums round differently.
    """

    epochs: int = Field(ge=1)
    batch: int = Field(default=32, ge=1, description="examples per optimiser step")
    lr: float = Field(gt=0, description="peak learning rate")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int = Field(default=128, ge=8, description="tokens")
    doc_stride: int = Field(default=64, ge=1, description="tokens shared by neighbouring windows of a long context")
    precision: Literal["auto", "fp32", "bf16"] = Field(default="auto", description="auto = bf16 where a GPU has it")
    train_examples: int | None = Field(default=None, ge=1, description="a nested subset in hash order; absent = all")
    dev_examples: int | None = Field(default=None, ge=1)
    evaluations: int = Field(default=0, ge=0, description="dev evaluations, evenly spaced; 0 = one per epoch")
    patience: int | None = Field(default=None, ge=1, description="evaluations without gain before stopping")
    micro_batch: int | None = Field(default=None, ge=1, description="examples per forward pass; absent = batch")
    gradient_checkpointing: bool = False
    threads: int = Field(default=1, ge=1, description="CPU threads of one training; fixed, so that bits repeat")

    @classmethod
    def unhashed_fields(cls) -> frozenset[str]:
        """Names of the fields that stay out of the key."""
        return frozenset({"gradient_checkpointing"})


class Sampling(Value):
    """How often each task of a mixture gives a batch; ``n`` counts its training rows, each window of a long context.

    ``proportional``: p ∝ n; ``temperature``: p ∝ n^(1/temperature); ``capped``: p ∝ min(n, cap); ``uniform``: equal.
    """

    kind: Literal["proportional", "temperature", "capped", "uniform"]
    temperature: float | None = Field(default=None, ge=1)
    cap: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _is_complete(self) -> Sampling:
        for name, kind in (("temperature", "temperature"), ("cap", "capped")):
            if (getattr(self, name) is not None) != (self.kind == kind):
                raise ValueError(f"{name} belongs to kind = {kind!r}, and that kind needs it")
        return self


class AdapterConfig(Value):
    """The shape of the trainable part: a kind (file name in ``methods/``) and its options, validated by that file."""

    kind: str
    options: dict[str, bool | int | float | str | tuple[str | int, ...]] = Field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen pre-trained encoder.

    Attributes:
        fingerprint: sha256 over weights, configuration and tokenizer files.
        layers: number of transformer layers.
        positions: most tokens of a sequence, special ones included.
        name: how the user called it.
        path: directory with ``config.json``, ``model.safetensors`` and the tokenizer.
    """

    fingerprint: str
    layers: int
    positions: int = unhashed()
    name: str = unhashed()
    path: str = unhashed()


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task as a step refers to it.

    Attributes:
        version: of the task.
        metric: name and version of the metric; it decides which weights are best on dev, and what is stored.
        fingerprint: of the rows the step will read.
        language: language of the user's translation of the training rows; None = as published.
    """

    name: str
    version: int
    metric: str
    fingerprint: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Mixture:
    """Tasks that are trained jointly with a training's own task, each with a head of its own."""

    also: tuple[TaskData, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Cold:
    """Start from the backbone alone."""


@dataclass(frozen=True, slots=True)
class Warm:
    """Continue the weights of an earlier module (full-FT STILTs; for adapters, a copy that keeps training)."""

    source: Source


@dataclass(frozen=True, slots=True)
class Stack:
    """Freeze earlier modules underneath a new one; the first source lies at the bottom."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Fuse:
    """Freeze earlier modules side by side and learn attention over them (AdapterFusion; arXiv 2005.00247, §3).

    Attributes:
        sources: what is fused; modules below them are shared by all.
        on_top: whether a new module is trained above the fusion, too.
        regularisation: weight of the squared distance of the value matrices from the identity.
    """

    sources: tuple[Source, ...]
    on_top: bool
    regularisation: float


Start = Cold | Warm | Stack | Fuse


@dataclass(frozen=True, slots=True)
class Import:
    """Take a published module into the store, as a bundle like any other.

    Attributes:
        method: its shape, in our terms.
        fingerprint: of its tensors in our terms; what it is called and where it lies do not count.
        language: ISO 639 code of a language adapter; None = not one.
        source: how the user called it: a directory, or a hub id ``org/name`` with ``@revision``.
        path: the directory it was found in.
    """

    backbone: Backbone
    method: AdapterConfig
    fingerprint: str
    language: str | None = unhashed(default=None)
    source: str = unhashed(default="")
    path: str = unhashed(default="")


@dataclass(frozen=True, slots=True)
class Combine:
    """Make one module out of several, without gradients.

    All sources share what lies below their topmost modules, and only those are combined. The head is that of the first
    source, if it has one; where all sources were trained on the same tasks it is averaged with the same weights.

    Attributes:
        merge: how the weights are combined: a kind (file name in ``merges/``) and its options.
        method: the shape of the result.
        weights: one for each source; None = ``decided`` says how they are found.
        decided: ``text``: the source whose training text is nearest to the target's; ``few_shot``: the one from which a
            short training on the target gives the best dev score; ``learned``: weights that give the target's dev rows
            the lowest loss, by gradient-free search.
        task: the target whose rows decide.
        recipe: how its rows are encoded, and of ``learned`` how many of them count.
        proxies: the short trainings of ``few_shot``, in the order of the sources.
    """

    backbone: Backbone
    sources: tuple[Source, ...]
    merge: AdapterConfig
    method: AdapterConfig
    seed: int
    weights: tuple[float, ...] | None = None
    decided: Decision | None = None
    task: TaskData | None = None
    recipe: Recipe | None = None
    proxies: tuple[Train, ...] | None = None


@dataclass(frozen=True, slots=True)
class Train:
    """Train one task on English, or a mixture of tasks, from a start, with one method, recipe and seed.

    Attributes:
        task: the task; of a mixture the first one.
        mixture: the other tasks; None = ``task`` alone.
    """

    backbone: Backbone
    task: TaskData
    method: AdapterConfig
    start: Start
    recipe: Recipe
    seed: int
    mixture: Mixture | None = None

    @property
    def tasks(self) -> tuple[TaskData, ...]:
        """Every task that is trained, the first one first."""
        return (self.task, *(self.mixture.also if self.mixture else ()))


Source = Train | Import | Combine  # what leaves a module behind


@dataclass(frozen=True, slots=True)
class Swap:
    """Which module takes the place of a language adapter in which test language (MAD-X; arXiv 2005.00052, §3).

    Attributes:
        out: the module that the model was trained on.
        by: (language, module) for every language of the prediction.
    """

    out: Source
    by: tuple[tuple[str, Source], ...]


@dataclass(frozen=True, slots=True)
class Predict:
    """Predict one split of a task, in all of its languages, with a trained model or the bare backbone.

    Attributes:
        model: for retrieval any module (its head is not used) or a Backbone; otherwise one with a head of the task.
        layer: hidden layer that is pooled, for retrieval without training; None = the last one.
        pooling: how its states become one vector: ``mean`` over all tokens, ``mean_no_special`` without ``<s>`` and
            ``</s>``, or ``cls``, the state of ``<s>``; None = ``mean_no_special``. For retrieval only.
        calibration: split on which a threshold is chosen, with the same model; the task's fingerprint covers its rows.
        swap: language adapters that are exchanged; None = the model is the same in all languages.
    """

    model: Source | Backbone
    task: TaskData
    split: Split
    languages: tuple[str, ...]
    max_length: int
    doc_stride: int
    precision: Literal["fp32", "bf16"]
    layer: int | None = None
    threads: int = 1
    pooling: Pooling | None = None
    calibration: Split | None = None
    swap: Swap | None = None

    @property
    def backbone(self) -> Backbone:
        """The encoder underneath."""
        return self.model if isinstance(self.model, Backbone) else self.model.backbone


Step = Train | Import | Combine | Predict
