"""Write the images and labels of a packed dataset, split by split, so that an interrupted preparation can resume."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ganloom.core.errors import DataError, SizesDifferError
from ganloom.data.packed import labels_path, shard_path
from ganloom.data.rows import Rows, row_kind
from ganloom.data.sources import Label

__all__ = ["Shards"]

SHARD_BYTES = 2**30
WIDER, BACKFILLED = ".wide", ".begun"  # suffixes of temporary files that will replace others


class Shards:
    """Appends images to shards of about a gigabyte, and labels to one file per split.

    If `channels` is None, images have one channel as long as all are grey; at the first colour image, those written
    before get three channels.
    """

    def __init__(self, folder: Path, counts: dict[str, int], channels: int | None, labelled: bool) -> None:
        """Continue after `counts` images of each split. Raises `DataError` if the files have fewer."""
        self.folder = folder
        self.shape: tuple[int, int, int] | None = None  # height, width, channels; known after the first image
        self.rows_per_shard = 0
        self._channels = channels
        self._labelled = labelled
        self._images: dict[str, Rows] = {}
        self._labels: dict[str, Rows] = {}
        self._counts = {split: count for split, count in counts.items() if count}
        try:
            self._resume()
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            self._close()
            raise DataError(
                f"the unfinished dataset {folder} is damaged ({error}) and was removed: prepare again."
            ) from None

    def _resume(self) -> None:
        """Check the files of an interrupted preparation, and open those that are not full."""
        for path in (*self.folder.glob(f"*{WIDER}"), *self.folder.glob(f"*{BACKFILLED}")):
            path.unlink()
        if shapes := [row_kind(shard_path(self.folder, split, 0))[0] for split in self._counts]:
            self._set_shape(max(shapes))
        for split, count in self._counts.items():
            for index in range(-(-count // self.rows_per_shard)):
                path = shard_path(self.folder, split, index)
                rows = min(self.rows_per_shard, count - index * self.rows_per_shard)
                shape, _ = row_kind(path)
                self._images[split] = Rows(path, shape, np.dtype(np.uint8), rows)
                if shape != self.shape:  # it was interrupted while it widened the grey images
                    self._images.pop(split).close()
                    self._widen_shard(path)
                    self._images[split] = Rows(path, self.shape or (), np.dtype(np.uint8), rows)
                if rows == self.rows_per_shard:
                    self._images.pop(split).close()
            if (path := labels_path(self.folder, split)).exists():
                self._labels[split] = Rows(path, *row_kind(path), count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._labelled:
                self._complete_labels()
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.ExitStack() as stack:  # if one cannot be closed, the others still are
            for rows in (*self._images.values(), *self._labels.values()):
                stack.callback(rows.close)

    def add(self, split: str, image: NDArray[np.uint8], label: Label, name: str) -> None:  # image: [H, W, C]
        """Append an image and its label. Raises `DataError` if it has another size than the images before."""
        if self.shape is None:
            grey = self._channels is None and _is_grey(image)
            self._set_shape((*image.shape[:2], self._channels or (1 if grey else 3)))
        assert self.shape
        if image.shape[:2] != self.shape[:2]:
            raise SizesDifferError(
                f"{name} is {image.shape[0]}x{image.shape[1]}, but the images before it are "
                f"{self.shape[0]}x{self.shape[1]}"
            )
        if self._channels is None and self.shape[2] == 1 and not _is_grey(image):
            self._widen()
        self._counts.setdefault(split, 0)
        if split not in self._images:
            self._open_images(split)
        self._images[split].append(image[..., :1] if self.shape[2] == 1 else np.broadcast_to(image, self.shape))
        if self._labelled and (label is not None or split in self._labels):
            self._add_label(split, label)
        self._counts[split] += 1
        if self._counts[split] % self.rows_per_shard == 0:
            self._images.pop(split).close()

    def flush(self) -> None:
        """Write everything to the disk."""
        for rows in (*self._images.values(), *self._labels.values()):
            rows.flush()

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        height, width, channels = shape
        if self.shape not in (None, (height, width, channels)):
            raise ValueError("its images have different shapes")
        self.shape = height, width, channels
        # Computed for three channels, so that widening grey images moves none to another shard.
        self.rows_per_shard = max(1, SHARD_BYTES // (height * width * (self._channels or 3)))

    def _open_images(self, split: str) -> None:
        assert self.shape
        shard, rows = divmod(self._counts[split], self.rows_per_shard)
        self._images[split] = Rows(shard_path(self.folder, split, shard), self.shape, np.dtype(np.uint8), rows)

    def _add_label(self, split: str, label: Label) -> None:
        if split not in self._labels:  # the first label: the images before had none
            self._begin_labels(split, np.asarray(label, np.float32 if isinstance(label, np.ndarray) else np.int64))
        rows = self._labels[split]
        rows.append(_no_label(rows) if label is None else np.asarray(label, rows.dtype))

    def _begin_labels(self, split: str, like: NDArray[Any] | Rows) -> None:
        """Start the labels of a split, with "no label" for the images so far.

        The file is written under another name and renamed, so an interruption leaves none or a complete one.
        """
        path, count = labels_path(self.folder, split), self._counts[split]
        beside = path.with_suffix(BACKFILLED)
        rows = Rows(beside, like.shape, like.dtype)
        for _ in range(count):
            rows.append(_no_label(rows))
        rows.close()
        os.replace(beside, path)
        self._labels[split] = Rows(path, like.shape, like.dtype, count)

    def _complete_labels(self) -> None:
        """Write "no label" for splits without any label, in the format of the other splits."""
        like = next(iter(self._labels.values()), None)
        for split in self._counts.keys() - self._labels.keys():
            self._begin_labels(split, np.zeros((), np.int64) if like is None else like)

    def _widen(self) -> None:
        """Convert all images written so far from one channel to three."""
        assert self.shape
        for split in list(self._images):
            self._images.pop(split).close()
        for split, count in self._counts.items():
            for first in range(0, count, self.rows_per_shard):
                self._widen_shard(shard_path(self.folder, split, first // self.rows_per_shard))
        self.shape = (*self.shape[:2], 3)
        for split, count in self._counts.items():
            if count % self.rows_per_shard:
                self._open_images(split)

    def _widen_shard(self, path: Path) -> None:
        assert self.shape
        beside = path.with_suffix(WIDER)
        wide = Rows(beside, (*self.shape[:2], 3), np.dtype(np.uint8))
        images = np.load(path, mmap_mode="r")
        for index in range(len(images)):
            wide.append(np.broadcast_to(images[index], wide.shape))
        del images  # Windows cannot replace a file that is mapped
        wide.close()
        os.replace(beside, path)


def _no_label(rows: Rows) -> NDArray[Any]:
    """The row for an image without a label: -1, or 0 for every class."""
    return np.full(rows.shape, -1 if rows.dtype.kind == "i" else 0, rows.dtype)


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return image.shape[2] == 1 or bool((image[..., :1] == image[..., 1:3]).all())
