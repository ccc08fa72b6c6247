"""What every network obeys."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Judgement"]


class Judgement(NamedTuple):
    """What D says of a batch of images."""

    logits: Tensor  # [N]; high means real
    features: Tensor | None = None  # [N, F], for losses that match features
    class_logits: Tensor | None = None  # [N, K], for losses with an auxiliary classifier
