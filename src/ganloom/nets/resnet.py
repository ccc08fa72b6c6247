"""Residual GANs: SNGAN (Miyato et al. 2018); by options SAGAN (Zhang et al. 2019) and BigGAN (Brock et al. 2019).

The smallest maps have about 4 pixels in G and 8 in D. Maps of up to 32 pixels have `width` channels, and each doubling
beyond that halves the number of channels: 32x32 gives the published network, and larger images stay affordable.
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
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead, LabelUse, modulated
from ganloom.nets.layers.sizes import Size, double, halve, map_sizes, width_at
from ganloom.nets.layers.spectral import spectral_norm

__all__ = ["Discriminator", "Generator"]

Side = Annotated[int, Field(strict=True, ge=1)]  # in pixels; strict, so that `true` is not read as 1
PLAIN_BLOCKS = 2  # blocks of D after its last halving


class Generator(nn.Module):
    """A fully connected layer, residual blocks that double the map, BatchNorm, ReLU, a convolution, tanh.

    Labels select the gains and biases of BatchNorm (Dumoulin et al. 2017; Miyato & Koyama 2018). From SAGAN come
    `attention`, the side in pixels of the map with self-attention, and `spectral`, spectral norm. From BigGAN come
    `shared_embedding`, the size of one vector per class from which every block computes its gains and biases;
    `hierarchical`, which also conditions each block on a part of z; and `orthogonal` initialisation. The last two
    work without labels too.
    """

    def __init__(
        self,
        shape: ImageShape,
        latent: int,
        classes: int,
        *,
        width: PositiveInt = 256,
        attention: Side | None = None,
        spectral: bool = False,
        shared_embedding: PositiveInt | None = None,
        hierarchical: bool = False,
        orthogonal: bool = False,
    ) -> None:
        super().__init__()
        self.base, *sizes = map_sizes(shape, "resnet")
        levels = len(sizes)
        if hierarchical and classes and shared_embedding is None:
            raise ValueError("hierarchical latents with labels need a shared embedding: set net.g.shared_embedding=128")
        if hierarchical and latent <= levels:
            raise ValueError(
                f"hierarchical latents split z into a part for each of {levels} blocks and one more: "
                f"set --latent to {levels + 1} or more"
            )
        part = latent // (levels + 1) if hierarchical else 0
        self.parts = [
            latent - levels * part,
            *[part] * levels,
        ]  # sizes of the parts of z: for the first layer and for each block
        self.embed = LabelEmbedding(classes, shared_embedding, std=1.0) if classes and shared_embedding else None
        vector = part + (shared_embedding or 0 if classes else 0)  # its size; 0: no vector conditions the blocks

        widths = [width_at(level, width) for level in range(levels + 1)]
        self.first = nn.Linear(self.parts[0], widths[0] * math.prod(self.base))
        self.blocks = nn.ModuleList(
            _UpBlock(widths[level], widths[level + 1], size, 0 if vector else classes, vector)
            for level, size in enumerate(sizes)
        )
        self.attention_after = None if attention is None else _nearest(sizes, attention)
        self.attention = None if self.attention_after is None else _Attention(widths[self.attention_after + 1])
        self.norm = nn.BatchNorm2d(widths[-1])
        self.last = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)
        _finish(self, spectral=spectral, orthogonal=orthogonal)

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        first, *parts = torch.split(z, self.parts, dim=1)
        x = self.first(first).view(len(z), -1, *self.base)
        embedded = None if self.embed is None else self.embed(y)
        for index, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            vector = part if embedded is None else torch.cat([embedded, part], dim=1)
            x = block(x, y, vector)
            if self.attention is not None and index == self.attention_after:
                x = self.attention(x)
        return torch.tanh(self.last(F.relu(self.norm(x), inplace=True)))

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.blocks, self.last]


class _Norm(nn.Module):
    """BatchNorm with learned gains and biases, which may depend on the class or on a vector."""

    def __init__(self, channels: int, classes: int, vector: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not classes and not vector)
        self.of_class = LabelEmbedding(classes, 2 * channels, std=0.02) if classes else None
        self.of_vector = nn.Linear(vector, 2 * channels, bias=False) if vector else None

    def forward(self, x: Tensor, y: Tensor | None, vector: Tensor) -> Tensor:
        x = self.norm(x)
        if self.of_class is not None:
            return modulated(x, self.of_class(y))
        return x if self.of_vector is None else modulated(x, self.of_vector(vector))


class _UpBlock(nn.Module):
    """Norm, ReLU, doubling, convolution, norm, ReLU, convolution; the skip is a doubling and a 1x1 convolution."""

    def __init__(self, before: int, after: int, size: Size, classes: int, vector: int) -> None:
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = _Norm(before, classes, vector), _Norm(after, classes, vector)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, y: Tensor | None, vector: Tensor) -> Tensor:
        h: Tensor = F.relu(self.norm1(x, y, vector), inplace=True)
        h = self.conv1(double(h, self.size))
        h = self.conv2(F.relu(self.norm2(h, y, vector), inplace=True))
        skip: Tensor = self.skip(x)  # a 1x1 convolution gives the same before the doubling as after it, and costs less
        return h + double(skip, self.size)


class Discriminator(nn.Module):
    """Residual blocks, the first ones halving the map, ReLU, a sum over the map, a fully connected layer.

    Spectral norm on every layer (`spectral`), no other normalisation. The options are as in the Generator.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        width: PositiveInt = 128,
        attention: Side | None = None,
        spectral: bool = True,
        orthogonal: bool = False,
        labels: LabelUse = "projection",
    ) -> None:
        super().__init__()
        sizes = map_sizes(shape, "resnet")
        top = len(sizes) - 1
        last = min(1, top - 1)  # the level of the last map: about 8 pixels
        widths = [width_at(level, width) for level in range(top + 1)]  # channels that the block at each level outputs
        self.first = _FirstDownBlock(shape.channels, widths[top])
        # Named by the level of their input, so that a network for larger images has the same names and more.
        self.downs = nn.ModuleDict(
            {f"level{level}": _Block(widths[level + 1], widths[level], down=True) for level in range(top - 1, last, -1)}
        )
        plain = [widths[last + 1], *[widths[last]] * PLAIN_BLOCKS]
        self.plain = nn.ModuleList(_Block(before, after, down=False) for before, after in pairwise(plain))
        halved = [sizes[level] for level in range(top - 1, last - 1, -1)]  # after the first block and each of `downs`
        self.attention_after = None if attention is None else _nearest(halved, attention)
        self.attention = None if self.attention_after is None else _Attention(widths[top - self.attention_after])
        self.head = nn.Linear(widths[last], 1)
        self.labels = LabelHead(classes, widths[last], labels, std=widths[last] ** -0.5)
        _finish(self, spectral=spectral, orthogonal=orthogonal)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        for index, block in enumerate([self.first, *self.downs.values()]):
            x = block(x)
            if self.attention is not None and index == self.attention_after:
                x = self.attention(x)
        for block in self.plain:
            x = block(x)
        h = F.relu(x).sum(dim=(2, 3))
        judgement: Judgement = self.labels(self.head(h).flatten(), h, y)
        return judgement

    def stages(self) -> list[nn.Module]:
        return [self.first, *self.downs.values(), *self.plain, self.head]


