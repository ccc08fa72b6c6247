"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958, with the small changes of arXiv 2006.06676), in plain PyTorch.

The smallest maps have about 4 pixels. Maps of up to `full` pixels have `width` channels, and each doubling beyond that
halves the number of channels; styles have `width` values too. The defaults, 512 and 32, are the published network with
64 channels at 256 pixels.
"""

import math
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear, MinibatchDeviation, pixel_norm
from ganloom.nets.layers.labels import LabelEmbedding
from ganloom.nets.layers.precision import full_precision, is_full_precision
from ganloom.nets.layers.resample import blur, filtered_double, filtered_halve
from ganloom.nets.layers.sizes import Size, map_sizes, width_at

__all__ = ["Discriminator", "Generator"]

Fraction = Annotated[float, Field(ge=0, le=1)]
MAPPING_RATE = 0.01  # learning rate of the mapping, relative to the other layers


class Generator(nn.Module):
    """Map z to styles w; modulate 3x3 convolutions of a constant map by w, with noise; sum images over all sizes.

    `mapping` is the number of layers from z to w. In training mode the styles of two z are mixed in the fraction
    `mixing` of the images, and noise is drawn; in evaluation mode there is no mixing and the noise is fixed.
    """

    centre: Tensor  # [width], the mean w
    path_length: Tensor  # a scalar, the running mean of how much the image changes with w

    def __init__(
        self,
        shape: ImageShape,
        latent: int,
        classes: int,
        *,
        width: PositiveInt = 512,
        full: PositiveInt = 32,
        mapping: PositiveInt = 8,
        mixing: Fraction = 0.9,
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, "stylegan2")
        widths = [width_at(level, width, full) for level in range(len(sizes))]
        self.mapping = _Mapping(latent, classes, width, mapping)
        self.mixing = mixing
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("path_length", torch.zeros(()))
        self.first = _Level(None, widths[0], width, shape.channels, sizes[0])
        self.levels = nn.ModuleList(
            _Level(before, after, width, shape.channels, size)
            for (before, after), size in zip(pairwise(widths), sizes[1:], strict=True)
        )

    @property
    def layers(self) -> int:
        """The number of styles per image, two per map size: a to-image layer shares one with the next doubling."""
        return 2 * (1 + len(self.levels))

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        return self.synthesize(self.styles(z, y))

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor:  # [N, layers, width]
        """One w per layer; in training, some images switch to another w at a random layer (StyleGAN, section 3.1)."""
        w: Tensor = full_precision(self.mapping, z, y)[:, None].expand(-1, self.layers, -1)
        if not (self.training and self.mixing):
            return w
        other = full_precision(self.mapping, torch.randn_like(z), y)[:, None]
        crossover = torch.randint(1, self.layers, (len(z), 1), device=z.device)  # the first layer that uses the other w
        mixed = torch.rand(len(z), 1, device=z.device) < self.mixing
        later = torch.arange(self.layers, device=z.device) >= crossover
        return torch.where((mixed & later)[:, :, None], other, w)

    def synthesize(
        self,
        w: Tensor,  # [N, layers, width]
    ) -> Tensor:  # [N, C, H, W]
        x, image = full_precision(self.first, None, None, w[:, 0], w[:, 0], w[:, 1])
        for index, level in enumerate(self.levels, 1):
            styles = w[:, 2 * index - 1 : 2 * index + 2].unbind(1)
            x, image = full_precision(level, x, image, *styles, when=is_full_precision(index, 1 + len(self.levels)))
        result: Tensor = image
        return result

    def find_centre(self, z: Tensor, y: Tensor | None, before: int) -> None:
        """Update the centre of truncation, a running mean of w: this batch z [N, latent] follows `before` others."""
        self.centre.lerp_(self.mapping(z, y).mean(0), 1 / (before + 1))

    def truncated(self, z: Tensor, y: Tensor | None, truncation: float) -> Tensor:  # [N, C, H, W]
        """Images from styles moved towards the centre: 0 is the centre, 1 the style itself (section 4 of StyleGAN)."""
        w = torch.lerp(self.centre, self.mapping(z, y), truncation)
        return self.synthesize(w[:, None].expand(-1, self.layers, -1))

    def stages(self) -> list[nn.Module]:
        return [self.mapping, self.first, *self.levels]


class _Mapping(nn.Module):
    """Fully connected layers from normalised z, concatenated with a normalised class embedding, to w."""

    def __init__(self, latent: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = LabelEmbedding(classes, width, std=1.0) if classes else None
        widths = [latent + (width if classes else 0), *[width] * depth]
        self.layers = nn.ModuleList(EqualizedLinear(*each, gain=1.0, rate=MAPPING_RATE) for each in pairwise(widths))

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:  # [N, latent] -> [N, width]
        w = pixel_norm(z)
        if self.embed is not None:
            w = torch.cat([w, pixel_norm(self.embed(y))], dim=1)
        for layer in self.layers:
            w = _activate(layer(w))
        return w


class _Level(nn.Module):
    """Maps of one size: a doubling convolution (a constant at the first size), a convolution, a 1x1 to the image."""

    def __init__(self, before: int | None, after: int, styles: int, channels: int, size: Size) -> None:
        super().__init__()
        self.size = size
        self.constant = nn.Parameter(torch.randn(after, *size)) if before is None else None
        self.up = None if before is None else _StyledConv(before, after, styles, size, doubles=True)
        self.conv = _StyledConv(after, after, styles, size, doubles=False)
        self.to_image = _ToImage(after, styles, channels)

    def forward(
        self, x: Tensor | None, image: Tensor | None, w0: Tensor, w1: Tensor, w2: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.constant is not None:
            x = self.constant.expand(len(w0), -1, -1, -1)
        if self.up is not None:
            x = self.up(x, w0)
        x = self.conv(x, w1)
        added: Tensor = self.to_image(x, w2).to(w2.dtype)  # bf16 is too coarse for the sum over the sizes
        return x, added if image is None else filtered_double(image, self.size) + added


class _StyledConv(nn.Module):
    """A 3x3 convolution, modulated by the style and demodulated (section 2.2), with noise and bias.

    The input and output maps are scaled instead of the weights: the result is the same, and one convolution serves the
    whole batch.
    """

    noise: Tensor  # [H, W], added in evaluation mode

    def __init__(self, before: int, after: int, styles: int, size: Size, *, doubles: bool) -> None:
        super().__init__()
        self.size, self.doubles = size, doubles
        self.style = _style(styles, before)
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3))
        self.bias = nn.Parameter(torch.zeros(after))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(size))
        self.scale = (before * 9) ** -0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.style(w).to(self.weight.dtype), self.weight * self.scale
        with torch.autocast(x.device.type, enabled=False):
            norm = torch.rsqrt(style.square() @ weight.square().sum(dim=(2, 3)).t() + 1e-8)  # [N, after]
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.doubles:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)
            x = x[:, :, : self.size[0], : self.size[1]]
        else:
            x = F.conv2d(x, weight, padding=1)
        x = x * norm.to(x.dtype)[:, :, None, None]
        noise = torch.randn(len(x), 1, *self.size, device=x.device, dtype=x.dtype) if self.training else self.noise
        return _activate(x + (noise * self.strength).to(x.dtype) + self.bias.to(x.dtype)[:, None, None])


class _ToImage(nn.Module):
    """A 1x1 convolution, modulated by the style and not demodulated."""

    def __init__(self, before: int, styles: int, channels: int) -> None:
        super().__init__()
        self.style = _style(styles, before)
        self.weight = nn.Parameter(torch.randn(channels, before, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = before**-0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w) * self.scale
        return F.conv2d(x * style[:, :, None, None], self.weight, self.bias)


def _style(styles: int, channels: int) -> EqualizedLinear:
    """A layer from w to one factor per channel; the factors start at about 1."""
    layer = EqualizedLinear(styles, channels, gain=1.0)
    nn.init.ones_(layer.bias)
    return layer


class Discriminator(nn.Module):
    """A 1x1 from the image, residual blocks that halve the map, minibatch deviation, a convolution, dense layers.

    With labels, the logit is the inner product of a vector of the image and the output of a mapping network of the
    class.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        width: PositiveInt = 512,
        full: PositiveInt = 32,
        mapping: PositiveInt = 8,
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, "stylegan2")
        widths = [width_at(level, width, full) for level in range(len(sizes))]
        self.from_image = EqualizedConv2d(shape.channels, widths[-1], 1, gain=1.0)
        self.downs = nn.ModuleList(_Down(before, after) for after, before in pairwise(widths))
        self.last = _Last(widths[0], sizes[0])
        self.head = _Head(widths[0], width, classes, mapping)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        h = _activate(self.from_image(x))
        for level in reversed(range(1, 1 + len(self.downs))):
            h = full_precision(self.downs[level - 1], h, when=is_full_precision(level, 1 + len(self.downs)))
        features = full_precision(self.last, h)
        return Judgement(full_precision(self.head, features, y), features)

    def stages(self) -> list[nn.Module]:
        return [self.from_image, *reversed(self.downs), self.last, self.head]


