"""Combinations that cannot work, found before a training by asking the networks themselves, with a few images."""

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

IMAGES = 4  # of the batches that networks are asked with


def refuse(step: AdversarialStep) -> None:
    """Raise `ConfigError` with the remedy if these networks, loss, penalties and images do not go together."""
    config, D = step.config, step.d.net
    name = config.net.name
    taught = "auxiliary_classifier" in step.penalties_d
    per_image = ", ".join(sorted(each for each in step.weights if objectives.penalty(each).per_image))
    if per_image and any(isinstance(module, _BatchNorm) for module in D.modules()):
        raise ConfigError(
            f"{per_image} asks how D answers to each image, but D's BatchNorm mixes the images of a batch: "
            f"{without_batch_norm(name)}"
        )
    if config.loss.name == "wasserstein" and not step.differentiating and not is_bound(step):
        raise ConfigError(
            "wasserstein wants a D whose slope is bound: set penalties.wgan_gp.weight=10, or "
            "optimizer.d.clip_weights=0.01, or take the recipe wgan-gp-32 or wgan-32."
        )
    adapts = isinstance(step.augment, Adaptive) and step.augment.target is not None
    if adapts and teaches_differences(config):
        raise ConfigError(
            f"{config.loss.name} teaches D differences alone, and an augmentation that adapts goes by the sign of what "
            "D says: set augment.target=null and augment.p=0.3."
        )
    classifier = config.net.d.get("labels") == "classifier"
    if classifier and not config.data.labels and not taught:
        raise ConfigError("net.d.labels=classifier needs labels: set data.labels=true, or net.d.labels=projection.")
    rng.seed(config.seed, "refusals")
    micro = MicroBatch(0, IMAGES, torch.randn(IMAGES, config.net.latent).to(step.device), labels(step))
    with torch.enable_grad():
        fake = made(step, micro)
        judgement = said(step, fake, micro)
        if judgement.class_logits is not None and not taught:
            raise ConfigError(
                "net.d.labels=classifier, but nothing teaches the classifier: "
                "set penalties.auxiliary_classifier.weight=1, or net.d.labels=projection."
            )
        for penalty, path in step.penalties_path.items():
            differentiate(path(step.styled, micro.z, micro.y).penalty, step, penalty)
        if not step.penalties_d and not step.penalties_g:
            return
        real, fakes = step.judge_exactly(step.reals(micro), micro.y), step.judge_exactly(fake, micro.y)
        for penalty, of_d in step.penalties_d.items():
            differentiate(of_d(real, fakes, step.judge_exactly), step, penalty)
        for penalty, of_g in step.penalties_g.items():
            differentiate(of_g(step.judge(fake, micro.y), lambda: real), step, penalty)


def teaches_differences(config: Config) -> bool:
    """Whether D's logits mean something in pairs alone: their sign says nothing."""
    loss = objectives.loss(config.loss.name, config.loss.options)
    return isinstance(loss, RelativisticLoss) or config.loss.name == "wasserstein"


def is_bound(step: AdversarialStep) -> bool:
    """Whether D's weights cannot grow without end."""
    norms = any(isinstance(module, SpectralNorm) for module in step.d.net.modules())
    return norms or step.config.optimizer.d.clip_weights is not None


def made(step: AdversarialStep, micro: MicroBatch) -> torch.Tensor:
    """G's images, if they are of the right form. What a network of the user's own raises is told as it is."""
    shape = step.stream.dataset.shape
    wanted = [IMAGES, shape.channels, shape.height, shape.width]
    images = step.g.net(micro.z, micro.y)
    if not isinstance(images, torch.Tensor) or [*images.shape] != wanted:
        raise ConfigError(f"G of {step.config.net.name} gives {form(images)}, where images {wanted} are expected.")
    return images


def said(step: AdversarialStep, fake: torch.Tensor, micro: MicroBatch) -> Judgement:
    judgement = step.d.net(fake, micro.y)
    if not isinstance(judgement, Judgement) or [*judgement.logits.shape] != [IMAGES]:
        found = form(judgement.logits) if isinstance(judgement, Judgement) else form(judgement)
        raise ConfigError(
            f"D of {step.config.net.name} gives {found}, where a Judgement with logits [{IMAGES}] is expected: "
            "from ganloom.nets.contract import Judgement, and return Judgement(logits)."
        )
    return judgement


def labels(step: AdversarialStep) -> torch.Tensor | None:
    y = step.stream.labels(0, IMAGES)
    return None if y is None else y.to(step.device)


def differentiate(value: torch.Tensor, step: AdversarialStep, penalty: str) -> None:
    """A penalty is of use if its network can answer for it: some custom layers have no second derivative.

    All of the graph is walked, as in a training: `autograd.grad` would pass by a layer that only raises.
    """
    try:
        value.mean().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ConfigError(
            f"{step.config.net.name} cannot bear the penalty {penalty} ({str(error).splitlines()[0]}): "
            f"set another, or another net."
        ) from None
    finally:
        for learner in (step.g, step.d):
            learner.net.zero_grad()


def without_batch_norm(name: str) -> str:
    """How to get rid of it, by family."""
    return {
        "dcgan": "set net.d.norm=none (or spectral, or layer).",
        "progressive": "set net.d.norm=none (or layer).",
    }.get(name, "use a D without it.")


def form(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {[*value.shape]}"
    return f"something of type {type(value).__name__}"
