"""Images in array files: .npy, or .npz with the keys of MedMNIST, Keras or plain ones; NHWC or NHW; never pickle.

Images are read row by row, so a file may be larger than memory.
"""

import glob
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import MAX_CLASSES, SPLITS, Item, Label, stamp

__all__ = ["ArraySource", "open_source"]

# The keys (images, labels) of each split, as publishers of arrays commonly name them.
KEYS = {
    "train": [("train_images", "train_labels"), ("x_train", "y_train"), ("images", "labels"), ("x", "y"), ("X", "y")],
    "val": [("val_images", "val_labels"), ("x_val", "y_val")],
    "test": [("test_images", "test_labels"), ("x_test", "y_test")],
}
CHANNELS = (1, 3, 4)
DEEP_TYPES = ("uint16", "int16", "int32", "float16", "float32", "float64")  # for grey images only, which are windowed
MAX_PIXELS = 2**27  # of one image: a damaged header may state any size
DAMAGED = (
    OSError, ValueError, EOFError, TypeError, AttributeError, OverflowError, NotImplementedError, RuntimeError,
    SyntaxError, MemoryError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True)
class _Array:
    """An array in a file. Only its header has been read."""

    key: str
    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: Callable[[], Iterator[NDArray[Any]]]  # iterates over the rows

    @property
    def where(self) -> str:
        return f"array '{self.key}' of {self.path}"

    def all(self) -> NDArray[Any]:
        return np.stack(list(self.rows())) if self.shape[0] else np.empty(self.shape, self.dtype)


class ArraySource:
    """The images of array files. Labels of shape [N] or [N, 1] are class numbers; [N, K] are shares of each class."""

    ignored = 0

    def __init__(
        self, paths: Sequence[Path], *, name: str | None = None, class_names: Sequence[str] | None = None
    ) -> None:
        self.paths = paths
        self.name = name or paths[0].stem
        self._parts: list[tuple[str, str, _Array, NDArray[Any] | None]] = []  # prefix of names, split, images, labels
        for path in paths:
            prefix = f"{path.name}/" if len(paths) > 1 else ""
            self._parts += [(f"{prefix}{split}", split, images, labels) for split, images, labels in _splits(path)]
        found = {split for _, split, _, _ in self._parts}
        self.splits = tuple(split for split in SPLITS if split in found)
        self.count = sum(images.shape[0] for _, _, images, _ in self._parts)
        self.class_names = self._class_names()
        if class_names is not None and self.class_names:
            if len(self.class_names) > len(class_names):
                raise DataError(f"{paths[0]} has {len(self.class_names)} classes, not {len(class_names)}.")
            self.class_names = list(class_names)

    def _class_names(self) -> list[str]:
        given = [labels for _, _, _, labels in self._parts if labels is not None]
        if any(labels is None for _, split, _, labels in self._parts if split == "train") or not given:
            return []
        if len({labels.shape[1:] for labels in given}) > 1:
            raise DataError(
                f"the label arrays of {self.paths[0]} have different shapes: give all of them the same shape."
            )
        if given[0].ndim == 2:
            return [str(index) for index in range(given[0].shape[1])]
        return [str(index) for index in range(max(int(labels.max(initial=0)) for labels in given) + 1)]

    def fingerprint(self) -> Iterator[str]:
        for path in self.paths:
            yield stamp(path)

    def items(self) -> Iterator[Item]:
        for prefix, split, images, labels in self._parts:
            try:
                for index, image in enumerate(images.rows()):
                    label: Label = None
                    if labels is not None and self.class_names:
                        label = int(labels[index]) if labels.ndim == 1 else labels[index].astype(np.float32)
                    yield Item(f"{prefix}/{index}", split, label, partial(_as_image, image))
            except DAMAGED as error:
                raise DataError(f"{images.where} is damaged: {error}.") from None


def open_source(spec: str) -> ArraySource:
    """Open a file or a pattern of files. Raises `DataError` if they are not arrays of images."""
    path = Path(spec).expanduser()
    paths = [path] if path.exists() else [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]
    if not paths:
        raise DataError(f"no file matches {spec}: check the pattern.")
    return ArraySource(paths, name=path.stem if path.exists() else path.parent.resolve().name)


def _splits(path: Path) -> Iterator[tuple[str, _Array, NDArray[Any] | None]]:
    """(split, images, labels) for each split of one file."""
    try:
        arrays = _headers(path)
        for split in SPLITS:
            for images, labels in KEYS[split]:
                if images in arrays:
                    _check_images(arrays[images])
                    given = arrays.get(labels)
                    yield split, arrays[images], _check_labels(given, arrays[images].shape[0]) if given else None
                    break
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as arrays: {error}.") from None
    if not any(images in arrays for images, _ in KEYS["train"]):
        wanted = ", ".join(f"'{images}'" for images, _ in KEYS["train"])
        raise DataError(
            f"{path} has no array of training images: looked for {wanted}, found {', '.join(arrays) or 'nothing'}."
        )


