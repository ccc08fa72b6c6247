"""A file of rows under a memory map, watched: what was changed under a map would be read as if nothing had been, and
to read what was cut off would end the process without a word (SIGBUS).
"""

import mmap
import os
import tokenize
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import DataError

__all__ = ["UNREADABLE", "Mapped"]

# What numpy raises for a header that anybody may have written.
UNREADABLE = (
    OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError, MemoryError, RecursionError,
    tokenize.TokenError,
)  # fmt: skip


class Mapped:
    """The rows of an .npy file; no pickle. Raises one of `UNREADABLE` for what is not such a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            # The map's own file is kept, not its name: who deletes the dataset, or puts another in its place, leaves
            # this one as it was.
            self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
            self._opened_as = self._is_as()
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path.name} is in a form that ganloom does not write")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if fortran or dtype.hasobject:
                raise ValueError(f"{path.name} does not hold rows of numbers")
            memory: Any = np.memmap(file, dtype, "r", file.tell(), shape)
        self.rows: NDArray[Any] = np.asarray(memory)  # a plain view: memmap's own indexing is slow
        self.pages: mmap.mmap = memory._mmap

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Copies of some rows. Raises `DataError` if the file is not what it was when it was opened."""
        if self._is_as() != self._opened_as:
            raise DataError(
                f"{self.path} was changed while it was in use. Unless it is again what it was, delete "
                f"{self.path.parent} and prepare it anew; then go on with 'ganloom resume'."
            )
        return self.rows.take(index, axis=0)

    def _is_as(self) -> tuple[int, int]:
        """Its length and the time of its last change: one call to the system, whatever the size."""
        state = os.fstat(self._file)
        return state.st_size, state.st_mtime_ns
