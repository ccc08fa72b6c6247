"""What a metric gets and what it gives.

A metric is one file of this folder, named as the person names it (`ms-ssim` is `ms_ssim.py`), with

    NEEDS: frozenset[str]        what it cannot do without, out of NEEDED below
    LEAST: int                   images a side; with fewer its number would say nothing
    GIVES: tuple[str, ...]       the names of its numbers; meanings.py explains them to people
    measure(comparison) -> dict[str, Estimate]
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["NEEDED", "Comparison", "Estimate", "Features", "Generator", "Images", "Perceptual", "Side"]

NEEDED = {
    "features": "an extractor",
    "logits": "an extractor that is a classifier, such as inception",
    "labels": "class labels, one an image, of the real images",
    "fake labels": "generated images with class labels: a model trained with labels, or a folder a class",
    "held out": "real images that were not trained on (a split val or test)",
    "generator": "a model, not a folder of its pictures",
    "lpips": "LPIPS weights (--lpips-weights)",
}


class Estimate(NamedTuple):
    """A number and, where one makes sense, its 95 % interval over the choice of images."""

    value: float
    low: float | None = None
    high: float | None = None


class Features(NamedTuple):
    """What an extractor says of a set of images, in the images' order."""

    pooled: NDArray[np.float32]  # [N, D]
    logits: NDArray[np.float32] | None  # [N, K]


@dataclass(frozen=True)
class Images:
    """A set of images of one shape, read when asked for."""

    take: Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # positions [N] -> [N, H, W, C]
    positions: NDArray[np.int64]  # which of them are meant
    labels: NDArray[Any] | None  # int64 [N] or float32 [N, K], beside `positions`
    name: str  # for people
    identity: str  # hash of what they are: the dataset's content, or the model and the seed
    split: str  # "train", "val", "test", or "generated"

    @classmethod
    def generated(
        cls,
        images: NDArray[np.uint8],  # [N, H, W, C]
    ) -> "Images":
        """What a G has just made, all of it."""
        return cls(lambda rows: images[rows], np.arange(len(images)), None, "generated", "", "generated")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.uint8]:  # [N, H, W, C]
        return self.take(self.positions[rows])

    def only(self, rows: NDArray[np.int64]) -> "Images":
        """Some of them."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, positions=self.positions[rows], labels=labels)


class Side:
    """Images, and their features once somebody asks for them."""

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
        assert self._features.logits is not None, "the metric's NEEDS should name logits"
        return self._features.logits

    def only(self, rows: NDArray[np.int64]) -> "Side":
        """Some of the images; what is known of them is not computed again."""

        def known(_: Images) -> Features:
            pooled, logits = self._features
            return Features(pooled[rows], None if logits is None else logits[rows])

        return Side(self.images.only(rows), known)


@dataclass(frozen=True)
class Generator:
    """The network behind the generated images."""

    G: nn.Module  # G(z, y) -> float [N, C, H, W] in [-1, 1]
    latent: int  # size of z
    labels: Tensor | None  # int64 [N] or float [N, K], in its own classes, of the generated images; None: takes none


class Perceptual(Protocol):
    """A distance of two pictures; it is named as an extractor is."""

    id: str
    weights: str
    resize: str

    def __call__(
        self,
        a: Tensor,  # uint8 [N, C, H, W]
        b: Tensor,  # uint8 [N, C, H, W]
    ) -> Tensor: ...  # [N]


@dataclass(frozen=True)
class Comparison:
    """Everything a metric may look at."""

    real: Side
    fake: Side
    training: Side  # all images of the split `train`, which G was trained on
    held_out: Side | None  # real images that G was not trained on
    generator: Generator | None
    extract: Callable[[Tensor], Tensor]  # images in [0, 255], uint8 or float [N, C, H, W] -> features [N, D]
    class_names: list[str]
    seed: int
    lpips: Perceptual | None = None
    pictures: dict[str, Tensor] = field(default_factory=dict)  # uint8 [C, H, W] by name: what a metric shows besides
