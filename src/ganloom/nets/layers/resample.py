"""Double and halve maps with the filter [1, 3, 3, 1] (Karras et al. 2020, StyleGAN2, appendix B).

Nearest neighbours and 2x2 means pass frequencies that the smaller map cannot represent (aliasing); this filter removes
most of them. Beyond its edge a map is padded with its outermost pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom.nets.layers.sizes import Size

__all__ = ["blur", "filtered_double", "filtered_halve"]


def filtered_double(x: Tensor, size: Size) -> Tensor:
    """Double [N, C, h, w], cropped to `size` at the right and the bottom."""
    # Bilinear interpolation by 2 has the weights 1/4 and 3/4: the same filter, with fast kernels on every device.
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, : size[0], : size[1]]


def filtered_halve(x: Tensor) -> Tensor:
    """Halve [N, C, h, w]; an odd side is first extended by repeating its last pixel."""
    height, width = x.shape[2:]
    # Padded by concatenation: on GPUs, the backward pass of replicate padding sums in a nondeterministic order.
    x = torch.cat([x[:, :, :1], x, *[x[:, :, -1:]] * (1 + height % 2)], dim=2)
    x = torch.cat([x[:, :, :, :1], x, *[x[:, :, :, -1:]] * (1 + width % 2)], dim=3)
    return _filter(x, stride=2)


def blur(x: Tensor, padding: int, odd: tuple[int, int] = (0, 0), *, gain: float = 1.0) -> Tensor:
    """Filter [N, C, h, w], before or after a convolution of stride 2. Height and width shrink by 3 pixels.

    Before filtering, `padding` zeros are added on all sides, and `odd` more at the (bottom, right).
    """
    x = F.pad(x, (padding, padding + odd[1], padding, padding + odd[0]))
    return _filter(x, stride=1, gain=gain)


def _filter(x: Tensor, *, stride: int, gain: float = 1.0) -> Tensor:
    tap = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    channels = x.shape[1]
    return F.conv2d(x, gain * torch.outer(tap, tap).expand(channels, 1, 4, 4), stride=stride, groups=channels)
