"""The EMA generator: the moving average of G that is sampled, scored and saved."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganloom.core import rng
from ganloom.nets.contract import Styled
from ganloom.nets.layers import spectral

__all__ = ["Ema", "stop_tracking"]

BATCHES = 16  # of latents, to re-estimate BatchNorm's statistics or the mean style
STYLES = 256  # per batch, for the mean style: they are cheap


class Ema:
    """An average of G's weights whose half-life is counted in images (Karras et al. 2020, StyleGAN2-ADA).

    Early on the half-life is at most `ramp_up` times the images seen, so that the first weights are soon forgotten.
    """

    def __init__(self, G: nn.Module, half_life: int, ramp_up: float) -> None:
        self.G = copy.deepcopy(G).requires_grad_(False).eval()
        self._norms = batch_norms(self.G)
        for norm in self._norms:
            norm.track_running_stats = True
        self.half_life = half_life
        self.ramp_up = ramp_up
        self._averages: list[Tensor] = list(self.G.parameters())
        self._weights: list[Tensor] = list(G.parameters())
        self._buffers = list(zip(self.G.buffers(), G.buffers(), strict=True))

    @torch.no_grad()
    def update(self, nimg: int, images: int, factor: float = 1.0) -> None:
        """Average in G's weights after an update, at `nimg` images, `images` after the update before.

        `factor` scales the half-life.
        """
        half_life = self.half_life * factor
        if self.ramp_up:
            half_life = min(half_life, self.ramp_up * nimg)
        keep = 0.5 ** (images / half_life) if half_life else 0.0
        torch._foreach_lerp_(self._averages, self._weights, 1 - keep)

    @torch.no_grad()
    def refresh(self, seed: int, latent: int, batch: int, labels: Callable[[int, int], Tensor | None]) -> None:
        """Copy G's buffers, then re-estimate BatchNorm's statistics, or the mean style, for the averaged weights.

        `labels(first, count)` gives those of training images. Latents are keyed by `seed`, so the result depends on the
        weights alone.
        """
        for average, current in self._buffers:
            average.copy_(current)
        spectral.settle(self.G)  # the average has singular vectors of its own
        if isinstance(self.G, Styled):
            self._find_centre(self.G, seed, latent, labels)
        if not self._norms:
            return
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
            norm.train()
        weight = self._averages[0]
        for index in range(BATCHES):
            rng.seed(seed, index, "ema")
            z = torch.randn(batch, latent).to(weight.device, weight.dtype)
            y = labels(index * batch, batch)
            self.G(z, None if y is None else y.to(weight.device))
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()

    def _find_centre(self, G: Styled, seed: int, latent: int, labels: Callable[[int, int], Tensor | None]) -> None:
        weight = self._averages[0]
        for index in range(BATCHES):
            rng.seed(seed, index, "styles")
            z, y = torch.randn(STYLES, latent), labels(index * STYLES, STYLES)
            G.find_centre(z.to(weight.device, weight.dtype), None if y is None else y.to(weight.device), index)


def stop_tracking(network: nn.Module) -> None:
    """Freeze BatchNorm's running statistics while the network learns: training does not read them.

    They would differ between processes, and change with forward passes that only measure.
    """
    for norm in batch_norms(network):
        norm.track_running_stats = False


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
