"""A split of a dataset as PyTorch reads datasets."""

from collections.abc import Sequence
from operator import index as as_index

import numpy as np
import torch
from torch import Tensor

from ganloom.core.errors import DataError
from ganloom.data.dataset import Dataset

__all__ = ["SplitView"]


class SplitView(torch.utils.data.Dataset[tuple[Tensor, int | Tensor]]):
    """Images and labels of one split, one by one or, for a `DataLoader`, a batch at a time."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        if split not in dataset.splits:
            raise DataError(f"{dataset.name} has no split '{split}'. Its splits: {', '.join(dataset.splits)}.")
        self.dataset, self.split = dataset, split

    def __len__(self) -> int:
        return self.dataset.count(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:  # uint8 [C, H, W]; int, or float32 [K]
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int | Tensor]]:
        """Several at once: quicker, as they are read together. Raises `IndexError` beyond the last one."""
        count = len(self)
        for index in map(as_index, indices):
            if not -count <= index < count:
                raise IndexError(f"there is no image {index}: '{self.split}' of {self.dataset.name} has {count:,}.")
        rows = np.array([as_index(index) % count for index in indices], np.int64)
        images = torch.from_numpy(self.dataset.images(rows, self.split)).permute(0, 3, 1, 2).contiguous()
        if not self.dataset.class_names:
            return [(image, -1) for image in images]
        labels = self.dataset.labels(rows, self.split)
        return [(image, _plain(label)) for image, label in zip(images, labels, strict=True)]

    def __repr__(self) -> str:
        return f"SplitView({len(self):,} images in '{self.split}' of {self.dataset!r})"


def _plain(label: "np.int64 | np.ndarray[tuple[int], np.dtype[np.float32]]") -> int | Tensor:
    return torch.from_numpy(label.copy()) if isinstance(label, np.ndarray) else int(label)
