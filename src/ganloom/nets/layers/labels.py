"""Class labels: embeddings for G, and the conditional output of D."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.nets.contract import Judgement

__all__ = ["LabelEmbedding", "LabelHead", "LabelUse", "embedding_size", "modulated"]

LabelUse = Literal["projection", "classifier"]
"""How D uses labels: it is conditioned on them (Miyato & Koyama 2018) or predicts them (AC-GAN, Odena et al. 2017)."""


class LabelEmbedding(nn.Module):
    """One learned vector per class; for overlapping classes, the sum of the vectors weighted by y."""

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
    vector: Tensor,  # [N, 2C]: gains minus 1, then biases
) -> Tensor:
    """(1 + gain) x + bias: the affine part of a conditional normalisation (Dumoulin et al. 2017)."""
    gain, bias = vector.to(x.dtype)[:, :, None, None].chunk(2, dim=1)  # keeps bf16 maps in bf16 under autocast
    return torch.addcmul(bias + x, x, gain)


class LabelHead(nn.Module):
    """The last part of D: adds the projection <embed(y), h> to the logits, or computes class logits from h.

    Without classes it returns the logits unchanged.
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


def embedding_size(latent: int) -> int:
    """The size of the label embedding that is concatenated to z, where z has `latent` values.

    With an embedding as long as z, G ignored z and collapsed to one image per class (digits, 40 kimg: the standard
    deviation of a pixel over z was .06; with this size it is .12).
    """
    return max(1, latent // 4)
