"""What a loss and a penalty are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Judged", "Loss", "Penalty"]


@dataclass(frozen=True)
class Loss:
    """What D and G minimise, per sample: the single `.mean()` stands in the training step."""

    d: Callable[[Tensor, Tensor], Tensor]  # real logits [N], fake logits [N] -> [N]
    g: Callable[[Tensor], Tensor]  # fake logits [N] -> [N]


class Judged(NamedTuple):
    """Images and what D said of them."""

    images: Tensor  # [N, C, H, W]; requires grad while a penalty is due
    y: Tensor | None  # int64 [N] or float [N, K]
    logits: Tensor  # [N]


Penalty = Callable[[Judged, Judged, nn.Module], Tensor]  # real, fake, D -> [M], M <= N
