"""Losses, one function each: its name and keyword arguments are the loss's name and options in the configuration.

softplus(-l) equals -log sigmoid(l), and softplus(l) equals -log(1 - sigmoid(l)); softplus is finite for any logit l.
"""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ganloom.objectives.contract import Loss, RelativisticLoss

__all__ = ["bce", "hinge", "lsgan", "minimax", "relativistic", "relativistic_average", "wasserstein"]


def bce(*, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Loss:
    """Binary cross-entropy with the non-saturating G (Goodfellow et al. 2014, section 3).

    D: -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), G: -log sigmoid(D(G(z))). With `label_smoothing` s the target
    for real images is 1 - s; for generated images it stays 0 (one-sided: Salimans et al. 2016, section 3.4).
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + label_smoothing * real + F.softplus(fake)

    def g(fake: Tensor) -> Tensor:
        return F.softplus(-fake)

    return Loss(d, g)


def minimax() -> Loss:
    """The original minimax game: one value that D maximises and G minimises (Goodfellow et al. 2014, eq. 1).

    D: -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), as in `bce`; G: log(1 - sigmoid(D(G(z)))), which is at most 0
    and saturates: from an image that D is sure is generated, G learns almost nothing.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + F.softplus(fake)

    def g(fake: Tensor) -> Tensor:
        return -F.softplus(fake)

    return Loss(d, g)


def lsgan() -> Loss:
    """D: (D(x) - 1)^2 + D(G(z))^2, G: (D(G(z)) - 1)^2 (Mao et al. 2017, least squares with a=0, b=c=1, times 2)."""

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return (real - 1).square() + fake.square()

    def g(fake: Tensor) -> Tensor:
        return (fake - 1).square()

    return Loss(d, g)


def hinge() -> Loss:
    """D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G: -D(G(z)) (Lim & Ye 2017; Miyato et al. 2018, eqs. 16 and 17)."""

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)

    def g(fake: Tensor) -> Tensor:
        return -fake

    return Loss(d, g)


def wasserstein() -> Loss:
    """D: D(G(z)) - D(x), G: -D(G(z)) (Arjovsky et al. 2017, algorithm 1).

    It has no lower bound: D needs a penalty such as `wgan_gp`, which keeps its gradient norm near 1.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def g(fake: Tensor) -> Tensor:
        return -fake

    return Loss(d, g)


def relativistic() -> RelativisticLoss:
    """RpGAN: D says which of a pair, one real and one generated, is real (Jolicoeur-Martineau 2019, RSGAN there).

    D: -log sigmoid(D(x) - D(G(z))), G: -log sigmoid(D(G(z)) - D(x)).
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real)

    def g(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real - fake)

    return RelativisticLoss(d, g)


def relativistic_average() -> RelativisticLoss:
    """RaGAN: compare each image with the mean logit of the other kind (Jolicoeur-Martineau 2019, RaSGAN there).

    D: -log sigmoid(D(x) - E D(G(z))) - log(1 - sigmoid(D(G(z)) - E D(x))), G: the same with x and G(z) exchanged.
    The means E are over the micro-batch.
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake.mean() - real) + F.softplus(fake - real.mean())

    def g(real: Tensor, fake: Tensor) -> Tensor:
        return d(fake, real)

    return RelativisticLoss(d, g)
