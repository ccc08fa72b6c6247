"""An .npy file that grows row by row, so that a crash loses nothing that was written before."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "row_kind"]


class Rows:
    """Appends rows of one shape and type. numpy pads its header, so the number of rows can be filled in at the end."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], count: int = 0) -> None:
        """Continue after the first `count` rows of the file. Raises `OSError` or `ValueError` if it has fewer."""
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.count = count
        self._file = open(path, "r+b" if count else "w+b")
        if count:
            try:
                self._resume()
            except BaseException:
                self._file.close()
                raise
        else:
            self._write_header()

    def _resume(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        if row_kind(self.path) != (self.shape, self.dtype):
            raise ValueError(f"{self.path} has rows of another shape or type")
        self._write_header()  # the old one may state more rows
        stop = self._file.tell() + self.count * self._row_bytes
        if size < stop:
            raise ValueError(f"{self.path} has fewer than {self.count} rows")
        self._file.seek(stop)
        self._file.truncate()

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def append(self, row: NDArray[Any] | np.generic) -> None:
        """Add one row."""
        assert row.shape == self.shape
        self._file.write(row.astype(self.dtype, copy=False).tobytes())
        self.count += 1

    def flush(self) -> None:
        """Write everything to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the header with the final number of rows, and everything to the disk."""
        with self._file:  # close it even if the disk is full
            self._write_header()
            self._file.seek(self.count * self._row_bytes, os.SEEK_CUR)
            self._file.truncate()  # an interruption between writing and counting a row leaves one too many
            self.flush()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (self.count, *self.shape)})


def row_kind(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type of the rows of a file. Raises `OSError` or `ValueError` if `Rows` did not write it."""
    with open(path, "rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{path} is in another version of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape[1:], dtype
