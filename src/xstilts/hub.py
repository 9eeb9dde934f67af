"""The hub's own client behind one door: every failure is one clear error, every file is what the hub says it is.

The client checks the size of a download, not its content. The hub names the content of every file by a checksum (sha256
of large files, git's own sha1 of small ones), and the client's cache keeps each file under that name, so that it can be
checked without asking again, offline too.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from xstilts.errors import Problem, XstiltsError, fail
from xstilts.files import sha256

Kind = Literal["model", "dataset"]

HEX = frozenset("0123456789abcdef")
UNAUTHORIZED = 401  # what the hub answers to a stranger for a private repository, and for one that does not exist
GIT_LENGTH, SHA256_LENGTH = 40, 64  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one revision.

    Attributes:
        commit: hash of the revision.
        checksums: file → the hub's checksum of its content, as ``checksum_of`` computes it.
    """

    commit: str
    checksums: Mapping[str, str]


def snapshot(kind: Kind, repo: str, revision: str | None, patterns: Sequence[str], instead: str) -> Path:
    """Download files of a repository into the client's cache, or find them there, and check their content.

    A file that is not what the hub says it is leaves the cache, so that the next run downloads it again.

    Args:
        kind: of the repository.
        repo: ``org/name``.
        revision: commit, branch or tag; None = the main branch.
        patterns: globs of the files; ``*`` crosses folders.
        instead: what else the user can do, for the message.

    Returns:
        The folder that holds them; it may hold others, too. Without a network it holds what was downloaded before.

    Raises:
        XstiltsError: no such repository or revision, no access, no connection, a download that breaks off, a file
            whose content is not the hub's.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    where = _where(repo, revision)
    _mind_the_screen()
    try:
        folder = Path(snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=list(patterns)))
    except (OSError, RuntimeError, HFValidationError) as error:  # what the client and its transfer library raise
        _forget_overlong(kind, repo, error)
        raise fail(where, f"cannot be downloaded ({instead}): {_reason(error)}") from error
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {file: file.relative_to(folder).as_posix() for file in files}
    _check_cached(where, [file for file in files if any(fnmatchcase(names[file], pattern) for pattern in patterns)])
    return folder


def listing(kind: Kind, repo: str, revision: str | None) -> Listing:
    """Ask the hub which files a repository holds at a revision.

    Raises:
        XstiltsError: no such repository or revision, no access, no connection, a file name that leads elsewhere.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        info = HfApi().repo_info(repo, repo_type=kind, revision=revision, files_metadata=True)
    except (OSError, HFValidationError) as error:
        raise fail(_where(repo, revision), f"cannot be listed: {_reason(error)}") from error
    files = info.siblings or ()
    strange = [file.rfilename for file in files if not {"", ".", ".."}.isdisjoint(file.rfilename.split("/"))]
    if strange:
        raise fail(_where(repo, revision), "a file name that leads out of the repository", strange[0])
    return Listing(
        str(info.sha), {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in files}
    )


def download(kind: Kind, repo: str, commit: str, name: str, folder: Path) -> None:
    """Download one file to ``folder/name``; what an earlier attempt left is completed. Content is not checked.

    Raises:
        XstiltsError: no access, no connection, a download that breaks off.
    """
    from huggingface_hub import hf_hub_download

    _mind_the_screen()
    try:
        hf_hub_download(repo, name, repo_type=kind, revision=commit, local_dir=folder)
    except (OSError, RuntimeError) as error:
        for partial in folder.glob(".cache/**/*.incomplete") if _is_overlong(error) else ():
            partial.unlink(missing_ok=True)
        raise fail(_where(repo, commit), f"{name} cannot be downloaded: {_reason(error)}") from error


def checksum_of(path: Path, length: int) -> str:
    """Return sha256 of a file's content (``length`` 64), or what git calls it (40); hexadecimal."""
    if length == SHA256_LENGTH:
        return sha256(path)
    header = f"blob {path.stat().st_size}\0".encode()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def is_checksum(text: str) -> bool:
    """Whether a text has the form of one of the hub's checksums."""
    return len(text) in (GIT_LENGTH, SHA256_LENGTH) and set(text) <= HEX


def _mind_the_screen() -> None:
    """Show the client's progress bars only to somebody."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


# --------------------------------------------------------------------------------------------------------- checking


def _check_cached(where: str, files: Sequence[Path]) -> None:
    """Compare files of the cache with the checksums that they are stored under.

    Where the file system has no symbolic links, the cache does not keep the checksum, and nothing is compared.
    """
    stored = {file: file.resolve() for file in files}  # files with the same content are stored once
    wrong = {blob for blob in set(stored.values()) if is_checksum(blob.name) and not _is_content(blob)}
    what = "is not what the hub says it is (wrong checksum) and is deleted; run again to download it"
    problems = [Problem(where, f"{file.name} {what}") for file, blob in stored.items() if blob in wrong]
    for file, blob in stored.items():
        if blob in wrong:
            file.unlink()
            blob.unlink(missing_ok=True)
    if problems:
        raise XstiltsError(*problems)


def _is_content(blob: Path) -> bool:
    return checksum_of(blob, len(blob.name)) == blob.name


def _forget_overlong(kind: Kind, repo: str, error: Exception) -> None:
    """Delete a partial download that cannot be completed; the client would resume it for ever."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    if _is_overlong(error):
        for partial in (Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind)).glob("blobs/*.incomplete"):
            partial.unlink(missing_ok=True)


def _is_overlong(error: Exception) -> bool:
    """Whether a download gave other than the announced number of bytes, or none were left to ask for (status 416)."""
    return "Consistency check failed" in str(error) or getattr(_response(error), "status_code", None) == 416


def _response(error: Exception) -> Any:
    """The hub's answer that an error is about, if there was one."""
    return getattr(error, "response", None)


# --------------------------------------------------------------------------------------------------------- messages


def _where(repo: str, revision: str | None) -> str:
    return f"hub: {repo} at {revision or 'main'}"


def _reason(error: Exception) -> str:
    """Say in one line why the client failed; what it raises tells apart less than what caused it."""
    import requests
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    chain = [error]
    while chain[-1].__cause__ is not None and isinstance(chain[-1].__cause__, Exception):
        chain.append(chain[-1].__cause__)
    if _is_overlong(error):
        return "the download had not the announced number of bytes; it is deleted, run again"
    if any(isinstance(each, OfflineModeIsEnabled) for each in chain):
        return "not in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
    if isinstance(error, GatedRepoError):
        return "the repository is gated; accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN"
    response = next((found for found in map(_response, chain) if found is not None), None)
    if isinstance(error, RepositoryNotFoundError) or (response is not None and response.status_code == UNAUTHORIZED):
        return "no such repository, or a private one; if it is private, log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return "no such revision"
    if any(isinstance(each, requests.ConnectionError | requests.Timeout) for each in chain):
        return "no connection to the hub"
    if response is not None:
        return f"the hub answers {response.status_code} {response.reason}"
    return next((line for each in chain[::-1] for line in str(each).strip().splitlines()), type(error).__name__)
