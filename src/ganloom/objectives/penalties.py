"""Penalties, one function each. The function's name is the penalty's name in the configuration.

They draw random numbers from torch's default generators, which the training step has seeded.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom.core.errors import ConfigError
from ganloom.objectives.contract import Judge, Judged, Paths, Penalty, Styled

__all__ = ["auxiliary_classifier", "dragan", "drift", "feature_matching", "path_length", "r1", "r2", "wgan_gp"]


def r1() -> Penalty:
    """R1 (Mescheder et al. 2018, eq. 9): 1/2 * ||grad_x D(x)||^2, real images only; the weight is gamma.

    The gradient is that of the sum of the batch's logits: with BatchNorm in D it also flows through batch statistics.
    """

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        return 0.5 * gradient_square(real)

    return Penalty(d=d, differentiates=True)


def r2() -> Penalty:
    """R2 (Mescheder et al. 2018, eq. 10): 1/2 * ||grad_x D(x)||^2, generated images only; the weight is gamma."""

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        return 0.5 * gradient_square(fake)

    return Penalty(d=d, differentiates=True)


def wgan_gp() -> Penalty:
    """WGAN-GP (Gulrajani et al. 2017, eq. 3): (||grad_x D(x)|| - 1)^2; the weight is lambda, 10 in the paper.

    x = t * real + (1 - t) * generated, with one t per pair, uniform in [0, 1).
    """

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        x, generated = real.images.detach(), fake.images.detach()
        t = torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
        between = t * x + (1 - t) * generated
        return (gradient_norm(judge(between.requires_grad_(), real.y)) - 1).square()

    return Penalty(d=d, differentiates=True, per_image=True)


def dragan() -> Penalty:
    """DRAGAN (Kodali et al. 2017): (||grad_x D(x)|| - 1)^2 near real images; the weight is lambda, 10 in the paper.

    x = real + 0.5 * std(real) * u, with one u per value, uniform in [0, 1), and std over the micro-batch (the paper
    has normal noise).
    """

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        x = real.images.detach()
        near = x + 0.5 * x.std(correction=0) * torch.rand_like(x)
        return (gradient_norm(judge(near.requires_grad_(), real.y)) - 1).square()

    return Penalty(d=d, differentiates=True, per_image=True)


def drift() -> Penalty:
    """D(x)^2 of real images keeps logits near 0 (Karras et al. 2018, appendix A.1); the weight is 1e-3 in the paper."""

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        return real.logits.square()

    return Penalty(d=d)


def feature_matching() -> Penalty:
    """For G: ||E f(x) - E f(G(z))||^2, where f are the features of D (Salimans et al. 2016, section 3.1).

    The means E are over the micro-batch. Raises `ConfigError` if D returns no features.
    """

    def g(fake: Judged, reals: Callable[[], Judged]) -> Tensor:  # [1]
        generated = features(fake).mean(0)
        return (features(reals()).detach().mean(0) - generated).square().sum(0, keepdim=True)

    def features(judged: Judged) -> Tensor:  # [N, F]
        if judged.features is None:
            raise ConfigError(
                "penalty 'feature_matching': this D returns no features. "
                "Leave the penalty out, or choose a network whose D returns them."
            )
        return judged.features

    return Penalty(g=g)


def path_length() -> Penalty:
    """For G: (||J' n|| - a)^2, J the Jacobian of images with respect to w, n normal noise (Karras et al. 2020, eq. 4).

    The norm is a root mean square over the layers, n has standard deviation 1 / sqrt(pixels), and a is the running mean
    of the norm. It is usually used with weight 2, every 4 updates, on half of the batch.
    """

    def path(G: Styled, z: Tensor, y: Tensor | None) -> Paths:
        w = G.styles(z, y)
        images = G.synthesize(w)
        noise = torch.randn_like(images) * (images.shape[2] * images.shape[3]) ** -0.5
        (gradient,) = torch.autograd.grad((images * noise).sum(), w, create_graph=True)
        assert gradient.requires_grad, "the gradient of G is not differentiable"
        length = (gradient.square().sum(2).mean(1) + 1e-12).sqrt()  # [N]
        return Paths((length - G.path_length).square(), length)

    return Penalty(path=path)


def auxiliary_classifier() -> Penalty:
    """AC-GAN: -log P(C = y | x), on real images for D, on generated ones for G (Odena et al. 2017, L_C).

    The paper also trains D's classifier on generated images. But D can tell these from real ones: if G makes shoes for
    the label "shirt", D learns to classify generated shoes as shirts, and G keeps making them. This happened on
    Fashion-MNIST.

    Labels float [N, K] are K classes, each present or absent: their binary cross-entropies are summed, which is -log P
    of all K. Raises `ConfigError` without labels, and if D has no classifier.
    """

    def d(real: Judged, fake: Judged, judge: Judge) -> Tensor:  # [N]
        return cross_entropy(real)

    def g(fake: Judged, reals: Callable[[], Judged]) -> Tensor:  # [N]
        return cross_entropy(fake)

    def cross_entropy(judged: Judged) -> Tensor:  # [N]
        if judged.y is None:
            raise ConfigError("penalty 'auxiliary_classifier' needs labels: train with data.labels=true.")
        if judged.class_logits is None:
            raise ConfigError("penalty 'auxiliary_classifier': D has no classifier: set net.d.labels=classifier.")
        if judged.y.is_floating_point():
            y = judged.y.to(judged.class_logits.dtype)  # otherwise the result has the dtype of y
            return F.binary_cross_entropy_with_logits(judged.class_logits, y, reduction="none").sum(1)
        return F.cross_entropy(judged.class_logits, judged.y, reduction="none")

    return Penalty(d=d, g=g)


def gradient_square(judged: Judged) -> Tensor:  # [N]
    """||grad_x D(x)||^2 per image, differentiable again."""
    (gradient,) = torch.autograd.grad(judged.logits.sum(), judged.images, create_graph=True)
    # Some compiled graphs silently drop the second derivative; the penalty would then have no effect.
    assert gradient.requires_grad, "the gradient of D is not differentiable"
    return gradient.square().flatten(1).sum(1)


def gradient_norm(judged: Judged) -> Tensor:  # [N]
    """||grad_x D(x)|| per image, differentiable again, even where it is 0."""
    # The derivative of the square root is infinite at 0, and infinity times a gradient of 0 is NaN.
    return (gradient_square(judged) + 1e-12).sqrt()
