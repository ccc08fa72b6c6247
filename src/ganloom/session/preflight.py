"""A training tried before there is a run: what cannot be is refused, and the user's own code takes one whole step."""

import contextlib

import torch

from ganloom.core.code import blame, is_file, load_file
from ganloom.core.errors import ConfigError
from ganloom.objectives import RelativisticLoss
from ganloom.training.compatibility import IMAGES, form, refuse
from ganloom.training.step import AdversarialStep

__all__ = ["IMAGES", "try_out"]


def try_out(step: AdversarialStep) -> None:
    """Raise `ConfigError` for what cannot be and, with the line at fault, for what the user's own code raises.

    `step` is spent afterwards.
    """
    net, loss = ([load_file(name)] if is_file(name) else [] for name in (step.config.net.name, step.config.loss.name))
    with blame(*net) if net else contextlib.nullcontext():
        refuse(step)
    if loss:
        with blame(*loss):
            check_loss(step)
    if net or loss:
        with blame(*net, *loss, doing="in a step of training"):
            step.advance(measure=True)


def check_loss(step: AdversarialStep) -> None:
    """The one mean of a loss is taken in the step: a loss that is a mean already would hide what it was of."""
    real, fake = torch.randn(2, IMAGES, device=step.device)
    loss = step.loss
    given = {
        "d": loss.d(real, fake),
        "g": loss.g(real, fake) if isinstance(loss, RelativisticLoss) else loss.g(fake),
    }
    for part, value in given.items():
        if not isinstance(value, torch.Tensor) or [*value.shape] != [IMAGES]:
            raise ConfigError(
                f"{step.config.loss.name}: {part} gives {form(value)} for logits [{IMAGES}], where one loss a sample, "
                f"[{IMAGES}], is expected."
            )
