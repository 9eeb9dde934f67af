"""Files of a data set repository from the hub, at a pinned revision, through the hub's own client and its cache.

Only named files of a named repository are asked for: ``datasets.load_dataset`` with a bare name would take a local
directory of that name first, and one without explicit files would mix configs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts import hub
from xstilts.data.layout import README, read_repository
from xstilts.errors import Problem, XstiltsError


def folder(repo: str, revision: str, wanted: Sequence[tuple[str, str]]) -> Path:
    """Download the files of some splits and return the folder that holds them.

    Args:
        repo: ``org/name``.
        revision: commit hash; a branch would let the rows change under a study.
        wanted: (config, split) pairs.

    Raises:
        XstiltsError: a config or a split does not exist; see also ``xstilts.hub.snapshot``.
    """
    listing = read_repository(_snapshot(repo, revision, (README,)))
    patterns: list[str] = []
    problems: list[Problem] = []
    for config, split in wanted:
        try:
            alternatives = listing.patterns(config, split)
            patterns += (each.replace("**/", "*") for alternative in alternatives for each in alternative)
        except XstiltsError as error:
            problems += error.problems
    if problems:
        raise XstiltsError(*problems)
    return _snapshot(repo, revision, (README, *patterns))


def _snapshot(repo: str, revision: str, patterns: tuple[str, ...]) -> Path:
    return hub.snapshot("dataset", repo, revision, patterns, instead="--data DIR reads a local mirror")
