"""The packed dataset: what training reads. uint8 memory maps and one small JSON file.

    dataset.json         format, shape, class names, splits, counts, preprocessing, content hash: small at any size
    images-00000.npy     uint8 [rows, H, W, C], every shard but the last with `rows_per_shard` rows
    labels.npy           int64 [N] or float32 [N, K]; absent without labels
    files.jsonl          where each image came from; never read when the dataset is opened

Rows stand split after split (train, val, test), so a split is a range and nothing has to be indexed.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ganloom.core.errors import DataError
from ganloom.core.shapes import ImageShape

__all__ = ["Description", "PackedDataset", "open_packed"]


class Description(BaseModel):
    """dataset.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    name: str
    shape: tuple[int, int, int]  # channels, height, width
    class_names: list[str]
    splits: Annotated[dict[str, tuple[int, int]], Field(min_length=1)]  # first row and row after the last
    rows_per_shard: int
    preprocessing: str
    skipped: int  # files that could not be read
    content_hash: str  # sha256 of shape, labels, splits and every pixel


@dataclass(frozen=True)
class PackedDataset:
    """An opened dataset. Opening reads dataset.json alone; images stay on the disk until asked for."""

    path: Path
    description: Description

    @property
    def shape(self) -> ImageShape:
        return ImageShape(*self.description.shape)

    @property
    def class_names(self) -> list[str]:
        return self.description.class_names

    def count(self, split: str = "train") -> int:
        first, stop = self.description.splits.get(split, (0, 0))
        return stop - first

    @cached_property
    def _shards(self) -> list[NDArray[np.uint8]]:
        total = max(stop for _, stop in self.description.splits.values())
        count = -(-total // self.description.rows_per_shard)
        try:
            shards = [np.load(shard_path(self.path, index), mmap_mode="r") for index in range(count)]
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(str(error)) from None
        channels, height, width = self.description.shape
        if {shard.shape[1:] for shard in shards} != {(height, width, channels)} or sum(map(len, shards)) != total:
            raise self._damaged("its images are not what dataset.json says")
        return shards

    @cached_property
    def _labels(self) -> NDArray[np.generic]:
        try:
            labels: NDArray[np.generic] = np.load(self.path / "labels.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(str(error)) from None
        return labels

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"the packed dataset {self.path} is damaged ({reason}): delete it, it is made anew.")

    def images(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> NDArray[np.uint8]:  # [N, H, W, C]
        channels, height, width = self.description.shape
        result = np.empty((len(index), height, width, channels), np.uint8)
        shards, rows = np.divmod(index + self.description.splits[split][0], self.description.rows_per_shard)
        for shard in np.unique(shards):
            chosen = shards == shard
            result[chosen] = self._shards[shard][rows[chosen]]
        return result

    def labels(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> NDArray[np.generic]:  # int64 [N] or float32 [N, K]
        return np.asarray(self._labels[index + self.description.splits[split][0]])


def open_packed(path: Path) -> PackedDataset:
    """Open a packed dataset. Raises `DataError` for a folder that is not one."""
    try:
        values = json.loads((path / "dataset.json").read_text(encoding="utf-8"))
        return PackedDataset(path, Description.model_validate(values))
    except (OSError, ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is not a packed dataset of this ganloom ({reason}): delete it, it is made anew."
        ) from None


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"images-{index:05d}.npy"
