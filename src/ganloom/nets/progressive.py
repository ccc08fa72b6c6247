"""Progressive growing (Karras et al. 2018, ProGAN): both networks start at about 4 pixels, and layers fade in.

`level` says how far they have grown: at 2 they work on images of 16 pixels, and at 2.3 the layers for 32 pixels have
faded in by 0.3. G always returns images of the full size, enlarged if its level is lower, and D shrinks them again. A
new network is at its full level: unless something lowers it, it behaves like any other network.
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
from ganloom.nets.layers.equalized import EqualizedConv2d, EqualizedLinear, MinibatchDeviation, pixel_norm
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead, LabelUse, embedding_size
from ganloom.nets.layers.sizes import Size, double, halve, map_sizes, width_at
from ganloom.nets.layers.strided import ConvFromVector, Down, Norm, Up, initialise

__all__ = ["Discriminator", "Generator"]

Blocks = Literal["progan", "dcgan"]


class _Growing(nn.Module):
    """The state of growth, the same in both networks."""

    level: Tensor

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.sizes = map_sizes(shape, "progressive")
        self.register_buffer("level", torch.tensor(float(self.levels)))

    @property
    def levels(self) -> int:
        return len(self.sizes) - 1

    def stage(self) -> tuple[int, Tensor | None]:
        """The level of the largest maps in use, and how far it has faded in (0 to 1): None if completely."""
        level = float(self.level)
        whole = math.ceil(level)
        return whole, None if whole == level else self.level - (whole - 1)

    def fade(self, real: Tensor) -> Tensor:
        """Real images with the detail of G's while a level fades in: a mixture of two sizes (appendix A)."""
        stage, fade = self.stage()
        if fade is None:
            return real
        for _ in range(self.levels - stage):
            real = halve(real)
        real = torch.lerp(double(halve(real), self.sizes[stage]), real, fade)
        for size in self.sizes[stage + 1 :]:
            real = double(real, size)
        return real


class Generator(_Growing):
    """Normalised z, a fully connected layer, per level a doubling and two 3x3 convolutions; a 1x1 to the image.

    LeakyReLU and pixelwise normalisation after each convolution; no activation at the end. With `blocks: dcgan` the
    layers are DCGAN's: transposed convolutions, BatchNorm, ReLU; tanh at the end. Labels are embedded and concatenated
    to z.
    """

    truncates = False  # z is normalised: only its direction matters

    def __init__(
        self, shape: ImageShape, latent: int, classes: int, *, width: PositiveInt = 512, blocks: Blocks = "progan"
    ) -> None:
        super().__init__(shape)
        widths = [width_at(level, width) for level in range(self.levels + 1)]
        label_size = embedding_size(latent) if classes else 0
        self.embed = LabelEmbedding(classes, label_size, std=1.0) if classes else None
        self.first: nn.Module
        if blocks == "progan":
            self.first = _First(latent + label_size, widths[0], self.sizes[0])
            self.ups = nn.ModuleList(_UpBlock(before, after) for before, after in pairwise(widths))
            self.to_image = nn.ModuleList(EqualizedConv2d(each, shape.channels, 1, gain=1.0) for each in widths)
            self.squash: nn.Module = nn.Identity()
        else:
            self.first = Up(ConvFromVector(latent + label_size, widths[0], self.sizes[0]))
            self.ups = nn.ModuleList(_DcganUp(before, after) for before, after in pairwise(widths))
            self.to_image = nn.ModuleList(nn.Conv2d(each, shape.channels, 1, bias=False) for each in widths)
            self.squash = nn.Tanh()
            self.apply(initialise)

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        stage, fade = self.stage()
        z = pixel_norm(z)
        if self.embed is not None:
            z = torch.cat([z, self.embed(y)], dim=1)
        before = x = self.first(z)
        for up, size in zip(self.ups[:stage], self.sizes[1:], strict=False):
            before, x = x, up(x, size)
        image: Tensor = self.squash(self.to_image[stage](x))
        if fade is not None:
            smaller = self.squash(self.to_image[stage - 1](before))
            image = torch.lerp(double(smaller, self.sizes[stage]), image, fade)
        for size in self.sizes[stage + 1 :]:
            image = double(image, size)
        return image

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.ups, self.to_image[-1]]


