"""`Inputs` of a metric from plain arrays, with cheap features; images for the tests of metrics."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ganloom.data.sources.digits import DigitsSource
from ganloom.data.sources.shapes import draw, factors
from ganloom.metrics.contract import Features, Generator, Images, ImageSet, Inputs

Array = NDArray[np.uint8]  # [N, H, W, C]
Labels = NDArray[np.int64] | NDArray[np.float32] | None  # [N] or [N, K]


def small_pixels(
    images: Tensor,  # [N, C, H, W] in [0, 255]
) -> Tensor:  # float32 [N, C*64]
    """Area-averaged to 8x8: blind to noise, and little moved by the shift of a pixel."""
    return F.adaptive_avg_pool2d(images.float(), 8).flatten(1)


def images_of(array: Array, labels: Labels = None, split: str = "train") -> Images:
    return Images(lambda rows: array[rows], np.arange(len(array)), labels, split, f"test-{split}", split)


def side_of(
    array: Array, labels: Labels = None, split: str = "train", extract: Callable[[Tensor], Tensor] = small_pixels
) -> ImageSet:
    def features(images: Images) -> Features:
        batches = [
            extract(torch.from_numpy(images[slice(start, start + 500)]).permute(0, 3, 1, 2)).numpy()
            for start in range(0, len(images), 500)
        ]
        return Features(np.concatenate(batches), None)

    return ImageSet(images_of(array, labels, split), features)


def comparison(
    real: Array,
    fake: Array,
    *,
    held_out: Array | None = None,
    labels: Labels = None,  # of the real images
    fake_labels: Labels = None,
    held_out_labels: Labels = None,
    generator: Generator | None = None,
    class_names: list[str] | None = None,
    extract: Callable[[Tensor], Tensor] = small_pixels,
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Inputs:
    """The real images are also those that were trained on."""
    training = side_of(real, labels, "train", extract)
    return Inputs(
        real=training,
        fake=side_of(fake, fake_labels, "generated", extract),
        training=training,
        held_out=None if held_out is None else side_of(held_out, held_out_labels, "val", extract),
        generator=generator,
        extract=extract,
        class_names=class_names or [],
        seed=seed,
        lpips=lpips,
    )


@cache
def shapes(count: int, start: int = 0, size: int = 32) -> tuple[Array, NDArray[np.int64]]:
    """Coloured shapes number `start` to `start + count`: images [N, size, size, 3] and which of 5 shapes each is."""
    known = [factors(index) for index in range(start, start + count)]
    return np.stack([np.asarray(draw(one, size, size)) for one in known]), np.array([one.shape for one in known])


@cache
def digits() -> tuple[Array, NDArray[np.int64]]:
    """All 1,797 handwritten digits, in a fixed mixed order: images [N, 32, 32, 1] and labels."""
    items = list(DigitsSource().items())
    order = np.random.default_rng(0).permutation(len(items))
    images = np.stack([np.asarray(item.open()) for item in items])[..., None]
    return images[order], np.array([item.label for item in items], np.int64)[order]


def shifted(
    images: Array,
    right: int = 1,
) -> Array:
    """Moved by whole pixels; the edge is repeated."""
    return np.concatenate([np.repeat(images[:, :, :1], right, 2), images[:, :, :-right]], axis=2)
