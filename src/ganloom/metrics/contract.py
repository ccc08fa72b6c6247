"""What a metric receives and returns.

A metric is one file in this folder with the name that users type (`ms-ssim` is `ms_ssim.py`). It defines

    NEEDS: frozenset[str]        what it requires: keys of `NEEDED` below
    MIN_IMAGES: int              generated, and real, images below which its numbers are meaningless
    NUMBERS: tuple[str, ...]     names of the numbers it returns; meanings.py explains them to users
    measure(inputs) -> dict[str, Estimate]
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["NEEDED", "Estimate", "Features", "Generator", "ImageSet", "Images", "Inputs", "Perceptual"]

NEEDED = {
    "features": "an extractor",
    "logits": "an extractor that is a classifier, such as inception",
    "labels": "real images with one class label each",
    "fake labels": "generated images with class labels: from a model trained with labels, or in one folder per class",
    "held out": "real images that the model was not trained on (a split val or test)",
    "generator": "a model, not a folder of generated images",
    "lpips": "LPIPS weights (--lpips-weights)",
}


class Estimate(NamedTuple):
    """A number and, where one is defined, its 95 % confidence interval over the choice of images."""

    value: float
    low: float | None = None
    high: float | None = None


class Features(NamedTuple):
    """An extractor's outputs for a set of images, in the order of the images."""

    pooled: NDArray[np.float32]  # [N, D]
    logits: NDArray[np.float32] | None  # [N, K]; None if the extractor is no classifier


@dataclass(frozen=True)
class Images:
    """A set of images of one shape, read lazily."""

    take: Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # positions [N] -> [N, H, W, C]
    positions: NDArray[np.int64]  # [N], of the images of this set
    labels: NDArray[Any] | None  # int64 [N] or float32 [N, K], in the order of `positions`; -1 is unlabelled
    name: str  # shown to users
    identity: str  # hash of the content: of the dataset, or of the model and the seed; empty if it is not known
    split: str  # "train", "val", "test", or "generated"

    @classmethod
    def generated(
        cls,
        images: NDArray[np.uint8],  # [N, H, W, C]
    ) -> "Images":
        """Images held in memory, for example those that a generator has just made."""
        return cls(lambda rows: images[rows], np.arange(len(images)), None, "generated", "", "generated")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.uint8]:  # [N, H, W, C]
        return self.take(self.positions[rows])

    def only(self, rows: NDArray[np.int64]) -> "Images":
        """The images in `rows` alone."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, positions=self.positions[rows], labels=labels)


class ImageSet:
    """Images and their features, which are extracted at the first access."""

    def __init__(self, images: Images, extract: Callable[[Images], Features]) -> None:
        self.images = images
        self._extract = extract

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[Any] | None:
        return self.images.labels

    @cached_property
    def _features(self) -> Features:
        return self._extract(self.images)

    @property
    def features(self) -> NDArray[np.float32]:  # [N, D]
        return self._features.pooled

    @property
    def logits(self) -> NDArray[np.float32]:  # [N, K]
        assert self._features.logits is not None, "add logits to the metric's NEEDS"
        return self._features.logits

    def only(self, rows: NDArray[np.int64]) -> "ImageSet":
        """The images in `rows` alone; their features are taken from this set, not extracted again."""

        def taken(_: Images) -> Features:
            pooled, logits = self._features
            return Features(pooled[rows], None if logits is None else logits[rows])

        return ImageSet(self.images.only(rows), taken)


@dataclass(frozen=True)
class Generator:
    """The network that made the generated images."""

    G: nn.Module  # G(z, y) -> float [N, C, H, W] in [-1, 1]
    latent: int  # dimension of z
    labels: Tensor | None  # int64 [N] or float [N, K], of the generated images, as G numbers them; None if G takes none


class Perceptual(Protocol):
    """A perceptual distance between two images, identified as an extractor is."""

    id: str
    weights: str
    resize: str

    def __call__(
        self,
        a: Tensor,  # uint8 [N, C, H, W]
        b: Tensor,  # uint8 [N, C, H, W]
    ) -> Tensor: ...  # [N]


@dataclass(frozen=True)
class Inputs:
    """Everything that a metric may use."""

    real: ImageSet
    fake: ImageSet
    training: ImageSet  # all images that G was trained on: the split `train`
    held_out: ImageSet | None  # real images that G was not trained on
    generator: Generator | None
    extract: Callable[[Tensor], Tensor]  # images in [0, 255], uint8 or float [N, C, H, W] -> features [N, D]
    class_names: list[str]
    seed: int
    lpips: Perceptual | None = None
    pictures: dict[str, Tensor] = field(default_factory=dict)  # uint8 [C, H, W] by name, added by metrics
