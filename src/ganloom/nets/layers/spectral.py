"""Spectral normalization (Miyato et al. 2018): divide each weight by its largest singular value."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganloom.nets.layers.labels import LabelEmbedding

__all__ = ["SpectralNorm", "advance", "norms", "settle", "spectral_norm"]

ITERATIONS = 15  # of the power method, when u and v do not belong to the current weight


class SpectralNorm(nn.Module):
    """W / sigma with sigma = u' W v (eqs. 6 to 10). The gradient treats u and v as constants; `advance` updates them.

    Unlike in PyTorch's own version, a forward pass does not change u and v. They are updated once per optimizer step,
    so the output of D for an image does not depend on the number of forward passes or processes.
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
        """Update u and v by one iteration of the power method."""
        rows = weight.flatten(1)
        self.v.copy_(F.normalize(rows.t().mv(self.u), dim=0))
        self.u.copy_(F.normalize(rows.mv(self.v), dim=0))


def spectral_norm(network: nn.Module, *, embeddings: bool = True) -> None:
    """Add spectral norm to every convolution, linear layer and, with `embeddings`, label embedding of a network.

    Call it after the weights have been initialised.
    """
    kinds = (nn.Conv2d, nn.Linear, LabelEmbedding) if embeddings else (nn.Conv2d, nn.Linear)
    for module in list(network.modules()):
        if isinstance(module, kinds):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight.detach()))


def norms(network: nn.Module) -> list[tuple[SpectralNorm, Tensor]]:
    """The spectral norms of a network, each with the weight that it divides, not yet normalised."""
    return [
        (norm, module.original)
        for module in network.modules()
        if isinstance(module, parametrize.ParametrizationList) and isinstance(norm := module[0], SpectralNorm)
    ]


def advance(network: nn.Module) -> None:
    """Update u and v of every spectral norm of a network by one iteration, after its weights have changed a little."""
    for norm, weight in norms(network):
        norm.advance(weight)


def settle(network: nn.Module) -> None:
    """Bring u and v up to date after the weights have been replaced, for example by loading or averaging."""
    for _ in range(ITERATIONS):
        advance(network)
