"""The Python version of CIFAR-10 and CIFAR-100, and files in its format: a folder of batches, or one of them.

A batch is a pickled dictionary of `data` (rows of a red, a green and a blue plane) and `labels`. It is read by
`pickles.py`, which runs nothing of it.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.files import open_regular, read_regular, user_path
from ganloom.data.sources.contract import SPLITS, Opener, Remark
from ganloom.data.sources.parts import Part, PartsSource, files_in, splits_of_paths, top_of
from ganloom.data.sources.pickles import read_arrays

__all__ = ["is_batch", "open_source"]

META = ("batches.meta", "meta")  # the names of the classes
LABELS = ("labels", "fine_labels")
NAMES = ("label_names", "fine_label_names")
MAX_BYTES = 2**30  # of a batch, which is read as a whole


def is_batch(path: Path) -> bool:
    """Whether a file has a name of CIFAR's and begins like a pickle."""
    name = path.name
    if not (name.startswith("data_batch") or name in ("test_batch", "train", "test", *META)):
        return False
    try:
        with open_regular(path) as file:
            return file.read(2) in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    except OSError:
        return False


def open_source(spec: str) -> PartsSource:
    """Open a folder of batches, or one batch. Raises `DataError` for any other pickle."""
    given = user_path(spec)
    paths = [path for path in files_in(given) if is_batch(path)] if given.is_dir() else [given]
    beside = paths if given.is_dir() else [given.with_name(name) for name in META]
    names = next((path for name in META for path in beside if path.name == name and is_batch(path)), None)
    paths = [path for path in paths if path.name not in META]
    if not paths:
        raise DataError(f"{given} has no batches of images, only names of classes: unpack the archive again.")
    splits = splits_of_paths(paths, top_of(given, paths))
    parts = [_part(path, split) for path, split in zip(paths, splits, strict=True)]
    parts.sort(key=lambda part: SPLITS.index(part.split))
    class_names: list[Any] = []
    if names is not None:
        class_names = next((found for key in NAMES if (found := _read(names).get(key))), [])
    labels = "" if parts[0].labels is None else " with labels"
    remark = Remark("batches", f"{len(paths)} pickled batches{labels} were read without running them")
    paths += [names] if names else []
    return PartsSource(given, paths, parts, class_names=[str(name) for name in class_names], remarks=[remark])


def _part(path: Path, split: str) -> Part:
    values = _read(path)
    data = values.get("data")
    if not isinstance(data, np.ndarray) or data.ndim not in (2, 4) or data.dtype != np.uint8:
        found = ", ".join(str(key) for key in values) or "nothing"
        raise DataError(
            f"{path} has no array 'data' of bytes [N, 3 * H * W], only {found}. Save the images as arrays: "
            "np.savez('images.npz', images=..., labels=...)"
        )
    if not len(data) or _shape(data.shape[1:]) is None:
        shape = " x ".join(map(str, data.shape[1:]))
        raise DataError(
            f"{path} has {len(data)} rows of {shape} values, which are not square colour images. "
            "Save the images as arrays: np.savez('images.npz', images=..., labels=...)"
        )
    given = next((values[key] for key in LABELS if key in values), None)
    labels = None if given is None else np.asarray(given)
    return Part(path.name, split, len(data), partial(_images, path), labels, f"the labels of {path}")


def _shape(row: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The shape of a row as an image, whose axis of 3 is that of the colours; None if it is no image."""
    if len(row) == 1:
        side = math.isqrt(row[0] // 3)
        return (3, side, side) if side and row[0] == 3 * side * side else None
    first, height, last = row
    return (first, height, last) if 3 in (first, last) and min(row) > 0 else None


def _images(path: Path) -> Iterator[Opener]:
    """The batch is read again: several of them would take much memory."""
    for row in _read(path)["data"]:
        yield partial(_picture, row)


def _picture(row: NDArray[np.uint8]) -> Image.Image:  # [3 * side * side], [3, H, W] or [H, W, 3]
    shape = _shape(row.shape)
    assert shape is not None
    image = row.reshape(shape)
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0) if shape[0] == 3 else image))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES // 2**20} MiB")
        return read_arrays(read_regular(path))
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(
            f"{path} is not read: {error or type(error).__name__}. ganloom never runs a pickle. Save the images as "
            "arrays instead: np.savez('images.npz', images=..., labels=...)"
        ) from None
