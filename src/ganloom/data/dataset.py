"""What training and metrics need of a set of images, wherever the images lie."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ganloom.core.shapes import ImageShape

__all__ = ["Dataset", "Labels"]

Labels = NDArray[np.int64] | NDArray[np.float32]


class Dataset(Protocol):
    """Images of one shape, in splits, with or without class labels.

    `ganloom.prepare` and `ganloom.open_dataset` return one.
    """

    @property
    def name(self) -> str:
        """What it is called in messages, scores and run names."""
        ...

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width of every image."""
        ...

    @property
    def class_names(self) -> list[str]:
        """Class k is called `class_names[k]`; empty without classes."""
        ...

    @property
    def splits(self) -> list[str]:
        """Names of its splits: some of train, val and test."""
        ...

    @property
    def content_hash(self) -> str:
        """sha256 over shape, classes, splits, labels and every pixel: two datasets with one hash are the same."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether every training image has a label."""
        ...

    def count(self, split: str = "train") -> int:
        """Images in a split; 0 for a split that does not exist."""
        ...

    def images(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> NDArray[np.uint8]:  # [N, H, W, C]
        """Some images of a split. Raises `DataError` where they cannot be read."""
        ...

    def labels(
        self,
        index: NDArray[np.int64],  # [N], positions in the split
        split: str = "train",
    ) -> Labels:  # int64 [N], or float32 [N, K] where classes overlap; -1 is an image without a label
        """Their labels, in the same order."""
        ...
