"""Which files of a data set repository belong to one (config, split).

A repository on the hub and a mirror of it answer this in the same way: the YAML header of ``README.md`` lists under
``configs:`` the files of every split (https://huggingface.co/docs/hub/datasets-manual-configuration). Where the header
is silent the conventional names below apply. A folder is never read as a whole: without explicit names the files of all
configs, hence of all languages, would silently become one data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError

from xstilts.errors import fail
from xstilts.hub import SHA256_LENGTH, checksum_of, is_checksum

# The header's scalars stay text: a config named ``no`` (Norwegian) must not become False. libyaml's loader is some ten
# times faster, which counts for headers of thousands of lines, but not every build of PyYAML has it.
try:
    from yaml import CBaseLoader as Loader
except ImportError:
    from yaml import BaseLoader as Loader

README = "README.md"
CHECKSUMS = "SHA256SUMS"  # in a mirror: as sha256sum writes it; what it lists is compared when it is read
CONVENTIONS = (
    "{config}/{split}-*.parquet",
    "{config}/{split}.parquet",
    "{config}/{split}/*.parquet",
)
DEFAULT_CONVENTIONS = (*CONVENTIONS, "data/{split}-*.parquet")  # files that name no config belong to this one alone
DEFAULT_CONFIG = "default"
SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(-\w+)?\.\w+")


class _Files(BaseModel):
    split: str
    path: str | list[str]


class _Config(BaseModel):
    config_name: str = DEFAULT_CONFIG
    data_files: list[_Files] | list[str] | str = []


class _SplitInfo(BaseModel):
    name: str
    num_examples: int | None = None


class _Info(BaseModel):
    config_name: str = DEFAULT_CONFIG
    splits: list[_SplitInfo] = []


class _Header(BaseModel):
    configs: list[_Config] = []
    dataset_info: list[_Info] | _Info = []


@dataclass(frozen=True)
class Repository:
    """A folder that holds files of one data set repository.

    Attributes:
        names: paths of its files, relative to the folder, sorted.
        configs: config → split → patterns, as the header lists them.
        counts: (config, split) → number of rows, as the header states them.
        checksums: name → sha256 of its content, as the mirror's ``SHA256SUMS`` lists it; a file may be missing there.
    """

    folder: Path
    names: tuple[str, ...]
    configs: Mapping[str, Mapping[str, tuple[str, ...]]]
    counts: Mapping[tuple[str, str], int]
    checksums: Mapping[str, str] = field(default_factory=dict)

    def patterns(self, config: str, split: str) -> tuple[tuple[str, ...], ...]:
        """Return alternatives, best first; the patterns of one alternative together make up the split.

        Raises:
            XstiltsError: the header lists other configs, or other splits of this config.
        """
        readme = str(self.folder / README)
        if self.configs and config not in self.configs:
            raise fail(readme, "no such config", config, self.configs)
        listed = self.configs.get(config, {})
        if listed and split not in listed:
            raise fail(readme, f"config {config!r} has no such split", split, listed)
        if listed:
            return (listed[split],)
        names = DEFAULT_CONVENTIONS if config == DEFAULT_CONFIG else CONVENTIONS
        return tuple((name.format(config=config, split=split),) for name in names)

    def data_files(self, config: str, split: str) -> tuple[Path, ...]:
        """Return the files of a split in the order of their names.

        Raises:
            XstiltsError: unknown config or split, a pattern that no file matches, or a shard that is missing.
        """
        alternatives = self.patterns(config, split)
        for patterns in alternatives:
            found = [name for name in self.names if any(_matches(name, pattern) for pattern in patterns)]
            unmatched = [pattern for pattern in patterns if not any(_matches(name, pattern) for name in found)]
            if found and unmatched:
                raise fail(str(self.folder), "files are missing", ", ".join(unmatched))
            if found:
                self._check_shards(found)
                return tuple(self.folder / name for name in found)
        looked_for = " or ".join(pattern for patterns in alternatives for pattern in patterns)
        raise fail(str(self.folder), f"no file of config {config!r}, split {split!r}", looked_for, self.names)

    def check_content(self, file: Path) -> None:
        """Compare a file with the mirror's checksum of it, if there is one.

        Raises:
            XstiltsError: it is not the file that was put there.
        """
        expected = self.checksums.get(file.relative_to(self.folder).as_posix())
        if expected is not None and checksum_of(file, SHA256_LENGTH) != expected:
            raise fail(str(file), f"the file is damaged or changed: its checksum is not the one in {CHECKSUMS}")

    def _check_shards(self, found: Iterable[str]) -> None:
        shards = [match for match in map(SHARD.fullmatch, found) if match]
        here = {(shard["stem"], int(shard["number"])) for shard in shards}
        wanted = {(shard["stem"], number) for shard in shards for number in range(int(shard["total"]))}
        if wanted - here:
            missing = ", ".join(f"{stem}-{number:05d}" for stem, number in sorted(wanted - here))
            raise fail(str(self.folder), "files are missing", missing)


def read_repository(folder: Path) -> Repository:
    """List a folder and read its header.

    Raises:
        XstiltsError: the header is not the YAML it should be, or the checksums are not those of ``sha256sum``.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = tuple(sorted(path.as_posix() for path in paths if not path.parts[0].startswith(".")))
    header = _header(folder / README) if README in names else _Header()
    infos = header.dataset_info if isinstance(header.dataset_info, list) else [header.dataset_info]
    return Repository(
        folder=folder,
        names=tuple(name for name in names if name not in (README, CHECKSUMS)),
        configs={config.config_name: _splits(config) for config in header.configs},
        counts={
            (info.config_name, split.name): split.num_examples
            for info in infos
            for split in info.splits
            if split.num_examples is not None
        },
        checksums=read_checksums(folder),
    )


def read_checksums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS`` of a folder: name → sha256; empty if there is none.

    Raises:
        XstiltsError: a line that is not as ``sha256sum`` writes it.
    """
    path = folder / CHECKSUMS
    found: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines() if path.is_file() else (), 1):
        if not line.strip() or line.startswith("#"):
            continue
        checksum, _, name = line.partition(" ")
        if len(checksum) != SHA256_LENGTH or not is_checksum(checksum) or not name[1:]:
            raise fail(f"{path}: line {number}", "not '<sha256>  <file>'", line[:80])
        found[name[1:].removeprefix("./")] = checksum  # the second character is a space, or * for binary
    return found


def _text(path: Path) -> str:
    """Content of a small text file; a byte order mark at its start is no part of it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(str(path), f"is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _header(readme: Path) -> _Header:
    """Parse what stands between the first two ``---`` lines."""
    lines = _text(readme).splitlines()
    if not lines or lines[0].strip() != "---":
        return _Header()
    end = next((number for number, line in enumerate(lines[1:], 1) if line.strip() == "---"), len(lines))
    try:
        return _Header.model_validate(yaml.load("\n".join(lines[1:end]), Loader=Loader) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise fail(str(readme), f"the header cannot be read: {' '.join(str(error).split())[:200]}") from error


def _splits(config: _Config) -> dict[str, tuple[str, ...]]:
    listed: dict[str, tuple[str, ...]] = {}
    for files in config.data_files:
        if isinstance(files, _Files):
            paths = (files.path,) if isinstance(files.path, str) else tuple(files.path)
            listed[files.split] = (*listed.get(files.split, ()), *paths)
    return listed


def _matches(name: str, pattern: str) -> bool:
    """Glob as the hub does: ``*`` stays within a folder, ``**/`` is any depth."""
    if "**" in pattern:
        return fnmatchcase(name, pattern.replace("**/", "*"))
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
