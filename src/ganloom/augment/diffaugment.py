"""Differentiable Augmentation (Zhao et al. 2020, section 3, arXiv 2006.10738).

Real and generated images are both augmented, in D's step and in G's. So G learns images that look real after the
augmentation, not augmented images. It suits few images or short runs, since nothing has to adapt first. It neither
rotates nor flips: a heart is on one side.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

__all__ = ["Augment", "color", "cutout", "translation"]

COLOURS = 3  # a fourth channel is alpha and keeps its values

Policy = Annotated[tuple[Literal["color", "translation", "cutout"], ...], Field(min_length=1)]


class Augment(nn.Module):
    """Apply those of `color`, `translation` and `cutout` that the policy names, in this order, drawn per image."""

    def __init__(self, channels: int, *, policy: Policy = ("color", "translation", "cutout")) -> None:
        super().__init__()
        self.colours = min(channels, COLOURS)
        self.policy = frozenset(policy)

    def forward(
        self,
        images: Tensor,  # float [N, C, H, W] in [-1, 1]
    ) -> Tensor:  # [N, C, H, W]; colours may leave [-1, 1]
        if "color" in self.policy:
            coloured = color(images[:, : self.colours])
            # An alpha channel, if there is one, keeps its values.
            images = torch.cat([coloured, images[:, self.colours :]], 1) if images.shape[1] > COLOURS else coloured
        if "translation" in self.policy:
            images = translation(images)
        if "cutout" in self.policy:
            images = cutout(images)
        return images


def color(
    images: Tensor,  # [N, C, H, W] without alpha
) -> Tensor:  # [N, C, H, W]
    """Brightness, saturation (if there are several channels) and contrast, in this order.

    Brightness adds U(-.5, .5). Saturation multiplies the difference from the mean over a pixel's channels by U(0, 2),
    contrast the difference from the image's mean by U(.5, 1.5).
    """
    images = images + uniform(-0.5, 0.5, images)
    if images.shape[1] > 1:
        images = torch.lerp(images.mean(1, keepdim=True), images, uniform(0, 2, images))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, uniform(0.5, 1.5, images))


def translation(
    images: Tensor,  # [N, C, H, W]
) -> Tensor:  # [N, C, H, W]
    """Shift by whole pixels, in each direction by up to 1/8 of the side (rounded). The gap is filled with zeros."""
    height, width = images.shape[2:]
    rows, missing_rows = shifted(height, images)
    columns, missing_columns = shifted(width, images)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None, :]  # [N, 1, H*W]
    moved = images.flatten(2).gather(2, pixels.expand(-1, images.shape[1], -1)).view(images.shape)
    return moved.masked_fill((missing_rows[:, :, None] | missing_columns[:, None, :])[:, None], 0)


def cutout(
    images: Tensor,  # [N, C, H, W]
) -> Tensor:  # [N, C, H, W]
    """Set a rectangle of half the height and width to 0. Its centre is anywhere, so part of it may lie outside."""
    rows, columns = (segment(side, images) for side in images.shape[2:])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


# Random draws, one per image.


def uniform(low: float, high: float, images: Tensor) -> Tensor:  # [N, 1, 1, 1]
    return torch.empty(len(images), 1, 1, 1, dtype=images.dtype, device=images.device).uniform_(low, high)


def shifted(side: int, images: Tensor) -> tuple[Tensor, Tensor]:  # int64 [N, side], bool [N, side]
    """The source index of each pixel along a side, and which sources lie outside.

    Those outside wrap around to the other end. So each pixel is used exactly once, and its gradient is one term, not a
    sum that depends on the order.
    """
    reach = int(side / 8 + 0.5)
    shift = torch.randint(-reach, reach + 1, (len(images), 1), device=images.device)
    source = torch.arange(side, device=images.device) - shift
    return source % side, (source < 0) | (source >= side)


def segment(side: int, images: Tensor) -> Tensor:  # bool [N, side]
    """A mask of an interval half as long as the side, with its centre anywhere on the side."""
    length = side // 2
    outside = length // 2
    first = torch.randint(-outside, side - length + outside + 1, (len(images), 1), device=images.device)
    index = torch.arange(side, device=images.device)
    return (index >= first) & (index < first + length)
