"""What the guard remembers of a training: buffers, and so in checkpoints.

Its looks, and what they mean, are in guard/.
"""

import torch
from torch import Tensor, nn

__all__ = ["SUSPICIONS", "Health"]

SUSPICIONS = ("divergence", "collapse", "memorisation", "overfitting", "overpowering", "stalled")  # gravest first


class Health(nn.Module):
    """Counts of looks that suspected something, and what they compare with."""

    signs: Tensor  # [2]: the sum of mean signs of D(real) since the last look, and of how many updates; on the device
    counts: Tensor  # int64 [6]: looks in a row that had each suspicion
    past: Tensor  # float64 [6], as `guard.verdicts.Past` has it
    well_at: Tensor  # int64 []: the image count of the last look without a suspicion that leads to going back

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("signs", torch.zeros(2, device=device))
        self.register_buffer("counts", torch.zeros(len(SUSPICIONS), dtype=torch.int64))
        self.register_buffer("past", torch.zeros(6, dtype=torch.float64))
        self.register_buffer("well_at", torch.zeros((), dtype=torch.int64))

    def hear(self, sign: Tensor) -> None:
        """The mean sign of D(real) in an update."""
        self.signs[0] += sign
        self.signs[1] += 1
