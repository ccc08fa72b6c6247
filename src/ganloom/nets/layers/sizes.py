"""Sizes and widths of maps from the image down to about 4 pixels, and how to halve and double a map.

After k halvings a side has ceil(side / 2^k) pixels, so images of any size work. `halve(double(x))` is exactly `x`.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from ganloom.core.shapes import MAX_SIDE, ImageShape

__all__ = ["Size", "check_sides", "double", "halve", "map_sizes", "width_at"]

MIN_SIDE = 8  # pixels
Size = tuple[int, int]  # height, width


def map_sizes(shape: ImageShape, family: str) -> list[Size]:
    """Map sizes by level, from about 4 pixels (level 0) to the image. Raises `ValueError` for an image out of range."""
    check_sides(shape, family, MIN_SIDE)
    height, width = shape.height, shape.width
    count = max(1, round(math.log2(min(height, width) / 4)))
    return [(-(-height // 2**k), -(-width // 2**k)) for k in reversed(range(count + 1))]


def check_sides(shape: ImageShape, family: str, least: int = 1) -> None:
    """Raises `ValueError` for an image with a side of fewer than `least` pixels, or of more than any network makes."""
    height, width = shape.height, shape.width
    if not least <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ValueError(
            f"{family} makes images of {least} to {MAX_SIDE} pixels per side, not {height}x{width}: "
            f"choose another size with --size"
        )


def width_at(level: int, width: int, full: int = 32) -> int:
    """Channels of the map at a level: `width` up to about `full` pixels; each further doubling halves them."""
    return max(1, width >> max(0, level - max(0, round(math.log2(full / 4)))))


def double(x: Tensor, size: Size) -> Tensor:
    """Double [N, C, h, w] by nearest neighbour, cropped to `size` at the right and the bottom."""
    return F.interpolate(x, scale_factor=2, mode="nearest")[:, :, : size[0], : size[1]]


def halve(x: Tensor) -> Tensor:
    """Halve [N, C, h, w] by 2x2 means; an odd side is first extended by repeating its last pixel."""
    height, width = x.shape[2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
    return F.avg_pool2d(x, 2)
