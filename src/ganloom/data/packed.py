"""The packed dataset that training reads: uint8 memory maps and one small JSON file.

    dataset.json         format, shape, class names, counts, preprocessing, content hash; small for any number of images
    train-00000.npy      uint8 [rows, H, W, C]; all shards of a split but the last have `rows_per_shard` rows
    train-labels.npy     int64 [N] or float32 [N, K]; absent without labels
    files.jsonl          one line per file of the source, in order: what became of it; not read when opening
    skipped.csv          the files that could not be used, and why; absent if there are none

Each split (train, val, test) has its own shards and labels, so no index is needed.
"""

import contextlib
import errno
import json
import mmap
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from ganloom.core.errors import DataError, StorageError
from ganloom.core.files import FileState, read_regular
from ganloom.core.memory import memory_errors
from ganloom.core.sealed import seal, unseal
from ganloom.core.shapes import ImageShape
from ganloom.data.dataset import Dataset
from ganloom.data.mapped import UNREADABLE, Mapped
from ganloom.data.sources.contract import SPLITS, Label, Remark

__all__ = [
    "SKIPPED",
    "Account",
    "DamagedError",
    "Description",
    "PackedDataset",
    "damaged",
    "labels_path",
    "open_packed",
    "reading",
    "shard_path",
]

Split = Annotated[
    str, Field(pattern=f"^({'|'.join(SPLITS)})$")
]  # it becomes part of a path, so nothing else is allowed
SKIPPED = "skipped.csv"  # the file with what could not be used
OPEN_SHARDS = 128  # at once: each needs two file descriptors
SMALL_BYTES = 256 * 2**20  # a dataset up to this size stays in memory as a whole
MAPPED_BYTES = 64 * 2**20  # of a larger one, what may be in memory at a time
MAPPED_PER_READ = 64 * 2**10  # what the system loads around a byte that is read
# Of a file that is missing, or is none. What else the system says, such as EIO, ESTALE or EMFILE, may pass.
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP)


class DamagedError(DataError):
    """The files of a packed dataset are certainly not those that were written."""


