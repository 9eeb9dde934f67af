"""A study as its TOML file spells it: systems × intermediate tasks × target tasks × seeds, and what is compared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from xstilts.errors import fail
from xstilts.spec import SOURCE_LANGUAGE, Decision, Mode, Pooling, Sampling, Value, unique

StudyStart = Literal["cold", "warm", "stack", "fuse", "merge"]
POOLED = " & "  # between the names of intermediates that one system uses at once
OTHER = "other"  # in the place of a language
LANGUAGE = r"^[a-z]{2,3}(_[A-Z][a-z]{3})?$"
NAME = r"^[A-Za-z0-9_+-]+$"  # of what stands among the intermediates


class FuseTable(Value):
    """How a system fuses its intermediates; see ``spec.Fuse``."""

    on_top: bool = True
    regularisation: float = Field(default=0.01, ge=0)


class MergeTable(Value):
    """How a system makes one module of its intermediates; see ``spec.Combine``.

    Attributes:
        kind: file stem in ``merges/``.
        options: of that kind.
        weights: one for each intermediate; absent = all the same, summing to 1, unless they are decided. In a
            ``direct`` merge they stand beside ``own``.
        decide: how the weights are found instead.
        into: what becomes of the merged module: the target goes on with it (``warm``), is stacked on it (``stack``), or
            is predicted with it and the target's own module, merged into one (``direct``).
        own: weight of the target's own module in a ``direct`` merge with given weights; absent = 1.
        proxy: what differs from the target's recipe in the short trainings of ``few_shot``.
    """

    kind: str = "linear"
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    weights: tuple[float, ...] | None = None
    decide: Decision | None = None
    into: Literal["warm", "stack", "direct"] = "stack"
    own: float | None = None
    proxy: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> MergeTable:
        if self.decide is not None and self.weights is not None:
            raise ValueError("weights are either given or decided")
        if (self.decide in ("text", "few_shot")) != (self.kind == "select"):
            raise ValueError("decide = 'text' or 'few_shot' chooses one module, and needs kind = 'select'")
        if self.decide == "learned" and self.into != "direct":
            raise ValueError("decide = 'learned' weighs the target's own module too, and needs into = 'direct'")
        if self.decide in ("text", "few_shot") and self.into == "direct":
            raise ValueError("a module that is chosen has no head of the target; into = 'warm' or 'stack'")
        if self.proxy and self.decide != "few_shot":
            raise ValueError("proxy belongs to decide = 'few_shot'")
        if self.own is not None and (self.into != "direct" or self.decide is not None):
            raise ValueError("own belongs to into = 'direct' with weights that are given")
        return self


class System(Value):
    """One named way of training: a row of the result table.

    Attributes:
        adapter: file stem in ``adapter_configs/``.
        start: how targets start; with ``cold`` the system has no intermediate task, with ``warm`` and ``stack`` one at
            a time, with ``fuse`` and ``merge`` all of them at once.
        intermediates: those of the study that this system uses; empty = all.
        fuse: only with ``start = "fuse"``.
        merge: only with ``start = "merge"``.
        language_modules: language → published module (``[module.*]``) that lies under everything else when that
            language is predicted; English's lies there in training. ``other`` stands for languages not named.
        recipe: what differs from the study's recipe for this system.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    label: str
    mode: Mode
    adapter: str
    start: StudyStart
    intermediates: tuple[str, ...] = ()
    fuse: FuseTable | None = None
    merge: MergeTable | None = None
    language_modules: dict[str, str] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)

    @property
    def fusing(self) -> FuseTable:
        """How it fuses; the defaults where the study says nothing."""
        return self.fuse or FuseTable()

    @property
    def merging(self) -> MergeTable:
        """How it merges; the defaults where the study says nothing."""
        return self.merge or MergeTable()

    @property
    def pools(self) -> bool:
        """Whether all intermediates are used at once."""
        return self.start in ("fuse", "merge")

    @model_validator(mode="after")
    def _has_what_its_start_needs(self) -> System:
        for name, table in (("fuse", self.fuse), ("merge", self.merge)):
            if table is not None and self.start != name:
                raise ValueError(f"the table {name!r} belongs to start = {name!r}")
        if self.start == "cold" and self.intermediates:
            raise ValueError("start = 'cold' has no intermediates")
        if self.language_modules and SOURCE_LANGUAGE not in self.language_modules:
            raise ValueError(f"language_modules needs {SOURCE_LANGUAGE!r}, under which everything is trained")
        return self


class ChainTable(Value):
    """Tasks that are trained one after the other, each from the one before; its name stands among the intermediates.

    How each starts from the one before is the system's own start; fused or merged, a chain is one stack.
    """

    name: str = Field(pattern=NAME)
    tasks: tuple[str, ...] = Field(min_length=2)


