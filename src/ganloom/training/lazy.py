"""What lazy penalties came to when they were last due: buffers, and so in checkpoints."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["LastPenalties"]


class LastPenalties(nn.Module):
    """The newest value of each; 0 before the first update, in which all are due."""

    def __init__(self, names: Iterable[str], device: torch.device) -> None:
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros((), device=device))

    def hear(self, stats: Mapping[str, Tensor]) -> None:
        """Of an update; those that were due are among its numbers."""
        for name, last in self.named_buffers():
            if name in stats:
                last.copy_(stats[name])
