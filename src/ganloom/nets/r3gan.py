"""R3GAN (Huang et al. 2024, arXiv 2501.05441): residual networks without normalisation, the same blocks in G and D.

They are made for the loss `relativistic` with both `r1` and `r2`. The smallest maps have about 4 pixels. Maps of up to
`full` pixels have `width` channels; each doubling beyond that halves the number of channels.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.labels import LabelEmbedding
from ganloom.nets.layers.precision import full_precision, is_full_precision
from ganloom.nets.layers.resample import filtered_double, filtered_halve
from ganloom.nets.layers.sizes import Size, map_sizes, width_at

__all__ = ["Discriminator", "Generator"]

SLOPE = 0.2  # of LeakyReLU
EXPANSION = 2  # a block has this many times as many channels inside


class Generator(nn.Module):
    """Learned 4x4 maps weighted by z, residual blocks between doublings, a 1x1 to the image; no activation at the end.

    Labels are embedded in a vector as long as z, concatenated to z. `group` is the number of channels in each group of
    a 3x3 convolution, `blocks` the number of residual blocks at each size.
    """

    def __init__(
        self,
        shape: ImageShape,
        latent: int,
        classes: int,
        *,
        width: PositiveInt = 768,
        full: PositiveInt = 32,
        group: PositiveInt = 16,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, "r3gan")
        widths = [width_at(level, width, full) for level in range(len(sizes))]
        self.first = _Basis(latent, classes, widths[0], sizes[0])
        self.levels = nn.ModuleList(
            _Level(before, after, group, blocks, blocks * len(sizes), size)
            for before, after, size in zip([widths[0], *widths], widths, [None, *sizes[1:]], strict=False)
        )
        self.to_image = _conv(widths[-1], shape.channels, 1)

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        x = full_precision(self.first, z, y)
        for index, level in enumerate(self.levels):
            x = full_precision(level, x, when=is_full_precision(index, len(self.levels)))
        image: Tensor = self.to_image(x)
        return image

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.levels, self.to_image]


class _Basis(nn.Module):
    """Learned maps, each scaled by a linear function of z and, with labels, of a class embedding as long as z."""

    def __init__(self, latent: int, classes: int, width: int, size: Size) -> None:
        super().__init__()
        inputs = latent * (2 if classes else 1)
        self.embed = LabelEmbedding(classes, latent, std=classes**-0.5) if classes else None
        self.maps = nn.Parameter(torch.randn(width, *size))
        self.dense = nn.Linear(inputs, width, bias=False)
        nn.init.normal_(self.dense.weight, std=inputs**-0.5)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:  # [N, latent] -> [N, width, h, w]
        factors: Tensor = self.dense(z if self.embed is None else torch.cat([z, self.embed(y)], dim=1))
        return self.maps * factors[:, :, None, None]


class _Level(nn.Module):
    """G's maps of one size: a 1x1 if the width changes, a doubling except at the first size, then the blocks."""

    def __init__(self, before: int, after: int, group: int, blocks: int, total_blocks: int, size: Size | None) -> None:
        super().__init__()
        self.size = size
        self.change = None if before == after else _conv(before, after, 1)
        self.blocks = nn.Sequential(*(_Block(after, group, total_blocks) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        if self.change is not None:
            x = self.change(x)
        if self.size is not None:
            x = filtered_double(x, self.size)
        x = self.blocks(x)
        return x


class _Block(nn.Module):
    """x + 1x1(act(grouped 3x3(act(1x1(x))))), with biases before the activations.

    Without normalisation the sum over many blocks would grow. So the first two convolutions start smaller the more
    blocks (`total_blocks`) the network has, and the last starts at 0 (Zhang et al. 2019, Fixup, section 3).
    """

    def __init__(self, width: int, group: int, total_blocks: int) -> None:
        super().__init__()
        inner = width * EXPANSION
        groups = inner // math.gcd(inner, group)
        gain = math.sqrt(2 / (1 + SLOPE**2)) * total_blocks**-0.25
        self.expand = _conv(width, inner, 1, gain=gain, bias=True)
        self.mix = _conv(inner, inner, 3, groups=groups, gain=gain, bias=True)
        self.contract = _conv(inner, width, 1, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.expand(x), SLOPE, inplace=True)
        h = F.leaky_relu(self.mix(h), SLOPE, inplace=True)
        change: Tensor = self.contract(h)
        return x + change


class Discriminator(nn.Module):
    """The mirror image of the Generator, then a weighted sum over each map and a fully connected layer.

    With labels, the logit is the inner product of a vector of the image and a vector of the class.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        width: PositiveInt = 768,
        full: PositiveInt = 32,
        group: PositiveInt = 16,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, "r3gan")
        widths = [width_at(level, width, full) for level in range(len(sizes))]
        self.from_image = _conv(shape.channels, widths[-1], 1)
        self.levels = nn.ModuleList(  # from the smallest maps to the largest
            _DownLevel(widths[level], widths[level - 1] if level else None, group, blocks, blocks * len(sizes))
            for level in range(len(sizes))
        )
        self.head = _Head(widths[0], sizes[0], classes)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        x = self.from_image(x)
        for index in reversed(range(len(self.levels))):
            x = full_precision(self.levels[index], x, when=is_full_precision(index, len(self.levels)))
        features, logits = full_precision(self.head, x, y)
        return Judgement(logits, features)

    def stages(self) -> list[nn.Module]:
        return [self.from_image, *reversed(self.levels), self.head]


class _DownLevel(nn.Module):
    """D's maps of one size: the blocks; then, except at the last size, a halving and a 1x1 if the width changes."""

    def __init__(self, before: int, after: int | None, group: int, blocks: int, total_blocks: int) -> None:
        super().__init__()
        self.halves = after is not None
        self.blocks = nn.Sequential(*(_Block(before, group, total_blocks) for _ in range(blocks)))
        self.change = None if after in (None, before) else _conv(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        if self.halves:
            x = filtered_halve(x)
        return x if self.change is None else self.change(x)


class _Head(nn.Module):
    def __init__(self, width: int, size: Size, classes: int) -> None:
        super().__init__()
        self.embed = LabelEmbedding(classes, width, std=width**-0.5) if classes else None
        self.over_map = nn.Conv2d(width, width, size, groups=width, bias=False)
        self.dense = nn.Linear(width, width if classes else 1, bias=False)
        nn.init.normal_(self.over_map.weight, std=math.prod(size) ** -0.5)
        nn.init.normal_(self.dense.weight, std=width**-0.5)

    def forward(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:  # [N, C, h, w] -> [N, C], [N]
        features: Tensor = self.over_map(x).flatten(1)
        output: Tensor = self.dense(features)
        return features, (output if self.embed is None else output * self.embed(y)).sum(1)


def _conv(before: int, after: int, kernel: int, *, groups: int = 1, gain: float = 1.0, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the map size, with weights from N(0, gain^2 / fan in)."""
    conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=bias)
    nn.init.normal_(conv.weight, std=gain * (before // groups * kernel**2) ** -0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
