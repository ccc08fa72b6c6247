"""Class labels as vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LabelEmbedding", "latent_share"]


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


def latent_share(latent: int) -> int:
    """How many inputs of G labels take, beside `latent` of z.

    As many as z has, and G learns one picture a class and stops looking at z (digits, 40 kimg: the standard deviation
    of a pixel over z was .06 where this gives .12).
    """
    return max(1, latent // 4)