class Account(BaseModel):
    """What became of every file of the source: taken + skipped + dropped + left_out are all image files."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    taken: int
    duplicates: int  # images taken that are identical to an earlier one
    dropped: int  # duplicates that were not taken
    skipped: int  # could not be used: skipped.csv says why
    left_out: int  # their class was not selected
    ungrouped: int  # images taken whose names do not match the pattern `group_by`
    ignored: int  # files that are not images, or second copies of the splits
    jpegs: int | None = None  # images taken that are JPEG files; None in datasets that did not count them


class Description(BaseModel):
    """The content of dataset.json, which also has a checksum of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[2] = 2
    name: str
    shape: tuple[Literal[1, 3, 4], PositiveInt, PositiveInt]  # channels, height, width
    class_names: list[str]
    splits: Annotated[dict[Split, NonNegativeInt], Field(min_length=1)]  # number of images in each split
    rows_per_shard: PositiveInt
    preprocessing: str
    selection: str
    window: tuple[float, float] | None  # the values that became black and white; None if no image has over 8 bits
    account: Account
    remarks: tuple[Remark, ...] = ()  # how the source was read
    source_key: str  # hash of the source, the preprocessing and the selection
    content_hash: str  # sha256 of shape, classes, splits, labels and every pixel

    @property
    def row_bytes(self) -> int:
        """Size of one image."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def to_json(self) -> bytes:
        """The file."""
        return seal(json.loads(self.model_dump_json()))


class PackedDataset(Dataset):
    """An open packed dataset. Opening reads dataset.json alone; images stay on the disk until they are used."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description
        self.verified: Mapping[str, FileState] | None = None
        """The files, as they were when their content was compared with the hash; None if it was not."""
        self._maps: dict[tuple[str, int], Mapped] = {}
        self._labels: dict[str, Mapped] = {}
        self._is_large = sum(description.splits.values()) * description.row_bytes > SMALL_BYTES
        self._mapped = 0  # upper bound of the bytes read since mapped pages were last released

    def __repr__(self) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in self.description.splits.items())
        classes = f" in {len(self.class_names)} classes" if self.class_names else ""
        return f"Dataset({str(self.path)!r}, {self.shape}, {splits}{classes})"

    def __reduce__(self) -> tuple[Any, tuple[Path, Mapping[str, FileState] | None]]:
        """Workers of a `DataLoader` open it again: memory maps are not copied to other processes."""
        return _reopened, (self.path, self.verified)

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def content_hash(self) -> str:
        return self.description.content_hash

    @property
    def shape(self) -> ImageShape:
        return ImageShape(*self.description.shape)

    @property
    def class_names(self) -> list[str]:
        return self.description.class_names

    @property
    def splits(self) -> list[str]:
        return list(self.description.splits)

    def count(self, split: str = "train") -> int:
        return self.description.splits.get(split, 0)

    def images(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> NDArray[np.uint8]:  # [N, H, W, C]
        rows = self.description.rows_per_shard
        if self.count(split) <= rows:
            return self._take(split, 0, index)
        channels, height, width = self.description.shape
        result = np.empty((len(index), height, width, channels), np.uint8)
        shards = index // rows
        for shard in np.unique(shards):
            chosen = shards == shard
            result[chosen] = self._take(split, int(shard), index[chosen] - shard * rows)
        return result

    def labels(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> NDArray[Any]:  # int64 [N] or float32 [N, K]
        if split not in self._labels:
            self._labels[split] = self._open_labels(split)
        return self._labels[split].take(index)

    @cached_property
    def labelled(self) -> bool:
        """Whether every training image has a label. With overlapping classes, a row of zeros is a label too."""
        return bool(self.class_names) and bool((self.labels(np.arange(self.count())) >= 0).all())

    def rows(self, split: str) -> Iterator[tuple[NDArray[np.uint8], Label]]:
        """Every image [H, W, C] of a split with its label, in order."""
        for start in range(0, self.count(split), 1024):
            index = np.arange(start, min(start + 1024, self.count(split)))
            labels = self.labels(index, split) if self.class_names else None
            for position, image in enumerate(self.images(index, split)):
                yield image, None if labels is None else _as_label(labels[position])

    def _take(self, split: str, shard: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Copies of some rows of a shard.

        In a large dataset the pages read are released regularly. They stay in the system's cache but no longer count as
        memory of this process, which would otherwise grow to the size of the dataset.
        """
        if (split, shard) not in self._maps:
            if len(self._maps) == OPEN_SHARDS:
                del self._maps[next(iter(self._maps))]
            self._maps[split, shard] = self._open_shard(split, shard)
        result = self._maps[split, shard].take(rows)
        self._mapped += len(rows) * max(self.description.row_bytes, MAPPED_PER_READ)
        if self._is_large and self._mapped > MAPPED_BYTES and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._mapped = 0
            for mapped in self._maps.values():
                mapped.pages.madvise(mmap.MADV_DONTNEED)
        return result

    def _open_shard(self, split: str, shard: int) -> Mapped:
        channels, height, width = self.description.shape
        rows = min(self.description.rows_per_shard, self.count(split) - shard * self.description.rows_per_shard)
        mapped = self._open(shard_path(self.path, split, shard))
        if mapped.rows.dtype != np.uint8 or mapped.rows.shape != (rows, height, width, channels):
            raise damaged(self.path, f"{mapped.path.name} does not match dataset.json")
        return mapped

    def _open_labels(self, split: str) -> Mapped:
        mapped = self._open(labels_path(self.path, split))
        kinds = {(np.dtype(np.int64), ()), (np.dtype(np.float32), (len(self.class_names),))}
        rows, *shape = mapped.rows.shape or (0,)
        if (mapped.rows.dtype, tuple(shape)) not in kinds or rows != self.count(split):
            raise damaged(self.path, f"{mapped.path.name} does not match dataset.json")
        return mapped

    def mark_verified(self, files: Mapping[str, FileState]) -> None:
        """From now on, open no file that is in another state. What was opened before is opened again."""
        self.verified = files
        self._maps.clear()
        self._labels.clear()
        self.__dict__.pop("labelled", None)  # which was read from them

    def _open(self, path: Path) -> Mapped:
        with reading(self.path):
            mapped = Mapped(path)
        if self.verified is not None and mapped.state != self.verified[path.name]:
            raise DataError(
                f"{path} was changed or replaced after its content was verified. Restore it, or delete {path.parent} "
                "and prepare it again."
            )
        return mapped


def _as_label(label: Any) -> Label:
    """Convert one entry of the label array; -1 stands for an image without a label in a dataset with classes."""
    if isinstance(label, np.ndarray):
        return label
    return int(label) if label >= 0 else None


def open_packed(path: Path) -> PackedDataset:
    """Open a packed dataset. Raises `DataError` for any other folder, and if image files are missing or cut short."""
    try:
        values = unseal(read_regular(path / "dataset.json"))
        description = Description.model_validate(values)
    except (OSError, ValueError, ValidationError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DataError(f"{path} is not a packed dataset: make one with ganloom prepare.") from None
        if isinstance(error, OSError) and error.errno not in NO_FILE:
            raise _unreadable_now(path, error) from None
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is not a packed dataset of this version of ganloom ({reason}): delete it and prepare it again."
        ) from None
    for split, count in description.splits.items():
        for first in range(0, count, description.rows_per_shard):
            rows = min(description.rows_per_shard, count - first)
            file = shard_path(path, split, first // description.rows_per_shard)
            with reading(path):
                if not file.exists() or file.stat().st_size < rows * description.row_bytes:
                    raise damaged(path, f"{file.name} is missing or cut short")
    return PackedDataset(path, description)


def _reopened(path: Path, verified: Mapping[str, FileState] | None) -> PackedDataset:
    dataset = open_packed(path)
    dataset.verified = verified
    return dataset


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """While its files are read: what proves that one is not as it was written is a `DamagedError`, what keeps it from
    being read now a `StorageError` or `OutOfMemoryError`, so that nobody deletes a dataset that is sound.
    """
    try:
        with memory_errors(f"reading {folder}", "Close other programs."):
            yield
    except OSError as error:
        raise (damaged(folder, str(error)) if error.errno in NO_FILE else _unreadable_now(folder, error)) from None
    except UNREADABLE as error:
        raise damaged(folder, str(error)) from None


def damaged(path: Path, reason: str) -> DamagedError:
    """The error for a packed dataset whose files cannot be used."""
    return DamagedError(f"the packed dataset {path} is damaged ({reason}): delete it and prepare it again.")


def _unreadable_now(folder: Path, error: OSError) -> StorageError:
    file = error.filename if error.filename is not None else folder
    return StorageError(
        f"{file} cannot be read now ({error.strerror or error}). Check the disk and the permissions, then try again: "
        f"the dataset {folder} may be sound."
    )


def shard_path(folder: Path, split: str, index: int) -> Path:
    """The file of one shard of images."""
    return folder / f"{split}-{index:05d}.npy"


def labels_path(folder: Path, split: str) -> Path:
    """The file of the labels of a split."""
    return folder / f"{split}-labels.npy"
