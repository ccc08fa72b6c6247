"""An .npy file that grows row by row, so that what was written before a crash is kept."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows"]


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
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            if np.lib.format.read_magic(self._file) != (1, 0):
                raise ValueError(f"{path} is not what was begun")
            found, _, found_dtype = np.lib.format.read_array_header_1_0(self._file)
            stop = self._file.tell() + count * self._row_bytes
            if found[1:] != shape or found_dtype != dtype or size < stop:
                raise ValueError(f"{path} is not what was begun")
            self._file.truncate(stop)
            self._file.seek(stop)
        else:
            self._write_header()

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
        end = self._file.tell()
        self._write_header()
        assert end == self._file.tell() + self.count * self._row_bytes, "the header has grown"
        self.flush()
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": (self.count, *self.shape)})