class _First(nn.Module):
    def __init__(self, inputs: int, width: int, size: Size) -> None:
        super().__init__()
        self.size = size
        # A quarter of the usual gain, as published: every pixel of the first map has its own weights for all of z.
        self.dense = EqualizedLinear(inputs, width * math.prod(size), gain=math.sqrt(2) / 4)
        self.conv = EqualizedConv2d(width, width, 3)

    def forward(self, z: Tensor) -> Tensor:
        x = self.dense(z).view(len(z), -1, *self.size)
        return _activate(self.conv(_activate(x)))


class _UpBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualizedConv2d(before, after, 3), EqualizedConv2d(after, after, 3)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        return _activate(self.conv2(_activate(self.conv1(double(x, size)))))


def _activate(x: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(x, 0.2))


class _DcganUp(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.up = Up(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False))

    def forward(self, x: Tensor, size: Size) -> Tensor:
        whole: Tensor = self.up(x)
        return whole[:, :, : size[0], : size[1]]


class Discriminator(_Growing):
    """The mirror image of the Generator: a 1x1 from the image, per level two 3x3 convolutions and a halving, LeakyReLU.

    At the smallest map, the standard deviation over the minibatch is added as one more channel. With `blocks: dcgan`
    the layers are DCGAN's: 4x4 convolutions of stride 2 and BatchNorm, or the normalisation that `norm` names (the
    penalties `wgan_gp` and `dragan` do not allow BatchNorm). They have no biases, so BatchNorm and LayerNorm make D
    blind to contrast; `bias: true` gives the 1x1 from the image biases. ProGAN's layers have biases, and see it.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        width: PositiveInt = 512,
        blocks: Blocks = "progan",
        norm: Norm | None = None,
        labels: LabelUse = "projection",
        bias: bool | None = None,
    ) -> None:
        super().__init__(shape)
        if norm is not None and blocks != "dcgan":
            raise ValueError("ProGAN's D has no normalisation: leave out net.d.norm, or set net.d.blocks=dcgan")
        if bias is not None and blocks != "dcgan":
            raise ValueError("ProGAN's D always has biases: leave out net.d.bias, or set net.d.blocks=dcgan")
        widths = [width_at(level, width) for level in range(self.levels + 1)]
        self.head: nn.Module
        if blocks == "progan":
            self.from_image = nn.ModuleList(EqualizedConv2d(shape.channels, each, 1) for each in widths)
            self.downs = nn.ModuleList(_DownBlock(before, after) for after, before in pairwise(widths))
            self.last: nn.Module = _Last(widths[0], self.sizes[0])
            self.head = EqualizedLinear(widths[0], 1, gain=1.0)
        else:
            self.from_image = nn.ModuleList(nn.Conv2d(shape.channels, each, 1, bias=bool(bias)) for each in widths)
            self.downs = nn.ModuleList(Down(before, after, norm or "batch") for after, before in pairwise(widths))
            self.last = nn.Flatten()
            self.head = nn.Linear(widths[0] * math.prod(self.sizes[0]), 1, bias=False)
            self.apply(initialise)
        features = widths[0] if blocks == "progan" else widths[0] * math.prod(self.sizes[0])
        self.labels = LabelHead(classes, features, labels, std=features**-0.5)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        stage, fade = self.stage()
        for _ in range(self.levels - stage):
            x = halve(x)
        h = F.leaky_relu(self.from_image[stage](x), 0.2)
        for level in range(stage, 0, -1):
            h = self.downs[level - 1](h)
            if level == stage and fade is not None:
                h = torch.lerp(F.leaky_relu(self.from_image[stage - 1](halve(x)), 0.2), h, fade)
        h = self.last(h)
        judgement: Judgement = self.labels(self.head(h).flatten(), h, y)
        return judgement

    def stages(self) -> list[nn.Module]:
        last = [self.last] if isinstance(self.last, _Last) else []
        return [self.from_image[-1], *reversed(self.downs), *last, self.head]


class _DownBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualizedConv2d(before, before, 3), EqualizedConv2d(before, after, 3)

    def forward(self, x: Tensor) -> Tensor:
        return halve(F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2))


class _Last(nn.Module):
    def __init__(self, width: int, size: Size) -> None:
        super().__init__()
        self.deviation = MinibatchDeviation()
        self.conv = EqualizedConv2d(width + 1, width, 3)
        self.dense = EqualizedLinear(width * math.prod(size), width)

    def forward(self, x: Tensor) -> Tensor:  # [N, C, h, w] -> [N, C]
        h = F.leaky_relu(self.conv(self.deviation(x)), 0.2)
        return F.leaky_relu(self.dense(h.flatten(1)), 0.2)
