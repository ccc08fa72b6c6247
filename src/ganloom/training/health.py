"""What the guard remembers of a training, in buffers, so that checkpoints hold it.

What the guard measures, and what it concludes, is in guard/.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganloom.training.buffers import NamedBuffers

__all__ = ["SUSPICIONS", "Health", "Past"]

# The gravest first.
SUSPICIONS = ("divergence", "collapse", "memorisation", "overfitting", "overpowering", "tone", "stalled")


class Past(NamedTuple):
    """What earlier looks have measured, with the values before the first look.

    A new field needs no migration: older checkpoints load with its initial value.
    """

    looks: float = 0.0
    first_distance: float = 0.0  # at the first look
    best_distance: float = 0.0
    looks_without_improvement: float = 0.0  # since the distance was last clearly better than before
    max_spread: float = 0.0  # without the first look: an untrained G says nothing
    max_vendi: float = 0.0  # likewise


class Health(nn.Module):
    """How often in a row each fault was suspected, and what looks are compared with."""

    signs: NamedBuffers  # since the last look: sum of the mean signs of D(real), number of updates; on the device
    counts: NamedBuffers  # int64, by suspicion: looks in a row that had it
    past: NamedBuffers  # float64, by the fields of `Past`
    well_at: Tensor  # int64 []: the image count of the last look without a suspicion that leads to a rollback

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.signs = NamedBuffers({"sum": 0.0, "updates": 0.0}, device=device)
        self.counts = NamedBuffers(dict.fromkeys(SUSPICIONS, 0), dtype=torch.int64)
        self.past = NamedBuffers(Past()._asdict(), dtype=torch.float64)
        self.register_buffer("well_at", torch.zeros((), dtype=torch.int64))

    def observe(self, sign: Tensor) -> None:
        """Add the mean sign of D(real) in an update."""
        self.signs["sum"].add_(sign)
        self.signs["updates"].add_(1)

    def take_mean_sign(self) -> float:
        """The mean sign of D(real) since this was last called; NaN without an update since."""
        total, updates = self.signs.values().values()
        self.signs.assign({"sum": 0.0, "updates": 0.0})
        return total / updates if updates else float("nan")
