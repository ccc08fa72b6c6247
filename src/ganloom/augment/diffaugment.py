"""Differentiable Augmentation (Zhao et al. 2020, section 3, arXiv 2006.10738).

Real and generated images alike, in D's step and in G's: G learns what looks real after the augmentation, not augmented
images. For few images or short runs; there is nothing to warm up. It turns and flips nothing: a heart has a side.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

__all__ = ["Augment", "color", "cutout", "translation"]

COLOURS = 3  # a fourth channel is alpha, and has no colour

Policy = Annotated[tuple[Literal["color", "translation", "cutout"], ...], Field(min_length=1)]


class Augment(nn.Module):
    """Those of `color`, `translation` and `cutout` that the policy names, in this order, drawn for each image."""

    def __init__(self, channels: int, *, policy: Policy = ("color", "translation", "cutout")) -> None:
        super().__init__()
        self.colours = min(channels, COLOURS)
        self.policy = frozenset(policy)

    def forward(
        self,
        images: Tensor,  # float [N, C, H, W] in [-1, 1]
    ) -> Tensor:  # [N, C, H, W], beyond [-1, 1] where colours grew brighter or stronger
        if "color" in self.policy:
            coloured = color(images[:, : self.colours])
            # What has no colour, if there is such a channel, goes by untouched.
            images = torch.cat([coloured, images[:, self.colours :]], 1) if images.shape[1] > COLOURS else coloured
        if "translation" in self.policy:
            images = translation(images)
        if "cutout" in self.policy:
            images = cutout(images)
        return images


def color(
    images: Tensor,  # [N, C, H, W] without alpha
) -> Tensor:  # [N, C, H, W]
    """Brightness + U(-.5, .5); distance from the pixel's mean * U(0, 2) (saturation, where there are several channels);
    distance from the image's mean * U(.5, 1.5) (contrast).
    """
    images = images + uniform(-0.5, 0.5, images)
    if images.shape[1] > 1:
        images = torch.lerp(images.mean(1, keepdim=True), images, uniform(0, 2, images))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, uniform(0.5, 1.5, images))


def translation(
    images: Tensor,  # [N, C, H, W]
) -> Tensor:  # [N, C, H, W]
    """Move by whole pixels, up to 1/8 of the side each way, rounded; zeros come in behind."""
    height, width = images.shape[2:]
    rows, missing_rows = shifted(height, images)
    columns, missing_columns = shifted(width, images)
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None, :]  # [N, 1, H*W]
    moved = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1)).view(images.shape)
    return moved.masked_fill((missing_rows[:, :, None] | missing_columns[:, None, :])[:, None], 0)


def cutout(
    images: Tensor,  # [N, C, H, W]
) -> Tensor:  # [N, C, H, W]
    """Set a square half as long as the sides to 0. Its centre is anywhere, so half its length may lie outside."""
    rows, columns = (segment(side, images) for side in images.shape[2:])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


# What they draw, for each image.


def uniform(low: float, high: float, images: Tensor) -> Tensor:  # [N, 1, 1, 1]
    return torch.empty(len(images), 1, 1, 1, dtype=images.dtype, device=images.device).uniform_(low, high)


def shifted(side: int, images: Tensor) -> tuple[Tensor, Tensor]:  # int64 [N, side], bool [N, side]
    """Where the pixels along a side come from, and which of them come from outside.

    Those point to the other end: no pixel is asked for twice, so gradients have one summand, and no order of summation.
    """
    reach = int(side / 8 + 0.5)
    shift = torch.randint(-reach, reach + 1, (len(images), 1), device=images.device)
    source = torch.arange(side, device=images.device) - shift
    return source % side, (source < 0) | (source >= side)


def segment(side: int, images: Tensor) -> Tensor:  # bool [N, side]
    """A stretch half as long as the side, its centre anywhere on it."""
    length = side // 2
    outside = length // 2
    first = torch.randint(-outside, side - length + outside + 1, (len(images), 1), device=images.device)
    place = torch.arange(side, device=images.device)
    return (place >= first) & (place < first + length)
