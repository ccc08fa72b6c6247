"""Penalties, one function each: regularizers of D that return one value a sample.

They read images and logits that the step has judged with gradients to the images switched on.
"""

import torch
from torch import Tensor, nn

from ganloom.objectives.contract import Judged

__all__ = ["r1"]


def r1(real: Judged, fake: Judged, D: nn.Module) -> Tensor:  # [N]
    """R1 (Mescheder et al. 2018, eq. 9): 1/2 * ||grad_x D(x)||^2, real images only; the weight is gamma."""
    return 0.5 * gradient_square(real)


def gradient_square(judged: Judged) -> Tensor:  # [N]
    """||grad_x D(x)||^2 of each image, itself differentiable."""
    (gradient,) = torch.autograd.grad(judged.logits.sum(), judged.images, create_graph=True)
    # Some compiled graphs drop the second derivative without a word; the penalty would then do nothing.
    assert gradient.requires_grad, "the gradient of D has no graph of its own"
    return gradient.square().flatten(1).sum(1)
