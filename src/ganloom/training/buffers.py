"""Passes through networks leave traces in buffers; some passes should not."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["snapshot"]


@torch.no_grad()
def snapshot(buffers: Sequence[Tensor]) -> Callable[[], None]:
    """Copies of these; call what is returned to make them again what they are now."""
    copies = [buffer.clone() for buffer in buffers]

    def restore() -> None:
        with torch.no_grad():
            for buffer, copy in zip(buffers, copies, strict=True):
                buffer.copy_(copy)

    return restore