class _Down(nn.Module):
    """Two 3x3 convolutions, the second filtered and with stride 2; the skip is a halving and a 1x1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = EqualizedConv2d(before, before, 3, gain=1.0)
        self.conv2 = EqualizedConv2d(before, after, 3, gain=1.0, halves=True)
        self.skip = EqualizedConv2d(before, after, 1, gain=1.0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        h = blur(_activate(self.conv1(x)), 2, (height % 2, width % 2))
        skip: Tensor = self.skip(filtered_halve(x))
        return (_activate(self.conv2(h)) + skip) * math.sqrt(0.5)


class _Last(nn.Module):
    def __init__(self, width: int, size: Size) -> None:
        super().__init__()
        self.deviation = MinibatchDeviation()
        self.conv = EqualizedConv2d(width + 1, width, 3, gain=1.0)
        self.dense = EqualizedLinear(width * math.prod(size), width, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, h, w] -> [N, C]
        return _activate(self.dense(_activate(self.conv(self.deviation(x))).flatten(1)))


class _Head(nn.Module):
    def __init__(self, features: int, width: int, classes: int, mapping: int) -> None:
        super().__init__()
        self.dense = EqualizedLinear(features, width if classes else 1, gain=1.0)
        self.of_class = _ClassVector(classes, width, mapping) if classes else None

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:  # [N, F] -> [N]
        output: Tensor = self.dense(features)
        if self.of_class is not None:
            output = output * self.of_class(y) / math.sqrt(output.shape[1])
        return output.sum(1)


class _ClassVector(nn.Module):
    """A mapping network whose only input is the class; its output is normalised."""

    def __init__(self, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.embed = LabelEmbedding(classes, width, std=1.0)
        self.layers = nn.ModuleList(EqualizedLinear(width, width, gain=1.0, rate=MAPPING_RATE) for _ in range(depth))

    def forward(self, y: Tensor | None) -> Tensor:  # [N, width]
        w = pixel_norm(self.embed(y))
        for layer in self.layers:
            w = _activate(layer(w))
        return pixel_norm(w)


def _activate(x: Tensor) -> Tensor:
    """LeakyReLU, scaled to keep the mean square of a standard normal x at about 1."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
