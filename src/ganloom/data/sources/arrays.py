"""Array files: .npy, and .npz with the keys of MedMNIST, of Keras, or plain ones. uint8, NHWC or NHW. No pickle."""

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.data.sources.contract import SPLITS, Item, Label

__all__ = ["ArraySource", "open_source"]

# (images, labels) of each split, by the naming habits of those who publish arrays.
KEYS = {
    "train": [("train_images", "train_labels"), ("x_train", "y_train"), ("images", "labels"), ("x", "y"), ("X", "y")],
    "val": [("val_images", "val_labels"), ("x_val", "y_val")],
    "test": [("test_images", "test_labels"), ("x_test", "y_test")],
}
CHANNELS = (1, 3, 4)
MOST_CLASSES = 100_000
DAMAGED = (
    OSError, ValueError, EOFError, TypeError, AttributeError, OverflowError, NotImplementedError, zipfile.BadZipFile,
    zlib.error, tokenize.TokenError,
)  # fmt: skip


class ArraySource:
    """Images of one array file. Labels of shape [N] or [N, 1] are classes, [N, K] say how much of each class."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        arrays = _read(path)
        self._splits: dict[str, tuple[NDArray[np.uint8], NDArray[np.generic] | None]] = {}
        for split in SPLITS:
            for images, labels in KEYS[split]:
                if images in arrays:
                    self._splits[split] = (
                        _check_images(path, images, arrays[images]),
                        _check_labels(path, labels, arrays[labels], len(arrays[images])) if labels in arrays else None,
                    )
                    break
        if "train" not in self._splits:
            wanted = ", ".join(f"'{images}'" for images, _ in KEYS["train"])
            raise DataError(
                f"{path} has no array of training images: looked for {wanted}, found {', '.join(arrays) or 'nothing'}."
            )
        self.class_names = self._class_names()

    def _class_names(self) -> list[str]:
        given = [labels for _, labels in self._splits.values() if labels is not None]
        if self._splits["train"][1] is None:
            return []
        if len({labels.shape[1:] for labels in given}) > 1:
            raise DataError(f"the splits of {self.path} have labels of different shapes: give all of them the same.")
        if given[0].ndim == 2:
            return [str(index) for index in range(given[0].shape[1])]
        return [str(index) for index in range(max(int(labels.max(initial=0)) for labels in given) + 1)]

    def fingerprint(self) -> Iterator[str]:
        status = self.path.stat()
        yield f"{self.path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}"

    def items(self) -> Iterator[Item]:
        for split, (images, labels) in self._splits.items():
            for index, image in enumerate(images):
                label: Label = None
                if labels is not None and self.class_names:
                    label = int(labels[index]) if labels.ndim == 1 else labels[index].astype(np.float32)
                yield Item(f"{split}/{index}", split, label, partial(Image.fromarray, image))


def open_source(spec: str) -> ArraySource:
    """Raises `DataError` for a file that is not arrays, or whose arrays are not uint8 images."""
    return ArraySource(Path(spec).expanduser())


def _read(path: Path) -> Mapping[str, NDArray[np.generic]]:
    try:
        if path.suffix.lower() == ".npy":
            return {"images": np.load(path, allow_pickle=False, mmap_mode="r")}
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as arrays: {error}.") from None


def _check_images(path: Path, key: str, images: NDArray[np.generic]) -> NDArray[np.uint8]:
    where = f"array '{key}' of {path}"
    if images.dtype != np.uint8:
        raise DataError(f"{where} is {images.dtype}, not uint8: scale it to 0..255 and save it with .astype('uint8').")
    if images.ndim == 4 and images.shape[3] not in CHANNELS and images.shape[1] in CHANNELS:
        raise DataError(f"{where} is NCHW {images.shape}, not NHWC: save it with .transpose(0, 2, 3, 1).")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in CHANNELS):
        raise DataError(f"{where} has shape {images.shape}: it should be NHW, or NHWC with 1, 3 or 4 channels.")
    if len(images) == 0:
        raise DataError(f"{where} has no images in it.")
    result: NDArray[np.uint8] = images.astype(np.uint8, copy=False)
    return result[..., 0] if result.ndim == 4 and result.shape[3] == 1 else result


def _check_labels(path: Path, key: str, labels: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    where = f"labels '{key}' of {path}"
    if labels.shape[:1] != (count,):
        raise DataError(f"{where} have shape {labels.shape} for {count} images.")
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    whole = np.issubdtype(labels.dtype, np.integer) or np.issubdtype(labels.dtype, np.bool_)
    if labels.ndim == 1 and not whole:
        raise DataError(f"{where} are {labels.dtype}, not whole numbers.")
    if labels.ndim not in (1, 2) or not (whole or np.issubdtype(labels.dtype, np.floating)):
        raise DataError(
            f"{where} have shape {labels.shape} and type {labels.dtype}: give [N] classes or [N, K] shares."
        )
    if labels.ndim == 1 and not 0 <= int(labels.min(initial=0)) <= int(labels.max(initial=0)) < MOST_CLASSES:
        raise DataError(f"{where} are not classes numbered from 0 to at most {MOST_CLASSES - 1}.")
    if labels.ndim == 2 and not np.isfinite(labels.astype(np.float32)).all():
        raise DataError(f"{where} have values that are not numbers.")
    return labels
