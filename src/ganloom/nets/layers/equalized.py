"""Layers of Karras et al. 2018 and 2020: equalized learning rate, pixelwise normalisation, minibatch deviation."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EqualizedConv2d", "EqualizedLinear", "MinibatchDeviation", "pixel_norm"]

GROUP = 4  # images per group whose standard deviation is computed


class EqualizedConv2d(nn.Module):
    """Weights from N(0, 1), scaled at run time by gain / sqrt(fan in) (section 4.1); bias 0.

    Padding keeps the map size. With `halves` there is no padding and the stride is 2.
    """

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int,
        *,
        gain: float = math.sqrt(2),
        bias: bool = True,
        halves: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.scale = gain / math.sqrt(before * kernel**2)
        self.stride, self.padding = (2, 0) if halves else (1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class EqualizedLinear(nn.Module):
    """The same for a fully connected layer. With a `rate` of 0.01 it learns 100 times more slowly than other layers."""

    def __init__(self, before: int, after: int, *, gain: float = math.sqrt(2), rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.rate = rate * gain / math.sqrt(before), rate

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias if self.rate == 1.0 else self.bias * self.rate
        return F.linear(x, self.weight * self.scale, bias)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each pixel's vector of channels by its root mean square (section 4.2). Works on latents [N, Z] too."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class MinibatchDeviation(nn.Module):
    """Add one channel: the standard deviation over a group of images, averaged over all values (section 3).

    Groups have 4 images, or the largest smaller number that divides the micro-batch.
    """

    def forward(self, x: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C + 1, H, W]
        n, _, height, width = x.shape
        group = next(size for size in range(min(GROUP, n), 0, -1) if n % size == 0)
        groups = x.reshape(group, n // group, *x.shape[1:])
        variance = (groups - groups.mean(dim=0)).square().mean(dim=0)  # torch's own `var` takes ten times as long
        deviation = torch.sqrt(variance + 1e-8).mean(dim=(1, 2, 3))  # [N / group]
        return torch.cat([x, deviation.repeat(group)[:, None, None, None].expand(n, 1, height, width)], dim=1)
