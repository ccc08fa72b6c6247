"""The MLP GAN: fully connected layers on flattened images, designed for 28x28 greyscale."""

import math

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from ganloom.core.shapes import ImageShape
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.labels import LabelEmbedding, LabelHead, LabelUse, embedding_size
from ganloom.nets.layers.sizes import check_sides

__all__ = ["Discriminator", "Generator"]


class Generator(nn.Module):
    """Layers latent-w-2w-4w-pixels (100-128-256-512-784 at 28x28), ReLU, BatchNorm after layers 2 and 3, final tanh."""

    def __init__(self, shape: ImageShape, latent: int, classes: int, *, width: PositiveInt = 128) -> None:
        super().__init__()
        check_sides(shape, "mlp")
        self.shape = (shape.channels, shape.height, shape.width)
        self.embed = LabelEmbedding(classes, embedding_size(latent), std=1.0) if classes else None
        self.layers = nn.Sequential(
            nn.Linear(latent + embedding_size(latent) if classes else latent, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 2 * width),
            nn.BatchNorm1d(2 * width),
            nn.ReLU(inplace=True),
            nn.Linear(2 * width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(inplace=True),
            nn.Linear(4 * width, math.prod(self.shape)),
        )

    def forward(
        self,
        z: Tensor,  # [N, latent]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Tensor:  # [N, C, H, W]
        if self.embed is not None:
            z = torch.cat([z, self.embed(y)], dim=1)
        return torch.tanh(self.layers(z)).view(-1, *self.shape)

    def stages(self) -> list[nn.Module]:
        return [self.layers[:2], self.layers[2:5], self.layers[5:8], self.layers[8:]]


class Discriminator(nn.Module):
    """Layers pixels-4w-2w-1 (784-512-256-1 at 28x28), LeakyReLU."""

    def __init__(
        self, shape: ImageShape, classes: int, *, width: PositiveInt = 128, labels: LabelUse = "projection"
    ) -> None:
        super().__init__()
        check_sides(shape, "mlp")
        pixels = shape.channels * shape.height * shape.width
        self.first = nn.Linear(pixels, 4 * width)
        self.second = nn.Linear(4 * width, 2 * width)
        self.head = nn.Linear(2 * width, 1)
        self.labels = LabelHead(classes, 2 * width, labels)

    def forward(
        self,
        x: Tensor,  # [N, C, H, W]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        h = F.leaky_relu(self.first(x.flatten(1)), 0.2)
        h = F.leaky_relu(self.second(h), 0.2)
        judgement: Judgement = self.labels(self.head(h).flatten(), h, y)
        return judgement

    def stages(self) -> list[nn.Module]:
        return [self.first, self.second, self.head]