class ModuleTable(Value):
    """A published module; its name stands among the intermediates, or in a system's ``language_modules``.

    Attributes:
        source: a directory, or a hub id ``org/name`` or ``org/name@revision``.
    """

    source: str


class MixtureTable(Value):
    """Tasks that one training learns jointly, a head for each; its name stands among the intermediate tasks.

    With the task ``mlm`` among them it is intermediate training with masked language modelling mixed in.

    Attributes:
        tasks: the first one names the training's metric and labels in the result.
        sampling: how often each task's batches are drawn.
    """

    name: str = Field(pattern=NAME)
    tasks: tuple[str, ...] = Field(min_length=2)
    sampling: Sampling = Field(default_factory=lambda: Sampling(kind="proportional"))


class Comparison(Value):
    """Two systems of a study that are compared, candidate minus reference.

    With an intermediate task on both sides the same one is compared; with one only on the candidate's side it is
    compared with the reference without.

    Attributes:
        seeds: ``paired`` only where replicates truly share a random object; otherwise ``unpaired``.
    """

    name: str
    candidate: str
    reference: str
    seeds: Literal["paired", "unpaired"] = "unpaired"


class Study(Value):
    """A question: systems × intermediate tasks × target tasks × seeds.

    Recipes are layered, later wins: ``recipe.common``, ``recipe.<role>``, ``task_recipe.<task>``, the system's own.

    Attributes:
        intermediates: tasks, mixtures, chains and published modules.
        intermediate_language: ``en``, or the language of the user's translations that intermediates are trained on.
        preliminary: target → task that every system trains right before it, the direct one too; a target without
            training rows is then predicted from that training. XTREME-R's protocol has two: Social IQa before COPA, and
            SQuAD before Tatoeba.
        subsets: tasks whose training and dev files are declared to hold only a part of the published rows.
        languages: of the predictions; empty = all that a target has.
        pooling: of retrieval; see ``spec.Predict``.
        source_seeds: ``paired`` = seed s builds on intermediates of seed s; ``fixed`` = all build on the first seed's.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    title: str
    note: str = ""
    backbone: str = "mini"
    seeds: tuple[int, ...] = Field(min_length=1)
    source_seeds: Literal["paired", "fixed"] = "paired"
    intermediates: tuple[str, ...] = ()
    intermediate_language: str = Field(default="en", pattern=LANGUAGE)
    mixture: tuple[MixtureTable, ...] = ()
    chain: tuple[ChainTable, ...] = ()
    module: dict[Annotated[str, Field(pattern=NAME)], ModuleTable] = Field(default_factory=dict)
    targets: tuple[str, ...] = Field(min_length=1)
    preliminary: dict[str, str] = Field(default_factory=dict)
    subsets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    retrieval_layer: int | None = None
    pooling: Pooling | None = None
    recipe: dict[Literal["common", "intermediate", "target"], dict[str, Any]]
    task_recipe: dict[str, dict[str, Any]] = Field(default_factory=dict)
    system: tuple[System, ...] = Field(min_length=1)
    comparison: tuple[Comparison, ...] = ()

    def members(self, intermediate: str) -> tuple[str, ...]:
        """The tasks behind the name of an intermediate: of a mixture, a chain, several at once, or the one task itself.

        None is known of a published module.
        """
        if POOLED in intermediate:
            return unique(task for name in intermediate.split(POOLED) for task in self.members(name))
        if intermediate in self.module:
            return ()
        tables: tuple[MixtureTable | ChainTable, ...] = (*self.mixture, *self.chain)
        return next((each.tasks for each in tables if each.name == intermediate), (intermediate,))

    def trained_for(self, intermediate: str) -> tuple[str, ...]:
        """The trainings behind the name of an intermediate, as their recipes are named: of a chain each link."""
        if intermediate in self.module:
            return ()
        return next((each.tasks for each in self.chain if each.name == intermediate), (intermediate,))

    def used_by(self, system: System) -> tuple[str | None, ...]:
        """The intermediates of a system's cells, as the result names them: None without, all in one if pooled."""
        if system.start == "cold":
            return (None,)
        names = system.intermediates or self.intermediates
        return (POOLED.join(names),) if system.pools else names

    def translated(self, language: str) -> Study:
        """The study with its intermediates trained on the user's translations, under a name of its own.

        Raises:
            XstiltsError: not a code of a language.
        """
        if not re.fullmatch(LANGUAGE, language):
            raise fail("--lang", "not an ISO 639 code in lower case, such as de or swh", language)
        if language == self.intermediate_language:
            return self
        return self.model_copy(update={"intermediate_language": language, "name": f"{self.name}_{language}"})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task that the study trains or predicts, each once."""
        intermediates = (name for each in self.intermediates for name in self.members(each))
        return unique((*intermediates, *self.preliminary.values(), *self.targets))
