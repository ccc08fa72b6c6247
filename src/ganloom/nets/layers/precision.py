"""Which maps stay in full precision where autocast has the others in bf16: small ones cost nothing and lose most.

The four largest sizes are in bf16, as in Karras et al. 2020 (ADA, appendix D), but never the smallest (Huang et al.
2024).
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["exactly", "is_exact"]

REDUCED = 4  # sizes, from the image down


def is_exact(level: int, levels: int) -> bool:
    """Whether maps of a level (0: the smallest), of so many levels, stay in full precision."""
    return level < max(1, levels - REDUCED)


def exactly(part: nn.Module, *inputs: Tensor | None, when: bool = True) -> Any:
    """What a part of a network makes of its inputs, in full precision whatever autocast says."""
    device = next(x.device.type for x in inputs if x is not None)
    if not when or not torch.is_autocast_enabled(device):
        return part(*inputs)
    dtype = torch.get_default_dtype()
    with torch.autocast(device, enabled=False):
        return part(*(x.to(dtype) if x is not None and x.is_floating_point() else x for x in inputs))
