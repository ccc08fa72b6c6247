"""Spectral normalization (Miyato et al. 2018): each weight divided by its largest singular value."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganloom.nets.layers.labels import LabelEmbedding

__all__ = ["SpectralNorm", "advance", "norms", "settle", "spectral_norm"]

ITERATIONS = 15  # of the power method, from vectors that are not those of the weights


class SpectralNorm(nn.Module):
    """W / sigma with sigma = u' W v (eqs. 6 to 10); u and v are constants to the gradient, and follow W with `advance`.

    Unlike PyTorch's own, a forward pass changes nothing: the vectors move once an update, so what D says of an image
    does not depend on how often it was asked, nor on the number of processes.
    """

    u: Tensor  # [rows]
    v: Tensor  # [columns]

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("u", F.normalize(torch.randn(len(weight)), dim=0))
        self.register_buffer("v", torch.zeros(weight[0].numel()))
        for _ in range(ITERATIONS):
            self.advance(weight)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # bf16 would round sigma to two digits
            sigma = torch.dot(self.u, weight.flatten(1).mv(self.v))
        return weight / sigma

    @torch.no_grad()
    def advance(self, weight: Tensor) -> None:
        """One iteration of the power method."""
        rows = weight.flatten(1)
        self.v.copy_(F.normalize(rows.t().mv(self.u), dim=0))
        self.u.copy_(F.normalize(rows.mv(self.v), dim=0))


def spectral_norm(network: nn.Module, *, embeddings: bool = True) -> None:
    """Normalise each convolution, linear layer and, if asked, label embedding of a network whose weights are set."""
    kinds = (nn.Conv2d, nn.Linear, LabelEmbedding) if embeddings else (nn.Conv2d, nn.Linear)
    for module in list(network.modules()):
        if isinstance(module, kinds):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight.detach()))


def norms(network: nn.Module) -> list[tuple[SpectralNorm, Tensor]]:
    """The spectral norms of a network, each with its weight as it is before."""
    return [
        (norm, module.original)
        for module in network.modules()
        if isinstance(module, parametrize.ParametrizationList) and isinstance(norm := module[0], SpectralNorm)
    ]


def advance(network: nn.Module) -> None:
    """Let the vectors of a network's spectral norms follow its weights."""
    for norm, weight in norms(network):
        norm.advance(weight)


def settle(network: nn.Module) -> None:
    """The same after the weights have become others altogether."""
    for _ in range(ITERATIONS):
        advance(network)
