"""Losses, one function each: its name is its name in the config, its keyword arguments are its options there."""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ganloom.objectives.contract import Loss

__all__ = ["bce", "hinge"]


def bce(*, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Loss:
    """Binary cross-entropy with the non-saturating G (Goodfellow et al. 2014, section 3).

    D: -log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))), G: -log sigmoid(D(G(z))). With `label_smoothing` s the target
    of real images is 1 - s, that of generated ones stays 0 (one-sided: Salimans et al. 2016, section 3.4).
    """

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + label_smoothing * real + F.softplus(fake)

    def g(fake: Tensor) -> Tensor:
        return F.softplus(-fake)

    return Loss(d, g)


def hinge() -> Loss:
    """D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G: -D(G(z)) (Lim & Ye 2017; Miyato et al. 2018, eqs. 16 and 17)."""

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)

    def g(fake: Tensor) -> Tensor:
        return -fake

    return Loss(d, g)
