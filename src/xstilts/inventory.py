"""The data that a study needs: where each task's rows come from, what identifies them, and what cannot be had."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from xstilts.data import Sources
from xstilts.data.findings import Unit
from xstilts.data.identity import identify
from xstilts.data.sources import repositories
from xstilts.errors import Problem, XstiltsError
from xstilts.lineage import inputs
from xstilts.plan import TRAINING_SPLITS
from xstilts.spec import Combine, GeneratedData, HubData, Import, Predict, Split, Step, Task, TaskData, Train, unique
from xstilts.tasks import load_task

MOST_LISTED = 5  # names of what is there instead of what was asked for
ABSENT = ""  # fingerprint of rows that cannot be had: a plan with such a step can be shown, not run


@dataclass
class Inventory:
    """Takes fingerprints of rows, and keeps what is wrong with those that cannot be had.

    Attributes:
        sources: where data comes from.
        directory: where fingerprints are remembered from one run to the next; None = nowhere.
    """

    sources: Sources
    directory: Path | None = None
    _problems: dict[Problem, None] = field(default_factory=dict)
    _lacking: dict[str, None] = field(default_factory=dict)  # tasks
    _known: dict[tuple[object, ...], str] = field(default_factory=dict)

    def fingerprint(
        self, name: str, splits: tuple[Split, ...], languages: tuple[str, ...], translation: str | None
    ) -> str:
        """Hash of the rows of some splits; ``ABSENT`` where they cannot be had, which is noted.

        Args:
            name: of the task.
            splits: in order.
            languages: empty = all that the task declares for a split.
            translation: language of the user's translation of the training rows; None = as published.
        """
        asked = (name, splits, languages, translation)
        if asked not in self._known:
            self._known[asked] = self._take(load_task(name), splits, languages, translation)
        return self._known[asked]

    def _take(self, task: Task, splits: tuple[Split, ...], languages: tuple[str, ...], translation: str | None) -> str:
        try:
            return identify(task, splits, languages, translation, self.sources, self.directory).fingerprint
        except XstiltsError as error:
            self._problems |= dict.fromkeys(map(_short, error.problems))
            if isinstance(task.data, HubData) and _lacks_files(task.data, splits, self.sources):
                self._lacking[task.name] = None
            return ABSENT

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that cannot be had, and how a mirror is completed."""
        if not self._lacking:
            return tuple(self._problems)
        command = f"python experiments/fetch.py --tasks {' '.join(self._lacking)} --out NEW_DIRECTORY"
        what = f"on a machine with network, this makes a mirror that --data can name: {command}"
        return (*self._problems, Problem("--data", what))

    def raise_if_incomplete(self) -> None:
        """Refuse to run a study whose rows are not all there.

        Raises:
            XstiltsError: with everything that cannot be had.
        """
        if self.problems:
            raise XstiltsError(*self.problems)


def _short(problem: Problem) -> Problem:
    """A problem without a long list of what else a mirror holds: of many tasks, each would repeat it."""
    of_a_row = any(f": {unit} " in problem.where for unit in get_args(Unit))
    return problem if of_a_row or len(problem.allowed) <= MOST_LISTED else replace(problem, allowed=())


def _lacks_files(data: HubData, splits: tuple[Split, ...], sources: Sources) -> bool:
    """Whether files of some splits are not where the rows are read from, so that fetching them would help."""
    parts = [part for part in data.parts if part.split in splits]
    try:
        found = repositories(sources, parts)
        for part in parts:
            found[part.repo, part.revision].data_files(part.config, part.hub_split)
    except XstiltsError:
        return True
    return False


def lacks_data(step: Step) -> bool:
    """Whether rows that a step reads, or that a training below it reads, cannot be had."""
    return any(each.fingerprint == ABSENT for each in _task_data(step)) or any(map(lacks_data, inputs(step)))


def origin(step: Step, sources: Sources) -> str:
    """Where the rows of a step come from, in a few words."""
    if isinstance(step, Import):
        return f"published: {step.path}"
    splits = (step.split, step.calibration or step.split) if isinstance(step, Predict) else TRAINING_SPLITS
    return ", ".join(unique(_origin(load_task(each.name), splits, each.language, sources) for each in _task_data(step)))


def _task_data(step: Step) -> tuple[TaskData, ...]:
    """The rows that a step reads itself."""
    if isinstance(step, Train):
        return step.tasks
    if isinstance(step, Predict):
        return (step.task,)
    return (step.task,) if isinstance(step, Combine) and step.task is not None else ()


def _origin(task: Task, splits: tuple[Split, ...], translation: str | None, sources: Sources) -> str:
    if isinstance(task.data, GeneratedData):
        found = "generated"
    elif isinstance(task.data, HubData):
        repos = " ".join(unique(part.repo for part in task.data.parts if part.split in splits))
        found = f"{'mirror' if sources.mirror else 'hub'} {repos}"
    else:
        folders = unique(part.pattern.partition("/")[0] for part in task.data.parts if part.split in splits)
        found = f"your files {' '.join(f'{folder}/' for folder in folders)}"
    return found if translation is None else f"{found}, your files translated/{task.name}/{translation}/"
