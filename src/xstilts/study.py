"""A study as its TOML file spells it: systems × intermediate tasks × target tasks × seeds, and what is compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from xstilts.spec import Mode, StartName, Value


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
        source_seeds: ``paired`` = seed s builds on intermediates of seed s; ``fixed`` = all build on the first seed's.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    title: str
    note: str = ""
    backbone: str = "mini"
    seeds: tuple[int, ...] = Field(min_length=1)
    source_seeds: Literal["paired", "fixed"] = "paired"
    intermediates: tuple[str, ...] = ()
    targets: tuple[str, ...] = Field(min_length=1)
    languages: tuple[str, ...] = ()
    retrieval_layer: int | None = None
    recipe: dict[Literal["common", "intermediate", "target"], dict[str, Any]]
    task_recipe: dict[str, dict[str, Any]] = Field(default_factory=dict)
    system: tuple[System, ...] = Field(min_length=1)
    comparison: tuple[Comparison, ...] = ()
