"""Passes through networks leave traces in buffers; some passes should not."""

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["snapshot"]


@torch.no_grad()
def snapshot(*modules: nn.Module) -> Callable[[], None]:
    """Copies of all buffers; call what is returned to make them again what they are now."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    copies = [buffer.clone() for buffer in buffers]

    def restore() -> None:
        with torch.no_grad():
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.copy_(copy)

    return restore
