"""DCGAN (Radford et al. 2016), at any image size from 8 to 512 pixels a side.

At powers of two the layers are the paper's. At other sizes stage k is ceil(size / 2^k) pixels: D pads odd maps by one
pixel more at the right and the bottom, G crops what is one pixel too many.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.labels import LabelEmbedding, latent_share

__all__ = ["Discriminator", "Generator"]

SMALLEST, LARGEST = 8, 512
WIDEST = 8  # widths double towards the 4x4 end, up to this many times `width`


class Generator(nn.Module):
    """Transposed 4x4 convolutions, BatchNorm and ReLU; tanh at the end. No biases."""

    def __init__(self, shape: ImageShape, latent: int, classes: int, *, width: PositiveInt = 64) -> None:
        super().__init__()
        sizes, widths = stages(shape, width)
        self.sizes = sizes[-2::-1]  # (height, width) after each up-sampling, small to large
        self.embed = LabelEmbedding(classes, latent_share(latent), std=1.0) if classes else None
        inputs = latent + latent_share(latent) if classes else latent
        self.first = _Up(nn.ConvTranspose2d(inputs, widths[-1], sizes[-1], bias=False))
        self.ups = nn.ModuleList(
            _Up(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False))
            for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.ConvTranspose2d(widths[0], shape.channels, 4, 2, 1, bias=False)
        self.apply(initialise)

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        if self.embed is not None:
            z = torch.cat([z, self.embed(y)], dim=1)
        x = self.first(z[:, :, None, None])
        for up, (height, width) in zip([*self.ups, self.last], self.sizes, strict=True):
            x = up(x)[:, :, :height, :width]
        return torch.tanh(x)


class _Up(nn.Module):
    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Discriminator(nn.Module):
    """4x4 convolutions of stride 2, LeakyReLU, BatchNorm in all but the first. No biases.

    `head: conv` ends in a convolution over the whole last map; `head: pool` in adaptive average pooling and a 1x1
    convolution, whose weights do not depend on the image's size. Labels enter by projection (Miyato & Koyama 2018).
    """

    def __init__(
        self, shape: ImageShape, classes: int, *, width: PositiveInt = 64, head: Literal["conv", "pool"] = "conv"
    ) -> None:
        super().__init__()
        sizes, widths = stages(shape, width)
        self.first = _Down(shape.channels, widths[0], norm=False)
        self.downs = nn.Sequential(*(_Down(before, after, norm=True) for before, after in pairwise(widths)))
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1) if head == "pool" else nn.Identity()
        self.head = nn.Conv2d(widths[-1], 1, 1 if head == "pool" else sizes[-1], bias=False)
        self.embed = LabelEmbedding(classes, widths[-1], std=0.02) if classes else None
        self.apply(initialise)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        h = self.downs(self.first(x))
        logits = self.head(self.pool(h)).flatten()
        features = h.sum(dim=(2, 3))  # a mean would leave the projection too weak to teach classes
        if self.embed is not None:
            logits = logits + (self.embed(y) * features).sum(1)
        return Judgement(logits, features)


class _Down(nn.Module):
    def __init__(self, before: int, after: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(after) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        x = self.conv(x)
        return F.leaky_relu(x if self.norm is None else self.norm(x), 0.2, inplace=True)


def stages(shape: ImageShape, width: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Sizes of the image and of every map below it, down to about 4 pixels, and the widths of those maps."""
    height, wide = shape.height, shape.width
    if not SMALLEST <= min(height, wide) <= max(height, wide) <= LARGEST:
        raise ValueError(
            f"dcgan makes images of {SMALLEST} to {LARGEST} pixels a side, not {height}x{wide}: "
            f"choose another size with --size"
        )
    count = max(1, round(math.log2(min(height, wide) / 4)))
    sizes = [(-(-height // 2**k), -(-wide // 2**k)) for k in range(count + 1)]
    return sizes, [width * min(2**k, WIDEST) for k in range(count)]


def initialise(module: nn.Module) -> None:
    """N(0, .02) for weights and N(1, .02) for BatchNorm's (Radford et al. 2016, section 3)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
