"""Rejects combinations of settings that cannot work, before a training, by running the networks on a few images."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ganloom import objectives
from ganloom.augment import Adaptive
from ganloom.config import Config
from ganloom.core import rng
from ganloom.core.errors import ConfigError
from ganloom.nets.contract import Judgement
from ganloom.nets.layers.spectral import SpectralNorm
from ganloom.objectives import RelativisticLoss
from ganloom.training.step import AdversarialStep, MicroBatch

__all__ = ["IMAGES", "form", "refuse", "teaches_differences"]

IMAGES = 4  # per batch that the networks are run on


def refuse(step: AdversarialStep) -> None:
    """Raise `ConfigError` with the remedy if networks, loss, penalties and images of `step` do not go together."""
    config, D = step.config, step.d.net
    name = config.net.name
    penalties = step.penalties
    trains_classifier = "auxiliary_classifier" in penalties.d
    per_image = sorted(penalties.per_image)
    if per_image and any(isinstance(module, _BatchNorm) for module in D.modules()):
        raise ConfigError(
            f"D's gradient at each image is constrained by {' and '.join(per_image)}, but D's BatchNorm mixes the "
            f"images of a batch: {without_batch_norm(name)}"
        )
    if config.loss.name == "wasserstein" and not penalties.differentiating and not is_bounded(step):
        raise ConfigError(
            "wasserstein needs a D whose slope is bounded: set penalties.wgan_gp.weight=10, or "
            "optimizer.d.clip_weights=0.01, or use the recipe wgan-gp-32 or wgan-32."
        )
    adapts = isinstance(step.augment, Adaptive) and step.augment.target is not None
    if adapts and teaches_differences(config):
        raise ConfigError(
            f"{config.loss.name} trains D on differences only, but an adaptive augmentation follows the sign of D's "
            "logits: set augment.target=null and augment.p=0.3."
        )
    classifier = config.net.d.get("labels") == "classifier"
    if classifier and not config.data.labels and not trains_classifier:
        raise ConfigError("net.d.labels=classifier needs labels: set data.labels=true, or net.d.labels=projection.")
    rng.seed(config.seed, "refusals")
    micro = MicroBatch(0, IMAGES, torch.randn(IMAGES, config.net.latent).to(step.device), labels(step))
    with torch.enable_grad():
        fake = generated(step, micro)
        judgement = judgement_of(step, fake, micro)
        if judgement.class_logits is not None and not trains_classifier:
            raise ConfigError(
                "net.d.labels=classifier, but nothing trains the classifier: "
                "set penalties.auxiliary_classifier.weight=1, or net.d.labels=projection."
            )
        for penalty, path in penalties.path.items():
            differentiate(path(step.styled, micro.z, micro.y).penalty, step, penalty)
        if not penalties.d and not penalties.g:
            return
        real, fakes = step.judge_exactly(step.reals(micro), micro.y), step.judge_exactly(fake, micro.y)
        for penalty, of_d in penalties.d.items():
            differentiate(of_d(real, fakes, step.judge_exactly), step, penalty)
        for penalty, of_g in penalties.g.items():
            differentiate(of_g(step.judge(fake, micro.y), lambda: real), step, penalty)


def teaches_differences(config: Config) -> bool:
    """Whether only differences of D's logits have a meaning, and their sign has none."""
    loss = objectives.loss(config.loss.name, config.loss.options)
    return isinstance(loss, RelativisticLoss) or config.loss.name == "wasserstein"


def is_bounded(step: AdversarialStep) -> bool:
    """Whether D's slope is bounded, by spectral norm or by weight clipping."""
    norms = any(isinstance(module, SpectralNorm) for module in step.d.net.modules())
    return norms or step.config.optimizer.d.clip_weights is not None


def generated(step: AdversarialStep, micro: MicroBatch) -> torch.Tensor:  # [IMAGES, C, H, W]
    """G's images. Raises `ConfigError` for another shape, and whatever a custom network raises."""
    shape = step.stream.dataset.shape
    expected = [IMAGES, shape.channels, shape.height, shape.width]
    images = step.g.net(micro.z, micro.y)
    if not isinstance(images, torch.Tensor) or [*images.shape] != expected:
        raise ConfigError(f"G of {step.config.net.name} returns {form(images)}, but images {expected} are expected.")
    return images


def judgement_of(step: AdversarialStep, fake: torch.Tensor, micro: MicroBatch) -> Judgement:
    """What D says of `fake`, [IMAGES, C, H, W]. Raises `ConfigError` if it is not a Judgement with logits [IMAGES]."""
    judgement = step.d.net(fake, micro.y)
    if not isinstance(judgement, Judgement) or [*judgement.logits.shape] != [IMAGES]:
        found = form(judgement.logits) if isinstance(judgement, Judgement) else form(judgement)
        raise ConfigError(
            f"D of {step.config.net.name} returns {found}, but a Judgement with logits [{IMAGES}] is expected: "
            "from ganloom.nets.contract import Judgement, and return Judgement(logits)."
        )
    return judgement


def labels(step: AdversarialStep) -> torch.Tensor | None:
    y = step.stream.labels(0, IMAGES)
    return None if y is None else y.to(step.device)


def differentiate(value: torch.Tensor, step: AdversarialStep, penalty: str) -> None:
    """Check that a network has the derivatives that a penalty needs: some custom layers have no second one.

    Through the whole graph, as in a training: `autograd.grad` would skip a layer that only raises. Raises
    `ConfigError`.
    """
    try:
        value.mean().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ConfigError(
            f"{step.config.net.name} cannot be trained with the penalty {penalty} ({str(error).splitlines()[0]}): "
            f"use another penalty, or another net."
        ) from None
    finally:
        for learner in (step.g, step.d):
            learner.net.zero_grad()


def without_batch_norm(name: str) -> str:
    """How to avoid BatchNorm in D, by family."""
    return {
        "dcgan": "set net.d.norm=none (or spectral, or layer).",
        "progressive": "set net.d.norm=none (or layer).",
    }.get(name, "use a D without BatchNorm.")


def form(value: object) -> str:
    """What a value is, for messages."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {[*value.shape]}"
    return f"something of type {type(value).__name__}"
