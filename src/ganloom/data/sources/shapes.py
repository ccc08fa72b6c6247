"""Drawn coloured shapes. Every factor of an image is known, so it can be counted which ones a generator misses.

`shapes` is 64x64; `shapes:32` and `shapes:48x64` are the same pictures in another size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganloom.core.errors import DataError
from ganloom.core.rng import key
from ganloom.core.shapes import parse_size
from ganloom.data.sources.contract import Item, Remark

__all__ = ["COLOURS", "SHAPES", "Factors", "ShapesSource", "draw", "factors", "open_source"]

COUNT = 10_000
SIZES = range(8, 1025)
BACKGROUND = (48, 48, 48)
RADIUS = 0.2  # fraction of the shorter side
REACH = 0.78  # the centre lies between 1 - REACH and REACH of the side, so that the shape keeps a margin
SAMPLES = 4  # per side of each pixel

COLOURS = {
    "red": (230, 60, 60),
    "green": (60, 190, 75),
    "blue": (65, 105, 240),
    "yellow": (240, 220, 60),
    "magenta": (230, 70, 220),
    "cyan": (70, 220, 230),
}

Coordinates = NDArray[np.float64]
# Whether a point is inside the shape: u to the right and v down, in units of RADIUS from the centre.
_INSIDE: dict[str, Callable[[Coordinates, Coordinates], NDArray[np.bool_]]] = {
    "circle": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.85,
    "triangle": lambda u, v: (abs(u) <= (v + 1) / 1.8) & (v <= 0.8),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.3) & (np.maximum(abs(u), abs(v)) <= 1),
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.6**2),
}
SHAPES = tuple(_INSIDE)


@dataclass(frozen=True)
class Factors:
    """Everything that an image consists of."""

    shape: int  # index in SHAPES; the class
    colour: int  # index in COLOURS
    x: float  # of the centre, as a fraction of the width from the left
    y: float  # of the centre, as a fraction of the height from the top


def factors(index: int) -> Factors:
    """The factors of image `index`. Shapes and colours alternate, so each of the 30 pairs is equally frequent."""
    shape, colour = index % len(SHAPES), index // len(SHAPES) % len(COLOURS)
    x, y = ((1 - REACH) + (2 * REACH - 1) * key("shapes", index, axis) / 2**63 for axis in "xy")
    return Factors(shape, colour, x, y)


def draw(factors: Factors, height: int, width: int) -> Image.Image:
    """The picture, with edges smoothed by 4x4 samples per pixel."""
    radius = RADIUS * min(height, width)
    u = ((np.arange(width * SAMPLES) + 0.5) / SAMPLES - factors.x * width) / radius
    v = ((np.arange(height * SAMPLES) + 0.5) / SAMPLES - factors.y * height) / radius
    inside = _INSIDE[SHAPES[factors.shape]](u[None, :], v[:, None])
    covered = inside.reshape(height, SAMPLES, width, SAMPLES).mean(axis=(1, 3))[..., None]  # [H, W, 1] of 0..1
    background, colour = np.array(BACKGROUND), np.array(list(COLOURS.values())[factors.colour])
    return Image.fromarray((background + covered * (colour - background)).round().astype(np.uint8))


class ShapesSource:
    """10,000 pictures, all in the training split; the classes are the shapes."""

    class_names = SHAPES
    splits = ("train",)
    count = COUNT
    ignored = 0
    remarks: Sequence[Remark] = ()

    def __init__(self, height: int, width: int) -> None:
        self.name = f"shapes-{height}x{width}"
        self._size = height, width

    def fingerprint(self) -> Iterator[str]:
        yield f"{COUNT} coloured shapes, {self._size}, version 1"

    def items(self) -> Iterator[Item]:
        for index in range(COUNT):
            known = factors(index)
            yield Item(str(index), "train", known.shape, partial(draw, known, *self._size))


def open_source(spec: str) -> ShapesSource:
    """Raises `DataError` for an invalid size."""
    try:
        height, width = parse_size(spec or 64)
    except ValueError as error:
        raise DataError(f"shapes:{spec}: {error}.") from None
    if height not in SIZES or width not in SIZES:
        raise DataError(f"shapes:{spec}: a side should have {SIZES[0]} to {SIZES[-1]} pixels.")
    return ShapesSource(height, width)
