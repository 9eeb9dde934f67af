"""Files of a data set repository from the hub, at a pinned revision, through the hub's own client and its cache.

Only named files of a named repository are asked for: ``datasets.load_dataset`` with a bare name would take a local
directory of that name first, and one without explicit files would mix configs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xstilts.data.layout import README, read_repository
from xstilts.errors import Problem, XstiltsError, fail


def folder(repo: str, revision: str, wanted: Sequence[tuple[str, str]]) -> Path:
    """Download the files of some splits and return the folder that holds them.

    Args:
        repo: ``org/name``.
        revision: commit hash; a branch would let the rows change under a study.
        wanted: (config, split) pairs.

    Raises:
        XstiltsError: the repository, revision, a config or a split does not exist, or the hub cannot be reached.
    """
    listing = read_repository(_download(repo, revision, (README,)))
    patterns: list[str] = []
    problems: list[Problem] = []
    for config, split in wanted:
        try:
            patterns += (name for alternative in listing.patterns(config, split) for name in alternative)
        except XstiltsError as error:
            problems += error.problems
    if problems:
        raise XstiltsError(*problems)
    return _download(repo, revision, (README, *patterns))


def _download(repo: str, revision: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=list(patterns)))
    except OSError as error:  # every error of the client is one: HTTP status, no connection, offline mode, full disk
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"cannot be downloaded (--data DIR reads a local mirror instead): {reason}"
        raise fail(f"hub: {repo} at {revision}", what) from error
