"""Before the first step: refuse what cannot work, fit memory, measure speed. One set of networks serves all three."""

import contextlib

import torch

from ganloom.config import Config
from ganloom.core.code import blame, is_file, load_file
from ganloom.core.errors import ConfigError
from ganloom.core.phases import phase
from ganloom.objectives import RelativisticLoss
from ganloom.session.context import Context
from ganloom.session.memory import fit_memory
from ganloom.session.messages import report_speed
from ganloom.session.timing import images_per_minute, with_timed_intervals
from ganloom.session.watching import drop_infeasible
from ganloom.training.assembly import assemble, resolve
from ganloom.training.compatibility import IMAGES, form, refuse
from ganloom.training.finetune import Pretrained, load_pretrained
from ganloom.training.step import AdversarialStep

__all__ = ["preflight", "trial_step"]

LONG = 50_000  # images: fewer take a day only at less than one image in two seconds, which the first steps show


def preflight(
    config: Config, context: Context, *, pretrained: Pretrained | None = None, speed: float | None = None
) -> tuple[Config, float | None]:
    """The complete configuration, with nothing left open, and the speed in images per minute if it is needed.

    `speed` is what an earlier session of the same run has measured. Raises `ConfigError`, with the line at fault where
    it is in custom code.
    """
    config = resolve(config, context.dataset.shape, context.world.size)
    with phase("building the networks"):
        step = trial_step(config, context)
        if pretrained is not None:
            load_pretrained(pretrained, step)
        check(step)
    full_size(step)
    with phase("estimating peak memory"), in_custom_step(step) or contextlib.nullcontext():
        fitted = fit_memory(step)  # takes a step of fake tensors, in which custom code may fail too
    config = drop_infeasible(fitted, context.dataset)
    if custom := in_custom_step(step):
        with phase("trying a step"), custom:
            step.advance(measure=True)
    timed = None in (config.evaluate.every, config.guard.every)
    if speed is None and (timed or config.train.length.is_time or may_take_long(config, context.dataset.count())):
        speed = images_per_minute(step)
    if speed is not None:
        report_speed(config, context.dataset.count(), speed)
    if timed:
        assert speed is not None, "it was measured above"
        config = with_timed_intervals(config, step, speed)
    return config, speed


def may_take_long(config: Config, images: int) -> bool:
    """Whether it may take more than a day, so that its speed should be known beforehand."""
    return config.train.length.images(epoch=images, step=config.images_per_step) >= LONG


def trial_step(config: Config, context: Context) -> AdversarialStep:
    """A step with new networks, to be thrown away. `config` is resolved. Raises `ConfigError`."""
    return assemble(config, context.dataset, context.device, context.world, total=1)


def check(step: AdversarialStep) -> None:
    """Raises `ConfigError` if the networks, loss, penalties and images do not go together."""
    net, loss = step.config.net.name, step.config.loss.name
    with blame(load_file(net)) if is_file(net) else contextlib.nullcontext():
        refuse(step)
    if is_file(loss):
        with blame(load_file(loss)):
            check_custom_loss(step)


def full_size(step: AdversarialStep) -> None:
    """Let networks that grow be at their full size, where they are in the end, slowest and largest."""
    if step.growth is not None:
        for network in step.growth.networks:
            network.level.fill_(network.levels)
        step.growth = None


def in_custom_step(step: AdversarialStep) -> contextlib.AbstractContextManager[None] | None:
    """For a step of custom networks or losses: what they raise becomes a `ConfigError` with the line at fault.

    None if network and loss are built in.
    """
    files = [load_file(name) for name in (step.config.net.name, step.config.loss.name) if is_file(name)]
    return blame(*files, doing="in a step of training") if files else None


def check_custom_loss(step: AdversarialStep) -> None:
    """A loss is per sample; the step takes the mean. Raises `ConfigError` for a loss that is a mean already."""
    real, fake = torch.randn(2, IMAGES, device=step.device)
    loss = step.loss
    given = {
        "d": loss.d(real, fake),
        "g": loss.g(real, fake) if isinstance(loss, RelativisticLoss) else loss.g(fake),
    }
    for part, value in given.items():
        if not isinstance(value, torch.Tensor) or [*value.shape] != [IMAGES]:
            raise ConfigError(
                f"{step.config.loss.name}: {part} returns {form(value)} for logits [{IMAGES}]; it must return one loss "
                f"per sample, [{IMAGES}]."
            )
