"""Rules to resize images to the input of a network. Features depend on the rule, so each rule has a name."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["clean", "tf1"]


def tf1(
    images: Tensor,  # float32 [N, C, H, W]
    size: int,
) -> Tensor:  # float32 [N, C, size, size]
    """TensorFlow 1's `resize_bilinear` with its defaults: not antialiased, and not aligned to pixel centres.

    It is part of the graph of the FID by Heusel et al. (2017).
    """
    return _lerp(_lerp(images, size, dim=3), size, dim=2)


def _lerp(x: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one dimension at source = target * in / out, in float32 like TensorFlow."""
    length = x.shape[dim]
    source = torch.arange(size, dtype=torch.float32, device=x.device) * torch.tensor(length / size, dtype=torch.float32)
    low = source.long()
    high = (low + 1).clamp_max(length - 1)
    share = (source - low).view([-1 if d == dim else 1 for d in range(4)])
    below, above = x.index_select(dim, low), x.index_select(dim, high)
    return below + (above - below) * share


def clean(
    images: Tensor,  # float32 [N, C, H, W] in [0, 255]
    size: int,
) -> Tensor:  # float32 [N, C, size, size] in [0, 255]
    """Pillow's antialiased bicubic interpolation of float channels, not rounded (Parmar et al. 2022, clean-fid)."""
    # PyTorch's antialiased bicubic has Pillow's kernel (a = -1/2, widened by the scale) and runs on any device. In
    # float64 it is within 2e-5 of a level of Pillow's result, in float32 within 4e-3.
    exact = images.cpu().double() if images.device.type == "mps" else images.double()  # Apple's GPUs have no float64
    resized = F.interpolate(exact, (size, size), mode="bicubic", antialias=True)
    return resized.clamp(0, 255).float().to(images.device)
