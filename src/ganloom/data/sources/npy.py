"""Array files, .npy and .npz: headers, and rows one by one, so that a file may be larger than memory. Never pickle."""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ganloom.core.memory import check_memory

__all__ = ["DAMAGED", "Array", "arrays_in"]

DAMAGED = (
    OSError, ValueError, EOFError, TypeError, AttributeError, OverflowError, NotImplementedError, RuntimeError,
    SyntaxError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What reading a damaged array file may raise."""

MAX_HEADER = 10_000  # bytes; numpy's own limit, which it looks at only after reading


@dataclass(frozen=True)
class Array:
    """An array in a file. Only its header has been read."""

    key: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: Callable[[], Iterator[NDArray[Any]]]  # iterates over the rows
    is_image: bool = False  # the whole array is one image, and its only row

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return self.dtype.itemsize * math.prod(self.shape[1:])

    @property
    def where(self) -> str:
        return f"array '{self.key}' of {self.path}"

    def all(self) -> NDArray[Any]:
        """The whole array, in memory."""
        return np.stack(list(self.rows())) if self.shape[0] else np.empty(self.shape, self.dtype)

    def some(self, count: int) -> Iterator[NDArray[Any]]:
        """About `count` rows, evenly spaced."""
        step = max(1, self.shape[0] // count) if self.shape else 1
        last = max(0, self.shape[0] - 1) // step * step if self.shape else 0
        return islice(self.rows(), 0, last + 1, step)  # no further: the rest would be unpacked for nothing

    def as_image(self) -> "Array":
        """The same array with one row more around it: a batch of one image."""

        def rows() -> Iterator[NDArray[Any]]:
            yield self.all() if self.shape else np.empty(())

        return Array(self.key, self.path, (1, *self.shape), self.dtype, rows, is_image=True)


def arrays_in(path: Path) -> dict[str, Array]:
    """The arrays of a file by key, without their data. A .npy file is the array `images`. Raises one of `DAMAGED`."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            shape, _, dtype = _header(file)
            if file.tell() + math.prod(shape) * dtype.itemsize > path.stat().st_size:
                raise EOFError("the file is cut short")
        return {"images": Array("images", path, shape, dtype, partial(_mapped, path))}
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        arrays = {}
        for key, member in members.items():
            with archive.open(member) as file:
                shape, _, dtype = _header(file)
            arrays[key] = Array(key, path, shape, dtype, partial(_stream, path, member))
    return arrays


def _mapped(path: Path) -> Iterator[NDArray[Any]]:
    """Iterate over the rows of a .npy file. It is open only meanwhile: a pattern may match many files."""
    return iter(np.asarray(np.load(path, allow_pickle=False, mmap_mode="r")))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, Fortran order, type) of the array that begins here. Raises ValueError for an array of Python objects."""
    version = np.lib.format.read_magic(file)
    known = {(1, 0): (2, np.lib.format.read_array_header_1_0), (2, 0): (4, np.lib.format.read_array_header_2_0)}
    if version not in known:
        raise ValueError(f"unknown version {version} of the .npy format")
    width, read = known[version]
    length = file.read(width)
    size = int.from_bytes(length, "little")
    if size > MAX_HEADER:
        raise ValueError(f"its header has {size:,} bytes")
    try:
        shape, fortran, dtype = read(io.BytesIO(length + file.read(size)))
    except MemoryError:  # Python's parser says so
        raise ValueError("its header is nested too deeply") from None
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"invalid shape {shape}")
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects, and ganloom never loads pickles: save it again as an array of numbers, with "
            "np.stack(list(array))"
        )
    return shape, fortran, dtype


def _stream(path: Path, member: str) -> Iterator[NDArray[Any]]:
    """Iterate over the rows of an array in a .npz, decompressing as it goes."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, fortran, dtype = _header(file)
        if fortran:  # column-major: rows are complete only when all is read
            needed = dtype.itemsize * math.prod(shape)
            if needed > archive.getinfo(member).file_size:
                raise EOFError("the file is cut short")
            check_memory(needed, f"the rows of array '{member}' (in Fortran order, so none can be read alone)")
            yield from np.frombuffer(file.read(needed), dtype).reshape(shape, order="F")
            return
        size = dtype.itemsize * math.prod(shape[1:])
        for _ in range(shape[0]):
            row = file.read(size)
            if len(row) != size:
                raise EOFError("the file is cut short")
            yield np.frombuffer(row, dtype).reshape(shape[1:])
