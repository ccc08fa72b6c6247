"""Class labels: as vectors for G, and as part of what D says."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.nets.contract import Judgement

__all__ = ["LabelEmbedding", "LabelHead", "LabelUse", "latent_share", "modulated"]

LabelUse = Literal["projection", "classifier"]
"""How D learns of labels: it is told them (Miyato & Koyama 2018), or has to find them (Odena et al. 2017)."""


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


def modulated(
    x: Tensor,  # [N, C, H, W], normalised
    vector: Tensor,  # [N, 2C]: gains less 1, and biases
) -> Tensor:
    """(1 + gain) x + bias: what follows a conditional normalisation (Dumoulin et al. 2017)."""
    gain, bias = vector.to(x.dtype)[:, :, None, None].chunk(2, dim=1)  # under autocast maps stay as narrow as they are
    return torch.addcmul(bias + x, x, gain)


class LabelHead(nn.Module):
    """The end of D: labels added to the logits by projection, <embed(y), h>, or class logits beside them.

    Without classes it passes the logits on.
    """

    def __init__(self, classes: int, features: int, labels: LabelUse, *, std: float = 0.02) -> None:
        super().__init__()
        self.embed = LabelEmbedding(classes, features, std=std) if classes and labels == "projection" else None
        self.classify = nn.Linear(features, classes) if classes and labels == "classifier" else None

    def forward(
        self,
        logits: Tensor,  # [N]
        features: Tensor,  # [N, F]
        y: Tensor | None,  # int64 [N] or float [N, K]; None without labels
    ) -> Judgement:
        if self.embed is not None:
            logits = logits + (self.embed(y) * features).sum(1)
        return Judgement(logits, features, None if self.classify is None else self.classify(features))


def latent_share(latent: int) -> int:
    """How many inputs of G labels take, beside `latent` of z.

    As many as z has, and G learns one picture a class and stops looking at z (digits, 40 kimg: the standard deviation
    of a pixel over z was .06 where this gives .12).
    """
    return max(1, latent // 4)
