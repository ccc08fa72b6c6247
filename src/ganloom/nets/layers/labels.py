"""Class labels as vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LabelEmbedding"]


class LabelEmbedding(nn.Module):
    """One learned vector a class; where classes overlap, the sum of those that apply."""

    def __init__(self, classes: int, size: int, *, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, size) * std)

    def forward(
        self,
        y: Tensor,  # int64 [N], or float [N, K]
    ) -> Tensor:  # [N, size]
        if not y.is_floating_point():
            return F.embedding(y, self.weight)
        return y.to(self.weight.dtype) @ self.weight
