"""DCGAN's layers (Radford et al. 2016): 4x4 convolutions of stride 2, up and down."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.nets.layers.labels import LabelEmbedding, modulated

__all__ = ["ConvFromVector", "ConvToVector", "Down", "Norm", "Up", "initialise"]

Norm = Literal["batch", "layer", "none"]


class ConvToVector(nn.Conv2d):
    """A convolution whose kernel is as large as the map: [N, C, H, W] -> [N, A].

    Computed as a matrix product, it takes a third of the time of oneDNN's convolution, and its transpose a quarter.
    """

    def __init__(self, before: int, after: int, size: int | tuple[int, int]) -> None:
        super().__init__(before, after, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(_flat(x), _flat(self.weight))


class ConvFromVector(nn.ConvTranspose2d):
    """The transposed convolution of `ConvToVector`: [N, A] -> [N, C, H, W]."""

    def __init__(self, before: int, after: int, size: tuple[int, int]) -> None:
        super().__init__(before, after, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        _, channels, height, width = self.weight.shape
        return (x @ _flat(self.weight)).view(-1, height, width, channels).permute(0, 3, 1, 2)


class Up(nn.Module):
    """Transposed convolution, BatchNorm, ReLU; with labels, BatchNorm is followed by gains and biases per class."""

    def __init__(self, conv: nn.ConvTranspose2d, classes: int = 0) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)
        self.of_class = LabelEmbedding(classes, 2 * conv.out_channels, std=0.02) if classes else None

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,  # int64 [N] or float [N, K]; None without classes
    ) -> Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x if self.of_class is None else modulated(x, self.of_class(y)), inplace=True)


class Down(nn.Module):
    """Convolution, normalisation, LeakyReLU; an odd map is padded by one pixel at the right and the bottom.

    `layer` normalises each image over all of its values. D then judges each image independently of the others, as
    penalties with a target for each image's gradient norm require (Gulrajani et al. 2017, section 4).
    """

    def __init__(self, before: int, after: int, norm: Norm, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 4, 2, 1, bias=bias)
        norms: dict[Norm, Callable[[], nn.Module | None]] = {
            "batch": lambda: nn.BatchNorm2d(after), "layer": lambda: nn.GroupNorm(1, after), "none": lambda: None,
        }  # fmt: skip
        self.norm = norms[norm]()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        x = self.conv(x)
        return F.leaky_relu(x if self.norm is None else self.norm(x), 0.2, inplace=True)


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, .02), those of normalisation layers from N(1, .02) (Radford et al. 2016, section 3).

    Biases of convolutions, which the paper has none of, are drawn from N(0, .1): about as large as what the first
    convolution makes of an image, so that its LeakyReLU bends at brightnesses that occur.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.normal_(module.bias, 0.0, 0.1)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _flat(x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, H * W * C], without a copy if x is channels-last
    return x.permute(0, 2, 3, 1).flatten(1)
