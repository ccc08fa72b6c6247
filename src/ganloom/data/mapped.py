"""A memory-mapped .npy file that notices when the file is changed while it is in use.

Without this check, changed rows would be read silently, and reading beyond the end of a shortened file would kill the
process without a message (SIGBUS).
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
from ganloom.core.files import FileState, open_regular

__all__ = ["UNREADABLE", "Mapped"]

# What numpy may raise for a damaged or malicious header.
UNREADABLE = (ValueError, EOFError, TypeError, OverflowError, SyntaxError, RecursionError, tokenize.TokenError)


class Mapped:
    """The rows of an .npy file, never with pickle. Raises one of `UNREADABLE` for any other file, and `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_regular(path) as file:
            # Keep the open file, not its name: if the dataset is deleted or replaced, this file is still the old one.
            self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
            self.state = self._state()  # when it was opened
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path.name} is in a format that ganloom does not write")
            try:
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            except MemoryError:  # Python's parser says so; a header has no more than 64 KiB
                raise ValueError(f"the header of {path.name} is nested too deeply") from None
            if fortran or dtype.hasobject:
                raise ValueError(f"{path.name} is not an array of numbers in C order")
            memory: Any = np.memmap(file, dtype, "r", file.tell(), shape)
        self.rows: NDArray[Any] = np.asarray(memory)  # a plain view: memmap's own indexing is slow
        self.pages: mmap.mmap = memory._mmap

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Copies of some rows. Raises `DataError` if the file has changed since it was opened."""
        if self._state() != self.state:
            raise DataError(
                f"{self.path} was changed while it was in use. Restore it, or delete {self.path.parent} and prepare "
                "it again; then continue with 'ganloom resume'."
            )
        return self.rows.take(index, axis=0)

    def _state(self) -> FileState:
        """One system call, for any size."""
        return FileState.of(os.fstat(self._file))
