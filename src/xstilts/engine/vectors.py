"""Vectors of a whole split in a file: a million of them would fill the memory of most machines."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np

from xstilts.search import Floats, Rows


class VectorFile:
    """Rows of equal size in a temporary file, in single precision: ``4 · rows · hidden`` bytes.

    Half precision would take half of the disk and make neighbours of a collapsed encoder equal that are not. The file
    has no name: whatever ends the process, nothing is left of it. It is read and written and not mapped, so that its
    pages are the system's and not the process', and a full disk is an error and not a signal.

    Every row is set once, in any order, before rows are read as ``search.Vectors``.
    """

    def __init__(self, rows: int, directory: Path | None) -> None:
        """Open the file.

        Args:
            rows: their number.
            directory: on the disk that has room; None = the system's temporary directory.
        """
        self._rows = rows
        self._hidden = 0  # what the first row has
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  closed by ``__exit__``

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._rows

    def __setitem__(self, row: int, vector: Floats) -> None:
        self._hidden = len(vector)
        self._file.seek(row * vector.nbytes)
        self._file.write(vector.data)

    def __getitem__(self, rows: slice | Rows, /) -> Floats:
        wanted = np.arange(*rows.indices(self._rows)) if isinstance(rows, slice) else rows
        found = np.empty((len(wanted), self._hidden), np.float32)
        starts = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)  # neighbours are read together
        for start, end in pairwise([*starts.tolist(), len(wanted)]):
            self._file.seek(int(wanted[start]) * self._hidden * found.itemsize)
            self._file.readinto(found[start:end].data)
        return found
