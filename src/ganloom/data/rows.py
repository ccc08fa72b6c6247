"""An .npy file that grows row by row, so that what was written before a crash is kept."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "row_kind"]


class Rows:
    """Appends rows of one shape and type. numpy pads its headers so that the number of rows can be set at the end."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], count: int = 0) -> None:
        """Go on after `count` rows of what is there. Raises `OSError` or `ValueError` where there are fewer."""
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.count = count
        self._file = open(path, "r+b" if count else "w+b")
        if count:
            try:
                self._go_on()
            except BaseException:
                self._file.close()
                raise
        else:
            self._write_header()

    def _go_on(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        if row_kind(self.path) != (self.shape, self.dtype):
            raise ValueError(f"{self.path} is not what was begun")
        self._write_header()  # it may have promised more
        stop = self._file.tell() + self.count * self._row_bytes
        if size < stop:
            raise ValueError(f"{self.path} is shorter than what was begun")
        self._file.seek(stop)
        self._file.truncate()

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def append(self, row: NDArray[Any] | np.generic) -> None:
        assert row.shape == self.shape
        self._file.write(row.astype(self.dtype, copy=False).tobytes())
        self.count += 1

    def flush(self) -> None:
        """To the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the header with the final number of rows; all of it to the disk."""
        with self._file:  # closed even where the disk is full
            self._write_header()
            self._file.seek(self.count * self._row_bytes, os.SEEK_CUR)
            self._file.truncate()  # an interruption may have come after a row was written and before it was counted
            self.flush()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (self.count, *self.shape)})


def row_kind(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the rows of a file. Raises `OSError` or `ValueError` where it is none of ours."""
    with open(path, "rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{path} is not what was begun")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape[1:], dtype
