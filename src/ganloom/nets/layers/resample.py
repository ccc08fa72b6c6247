"""Twice as large and half as large through the filter [1, 3, 3, 1] (Karras et al. 2020, StyleGAN2, appendix B).

Plain nearest neighbours and means let frequencies through that the smaller map cannot hold; this filter hardly does.
Beyond its edge a map goes on with its last pixel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom.nets.layers.sizes import Size

__all__ = ["blur", "filtered_double", "filtered_halve"]


def filtered_double(x: Tensor, size: Size) -> Tensor:
    """[N, C, h, w] to twice its size, cut to `size` at the right and the bottom."""
    # Bilinear interpolation by 2 has the weights 1/4 and 3/4: it is this filter, and its kernels are fast everywhere.
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, : size[0], : size[1]]


def filtered_halve(x: Tensor) -> Tensor:
    """[N, C, h, w] to half its size; an odd side is first continued by its last pixel."""
    height, width = x.shape[2:]
    # Replicated by hand: on GPUs the backward pass of such padding adds up in any order.
    x = torch.cat([x[:, :, :1], x, *[x[:, :, -1:]] * (1 + height % 2)], dim=2)
    x = torch.cat([x[:, :, :, :1], x, *[x[:, :, :, -1:]] * (1 + width % 2)], dim=3)
    return _filter(x, stride=2)


def blur(x: Tensor, padding: int, odd: tuple[int, int] = (0, 0), *, gain: float = 1.0) -> Tensor:
    """[N, C, h, w] through the filter, which takes 3 pixels from each side; `padding` zeros on all sides are put on
    before, and `odd` more at the bottom and at the right. As it stands before and after convolutions of stride 2.
    """
    x = F.pad(x, (padding, padding + odd[1], padding, padding + odd[0]))
    return _filter(x, stride=1, gain=gain)


def _filter(x: Tensor, *, stride: int, gain: float = 1.0) -> Tensor:
    tap = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    channels = x.shape[1]
    return F.conv2d(x, gain * torch.outer(tap, tap).expand(channels, 1, 4, 4), stride=stride, groups=channels)
