"""What only a clock can tell, measured once at the start and then saved: no training is steered by a clock."""

import math
import time

import torch

from ganloom.augment import Adaptive
from ganloom.config import Config
from ganloom.session.watching import make_guard, make_scorer
from ganloom.training.step import AdversarialStep

__all__ = ["images_per_minute", "with_timed_intervals"]

TIMED_SECONDS = 2.0  # spent on measuring the speed
USUAL_P = 0.2  # of ADA, in the middle of a training


def images_per_minute(step: AdversarialStep) -> float:
    """The speed of this training on this machine; the same answer in every process. `step` is spent afterwards.

    Of an augmentation that adapts it is the speed at a usual p: few augmented images take less time.
    """
    if isinstance(step.augment, Adaptive) and step.augment.target is not None:
        step.augment.p.fill_(USUAL_P)
    step.advance(measure=False)  # the first step pays for everything that is set up once
    began, first = time.monotonic(), step.nimg
    while not step.world.any(time.monotonic() - began > TIMED_SECONDS, step.device):
        step.advance(measure=False)
    speed = torch.tensor((step.nimg - first) / (time.monotonic() - began) * 60, device=step.device)
    step.world.broadcast([speed])
    return round(float(speed), 1)


def with_timed_intervals(config: Config, step: AdversarialStep, images_per_minute: float) -> Config:
    """With the intervals that are null, of scores and of the guard, such that they take their `budget` of the time."""
    for name, seconds_of in (("evaluate", _evaluation_seconds), ("guard", _guard_seconds)):
        section = getattr(config, name)
        if section.every is not None:
            continue
        images = seconds_of(config, step) * images_per_minute / 60 / section.budget
        kimg = torch.tensor(max(1, math.ceil(images / 1000)), device=step.device)
        step.world.broadcast([kimg])
        config = config.with_overrides({f"{name}.every": f"{int(kimg)} kimg"})
    return config


def _evaluation_seconds(config: Config, step: AdversarialStep) -> float:
    scorer = make_scorer(config, step.stream.dataset, step.device)
    began = time.monotonic()
    scorer.measure(step.ema.G, step.stream.labels(0, config.evaluate.n))
    return time.monotonic() - began


def _guard_seconds(config: Config, step: AdversarialStep) -> float:
    """Seconds of a look, and of what a measured step takes more than others."""
    guard = make_guard(config, step.stream.dataset, step.device)
    stats = step.advance(measure=True)
    guard.look(step, stats)  # the first one pays for everything that is set up once
    began = time.monotonic()
    stats = step.advance(measure=False)
    between = time.monotonic()
    guard.look(step, step.advance(measure=True))
    return time.monotonic() - between - (between - began)
