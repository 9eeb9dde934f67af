"""A study as its TOML file spells it: systems × intermediate tasks × target tasks × seeds, and what is compared."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from xstilts.errors import fail
from xstilts.spec import Mode, Pooling, Sampling, StartName, Value, unique

LANGUAGE = r"^[a-z]{2,3}(_[A-Z][a-z]{3})?$"


class System(Value):
    """One named way of training: a row of the result table.

    Attributes:
        adapter: file stem in ``adapter_configs/``.
        start: how targets start; with ``cold`` the system has no intermediate task.
        recipe: what differs from the study's recipe for this system.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    label: str
    mode: Mode
    adapter: str
    start: StartName
    recipe: dict[str, Any] = Field(default_factory=dict)


class MixtureTable(Value):
    """Tasks that one training learns jointly, a head for each; its name stands among the intermediate tasks.

    With the task ``mlm`` among them it is intermediate training with masked language modelling mixed in.

    Attributes:
        tasks: the first one names the training's metric and labels in the result.
        sampling: how often each task's batches are drawn.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_+-]+$")
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
        intermediates: tasks and mixtures.
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
        """The tasks behind the name of an intermediate: those of a mixture, or the one task itself."""
        return next((each.tasks for each in self.mixture if each.name == intermediate), (intermediate,))

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
