"""What training and metrics need of a set of images, wherever the images lie."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ganloom.core.shapes import ImageShape

if TYPE_CHECKING:  # images are prepared without torch
    from torch import Tensor

    from ganloom.data.view import SplitView

__all__ = ["Dataset", "Labels"]

Labels = NDArray[np.int64] | NDArray[np.float32]


class Dataset(Protocol):
    """Images of one shape, in splits, with or without class labels.

    `ganloom.prepare` and `ganloom.open_dataset` return one. `len(dataset)` and `dataset[i]` are about its training
    images; `dataset.view("val")` gives any split to a PyTorch `DataLoader`.

    >>> import ganloom
    >>> dataset = ganloom.prepare("digits", "packed/looked-at", size=32)
    >>> len(dataset)
    1720
    >>> image, label = dataset[0]
    >>> image.shape, dataset.class_names[label]
    (torch.Size([1, 32, 32]), '0')
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

    def __len__(self) -> int:
        """Number of training images."""
        return self.count()

    def __getitem__(self, index: int) -> "tuple[Tensor, int | Tensor]":
        """A training image, uint8 [C, H, W], and its label, as in `view`."""
        return self.view()[index]

    def view(self, split: str = "train") -> "SplitView":
        """A split as a PyTorch `Dataset`: image, uint8 [C, H, W], and label, for a `DataLoader`.

        The label is the number of a class, -1 without one; float32 [K] where classes overlap. Raises `DataError` for a
        split that does not exist.

        >>> import ganloom
        >>> from torch.utils.data import DataLoader
        >>> dataset = ganloom.prepare("digits", "packed/viewed", size=32)
        >>> images, labels = next(iter(DataLoader(dataset.view("val"), batch_size=16)))
        >>> images.shape, images.dtype, labels.shape
        (torch.Size([16, 1, 32, 32]), torch.uint8, torch.Size([16]))

        """
        from ganloom.data.view import SplitView

        return SplitView(self, split)