class _FirstDownBlock(nn.Module):
    """Convolution, ReLU, convolution, halving; the skip is a halving and a 1x1 convolution."""

    def __init__(self, channels: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(channels, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip: Tensor = self.skip(halve(x))
        return skip + halve(self.conv2(F.relu(self.conv1(x), inplace=True)))


class _Block(nn.Module):
    """ReLU, convolution, ReLU, convolution, a halving if `down`; a 1x1 convolution in the skip if the shape changes."""

    def __init__(self, before: int, after: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if down or before != after else None

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))
        if self.down:
            h, x = halve(h), halve(x)
        return h + (x if self.skip is None else self.skip(x))


class _Attention(nn.Module):
    """Self-attention over all pixels (Zhang et al. 2019, section 3).

    Keys and values are max-pooled by 2, as in the layer's later version. The gain starts at 0, so that the layer has no
    effect until it learns one. It uses plain matrix products, since D needs second derivatives.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, small, 1, bias=False)
        self.key = nn.Conv2d(channels, small, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.out = nn.Conv2d(half, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # [N, small, pixels]
        key = F.max_pool2d(self.key(x), 2, ceil_mode=True).flatten(2)
        value = F.max_pool2d(self.value(x), 2, ceil_mode=True).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=2)  # [N, pixels, pooled pixels]
        attended = (value @ weights.transpose(1, 2)).view(len(x), -1, *x.shape[2:])
        added: Tensor = self.out(attended)
        return x + self.gain * added


def _nearest(sizes: list[Size], side: int) -> int:
    """The index of the map whose shorter side is nearest to `side`."""
    return min(range(len(sizes)), key=lambda index: abs(min(sizes[index]) - side))


def _finish(network: nn.Module, *, spectral: bool, orthogonal: bool) -> None:
    """Initialise the weights: Xavier as in SNGAN, or orthogonal as in BigGAN. Then add spectral norm if asked."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if orthogonal:
                nn.init.orthogonal_(module.weight)
            else:
                in_block = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and name != "last"
                nn.init.xavier_uniform_(module.weight, gain=math.sqrt(2) if in_block else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if spectral:
        # Not G's class embeddings: with a norm of at most 1 they could hardly change the gains of many channels.
        spectral_norm(network, embeddings=not isinstance(network, Generator))
