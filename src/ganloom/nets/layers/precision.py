"""Which maps stay in full precision under autocast to bf16: the small ones, which cost little and would lose the most.

The four largest sizes use bf16, as in Karras et al. 2020 (ADA, appendix D), but the smallest size never does (Huang et
al. 2024).
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["full_precision", "is_full_precision"]

BF16_SIZES = 4  # the number of map sizes in bf16, from the image size down


def is_full_precision(level: int, levels: int) -> bool:
    """Whether maps of this level (0: the smallest) out of `levels` stay in full precision."""
    return level < max(1, levels - BF16_SIZES)


def full_precision(part: nn.Module, *inputs: Tensor | None, when: bool = True) -> Any:
    """Apply part of a network to its inputs, without autocast if `when` is true."""
    device = next(x.device.type for x in inputs if x is not None)
    if not when or not torch.is_autocast_enabled(device):
        return part(*inputs)
    dtype = torch.get_default_dtype()
    with torch.autocast(device, enabled=False):
        return part(*(x.to(dtype) if x is not None and x.is_floating_point() else x for x in inputs))
