"""From the image down to a map of about 4 pixels, and back: sizes, widths, halving and doubling.

Stage sizes of a side are ceil(side / 2^k), so any image has them. `halve` of `double` is exactly what went in.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from ganloom.core.shapes import ImageShape

__all__ = ["Size", "double", "halve", "map_sizes", "width_at"]

SMALLEST, LARGEST = 8, 1024
Size = tuple[int, int]  # height, width


def map_sizes(shape: ImageShape, family: str) -> list[Size]:
    """Sizes by level, from about 4 pixels (level 0) up to the image. Raises ValueError for images out of range."""
    height, width = shape.height, shape.width
    if not SMALLEST <= min(height, width) <= max(height, width) <= LARGEST:
        raise ValueError(
            f"{family} makes images of {SMALLEST} to {LARGEST} pixels a side, not {height}x{width}: "
            f"choose another size with --size"
        )
    count = max(1, round(math.log2(min(height, width) / 4)))
    return [(-(-height // 2**k), -(-width // 2**k)) for k in reversed(range(count + 1))]


def width_at(level: int, width: int, full: int = 32) -> int:
    """Channels of the map at a level: `width` up to about `full` pixels, then half as many at each doubling."""
    return max(1, width >> max(0, level - max(0, round(math.log2(full / 4)))))


def double(x: Tensor, size: Size) -> Tensor:
    """Nearest neighbour, twice as large, cut to `size` at the right and the bottom."""
    return F.interpolate(x, scale_factor=2, mode="nearest")[:, :, : size[0], : size[1]]


def halve(x: Tensor) -> Tensor:
    """Means of 2x2 pixels; an odd side is first continued by its last pixel."""
    height, width = x.shape[2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(x, 2)