def _headers(path: Path) -> dict[str, _Array]:
    """The arrays of a file by key, without their data. A .npy file is the array of images."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            shape, _, dtype = _header(file)
            if file.tell() + math.prod(shape) * dtype.itemsize > path.stat().st_size:
                raise EOFError("the file is cut short")
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        return {"images": _Array("images", path, array.shape, array.dtype, lambda: iter(np.asarray(array)))}
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        arrays = {}
        for key, member in members.items():
            with archive.open(member) as file:
                shape, _, dtype = _header(file)
            arrays[key] = _Array(key, path, shape, dtype, partial(_stream, path, member))
    return arrays


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, Fortran order, type) of the array that begins here. Raises ValueError for an array of Python objects."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"unknown version {version} of the .npy format")
    shape, fortran, dtype = read(file)
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"invalid shape {shape}")
    if dtype.hasobject:
        raise ValueError("it holds Python objects; ganloom never loads pickles")
    return shape, fortran, dtype


def _stream(path: Path, member: str) -> Iterator[NDArray[Any]]:
    """Iterate over the rows of an array in a .npz, decompressing as it goes."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, fortran, dtype = _header(file)
        if fortran:  # column-major: rows are complete only when all is read
            yield from np.frombuffer(file.read(), dtype).reshape(shape, order="F")
            return
        size = dtype.itemsize * math.prod(shape[1:])
        for _ in range(shape[0]):
            row = file.read(size)
            if len(row) != size:
                raise EOFError("the file is cut short")
            yield np.frombuffer(row, dtype).reshape(shape[1:])


def _as_image(array: NDArray[Any]) -> Image.Image:  # [H, W] of any type, or [H, W, C] of uint8
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    if array.dtype == np.uint16:
        return Image.fromarray(array.astype("<u2"))
    if array.dtype.kind == "i":
        return Image.fromarray(array.astype(np.int32))
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and the image is skipped
        return Image.fromarray(array.astype(np.float32))


def _check_images(images: _Array) -> None:
    where, shape = images.where, images.shape
    if len(shape) == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS:
        raise DataError(f"{where} has shape {shape}, NCHW instead of NHWC: save it with .transpose(0, 2, 3, 1).")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS):
        raise DataError(f"{where} has shape {shape}: it should be NHW, or NHWC with 1, 3 or 4 channels.")
    if len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) >= 8:
        raise DataError(f"{where} has shape {shape}, which looks like a single image: give [N, H, W] or [N, H, W, C].")
    if 0 in shape:
        raise DataError(f"{where} is empty: its shape is {shape}.")
    if math.prod(shape[1:3]) > MAX_PIXELS:
        raise DataError(f"{where} has shape {shape}: an image may have at most {MAX_PIXELS:,} pixels.")
    grey = len(shape) == 3 or shape[3] == 1
    if images.dtype != np.uint8 and not (grey and images.dtype.name in DEEP_TYPES):
        raise DataError(
            f"{where} is {images.dtype}, not uint8: scale it to 0..255 and save it with .astype('uint8'). "
            f"Only grey images may have type {', '.join(DEEP_TYPES)}."
        )


def _check_labels(array: _Array, count: int) -> NDArray[Any]:
    where = f"labels '{array.key}' of {array.path}"
    if array.shape[:1] != (count,) or math.prod(array.shape[1:]) > MAX_CLASSES:
        raise DataError(f"{where} have shape {array.shape} for {count} images.")
    labels = array.all()
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    whole = np.issubdtype(labels.dtype, np.integer) or np.issubdtype(labels.dtype, np.bool_)
    if labels.ndim == 1 and not whole:
        raise DataError(f"{where} have type {labels.dtype}: class numbers should be integers.")
    if labels.ndim not in (1, 2) or not (whole or np.issubdtype(labels.dtype, np.floating)):
        raise DataError(
            f"{where} have shape {labels.shape} and type {labels.dtype}: "
            "give class numbers [N] or shares of each class [N, K]."
        )
    if labels.ndim == 1 and not 0 <= int(labels.min(initial=0)) <= int(labels.max(initial=0)) < MAX_CLASSES:
        raise DataError(f"{where} should be class numbers from 0 to at most {MAX_CLASSES - 1}.")
    if labels.ndim == 2 and not np.isfinite(labels.astype(np.float32)).all():
        raise DataError(f"{where} have NaN or infinite values.")
    if labels.ndim == 2 and (labels < 0).any():
        raise DataError(f"{where} have negative values: write 0 and 1 instead of -1 and 1.")
    return labels
