"""DCGAN (Radford et al. 2016) for images of 8 to 1,024 pixels per side.

For powers of two the layers are the paper's. For other sizes, the map after k halvings has ceil(size / 2^k) pixels: D
pads odd maps by one pixel at the right and bottom, and G crops the extra pixel.
"""

from itertools import pairwise
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.labels import LabelHead, LabelUse
from ganloom.nets.layers.sizes import map_sizes
from ganloom.nets.layers.spectral import spectral_norm
from ganloom.nets.layers.strided import ConvFromVector, ConvToVector, Down, Up, initialise

__all__ = ["Discriminator", "Generator"]

MAX_FACTOR = 8  # widths double at each halving, up to this many times `width`


class Generator(nn.Module):
    """Transposed 4x4 convolutions, BatchNorm and ReLU; tanh at the end. No biases.

    Labels select the gains and biases of BatchNorm (Dumoulin et al. 2017; Miyato & Koyama 2018). When they were
    concatenated to z instead, G ignored z and collapsed to one image per class.
    """

    def __init__(self, shape: ImageShape, latent: int, classes: int, *, width: PositiveInt = 64) -> None:
        super().__init__()
        smallest, *self.sizes = map_sizes(shape, "dcgan")
        widths = _widths(len(self.sizes), width)
        self.first = Up(ConvFromVector(latent, widths[-1], smallest), classes)
        self.ups = nn.ModuleList(
            Up(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), classes)
            for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.ConvTranspose2d(widths[0], shape.channels, 4, 2, 1, bias=False)
        self.apply(initialise)

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        x = self.first(z, y)
        for up, (height, width) in zip(self.ups, self.sizes[:-1], strict=True):
            x = up(x, y)[:, :, :height, :width]
        height, width = self.sizes[-1]
        return torch.tanh(self.last(x)[:, :, :height, :width])

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.ups, self.last]


class Discriminator(nn.Module):
    """4x4 convolutions of stride 2, LeakyReLU, BatchNorm in all but the first. No biases, as published.

    Without biases, D is blind to contrast: BatchNorm and LayerNorm take out whatever factor a batch of images is
    multiplied by, so that nothing keeps G's pictures from growing grey. `bias: true` gives the first convolution
    biases, and D sees contrast. With `norm: spectral` or `none` it sees it in any case.

    `head: conv` ends in a convolution over the whole last map; `head: pool` in adaptive average pooling and a 1x1
    convolution, so that the number of weights does not depend on the image size. `norm` replaces BatchNorm, which the
    penalties `wgan_gp` and `dragan` do not allow; `spectral` normalises the weights instead of the maps.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        width: PositiveInt = 64,
        head: Literal["conv", "pool"] = "conv",
        norm: Literal["batch", "layer", "spectral", "none"] = "batch",
        labels: LabelUse = "projection",
        bias: bool = False,
    ) -> None:
        super().__init__()
        smallest, *larger = map_sizes(shape, "dcgan")
        widths = _widths(len(larger), width)
        map_norm = "none" if norm == "spectral" else norm
        self.first = Down(shape.channels, widths[0], "none", bias=bias)
        self.downs = nn.Sequential(*(Down(before, after, map_norm) for before, after in pairwise(widths)))
        self.pool: nn.Module = nn.AdaptiveAvgPool2d(1) if head == "pool" else nn.Identity()
        self.head = ConvToVector(widths[-1], 1, 1 if head == "pool" else smallest)
        self.labels = LabelHead(classes, widths[-1], labels)
        self.apply(initialise)
        if norm == "spectral":
            spectral_norm(self)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        h = self.downs(self.first(x))
        logits = self.head(self.pool(h)).flatten()
        features = h.sum(dim=(2, 3))  # with a mean, the projection is too weak for G to learn the classes
        judgement: Judgement = self.labels(logits, features, y)
        return judgement

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.downs, self.head]


def _widths(count: int, width: int) -> list[int]:
    """Channels of the maps after each halving, from the largest map to the smallest."""
    return [width * min(2**k, MAX_FACTOR) for k in range(count)]
