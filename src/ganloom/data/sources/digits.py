"""The built-in dataset: 1,797 handwritten digits of 8x8 pixels (UCI, via scikit-learn), smoothly resized to 32x32."""

from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.data.sources.contract import Item, Remark

__all__ = ["DigitsSource", "open_source"]

SIDE = 32


class DigitsSource:
    """Ten classes, grey, all in the training split."""

    name = "digits"
    class_names = tuple("0123456789")
    splits = ("train",)
    count = 1797
    ignored = 0
    remarks: Sequence[Remark] = ()

    def fingerprint(self) -> Iterator[str]:
        yield "scikit-learn digits, 1797 images, cubic to 32x32, version 1"

    def items(self) -> Iterator[Item]:
        images, labels = _load()
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield Item(str(index), "train", int(label), partial(_enlarge, image))


def open_source(spec: str) -> DigitsSource:
    return DigitsSource()


@cache
def _load() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # its import takes a second; only this source needs it

    digits = load_digits()
    return digits.images, digits.target


def _enlarge(image: NDArray[np.float64]) -> Image.Image:
    """Scale values 0..16 to a smooth 32x32 picture, with a margin of one source pixel so that no stroke is cut off."""
    padded = np.pad(image, 1).astype(np.float32) * (255 / 16)
    large = Image.fromarray(padded).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Image.fromarray(np.asarray(large).round().clip(0, 255).astype(np.uint8))
