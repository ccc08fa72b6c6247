"""What only a clock can tell, measured once at the start and then saved: no training is steered by a clock."""

import math
import time
from collections.abc import Callable

import torch

from ganloom.augment import Adaptive
from ganloom.config import Config
from ganloom.core.phases import phase
from ganloom.session.watching import make_guard, make_scorer
from ganloom.training.step import AdversarialStep

__all__ = ["images_per_minute", "with_timed_intervals"]

TIMED_SECONDS = 2.0  # spent on measuring the speed
SLOW_SECONDS = 4.0  # for one step: then its own time is the measure, as what is set up once hardly matters
TIMED_IMAGES = 64  # generated to measure what scores and the guard take: a batch, and enough for every number
USUAL_P = 0.2  # of ADA, in the middle of a training


def images_per_minute(step: AdversarialStep) -> float:
    """The speed of this training on this machine; the same answer in every process. `step` is spent afterwards.

    Of an augmentation that adapts it is the speed at a usual p: few augmented images take less time. The first step is
    one without lazy penalties, as most are.
    """
    step.nimg = max(step.nimg, step.images_per_step)
    if isinstance(step.augment, Adaptive) and step.augment.target is not None:
        step.augment.p.fill_(USUAL_P)
    with phase("timing steps") as progress:
        began, first = time.monotonic(), step.nimg
        step.advance(measure=False)  # pays for everything that is set up once
        is_quick = time.monotonic() - began < SLOW_SECONDS or step.config.train.compile
        if step.world.any(is_quick, step.device):
            began, first = time.monotonic(), step.nimg
            while not step.world.any(time.monotonic() - began > TIMED_SECONDS, step.device):
                step.advance(measure=False)
                progress((step.nimg - first) // step.images_per_step)
        speed = torch.tensor((step.nimg - first) / (time.monotonic() - began) * 60, device=step.device)
    step.world.broadcast([speed])
    return round(float(speed), 1)


def with_timed_intervals(config: Config, step: AdversarialStep, images_per_minute: float) -> Config:
    """With the intervals that are null, of scores and of the guard, such that they take their `budget` of the time."""
    for name, seconds_of in (("evaluate", _evaluation_seconds), ("guard", _guard_seconds)):
        section = getattr(config, name)
        if section.every is not None:
            continue
        images = seconds_of(config, step, images_per_minute) * images_per_minute / 60 / section.budget
        kimg = torch.tensor(max(1, math.ceil(images / 1000)), device=step.device)
        step.world.broadcast([kimg])
        config = config.with_overrides({f"{name}.every": f"{int(kimg)} kimg"})
    return config


def _evaluation_seconds(config: Config, step: AdversarialStep, images_per_minute: float) -> float:
    """Seconds of an evaluation: those of its metrics, and those of a batch of images for each batch that it needs."""
    n = config.evaluate.n
    few = min(n, TIMED_IMAGES)
    scorer = make_scorer(config, step.stream.dataset, step.device)
    y = step.stream.labels(0, few)
    with phase("timing a score"):
        per_batch = _seconds_once_set_up(lambda: scorer.extract_generated(step.ema.G, y, few), step)
        began = time.monotonic()
        scorer.compare(scorer.real)  # with as many features; which ones makes no difference to the time
        return per_batch * n / few + time.monotonic() - began


def _guard_seconds(config: Config, step: AdversarialStep, images_per_minute: float) -> float:
    """Seconds of a check, and of what a measured step takes more than others."""
    few = min(config.guard.n, TIMED_IMAGES)
    guard = make_guard(config.with_overrides({"guard.n": few}), step.stream.dataset, step.device)

    def check() -> None:
        guard.look(step, step.advance(measure=True))

    with phase("timing a check of the guard"):
        extra = _seconds_once_set_up(check, step) - step.images_per_step / images_per_minute * 60
    return max(0.0, extra) * config.guard.n / few


def _seconds_once_set_up(work: Callable[[], object], step: AdversarialStep) -> float:
    """Seconds of some work. The first time pays for what is set up once; where it takes long, that hardly matters.

    Every process does it as often as the others.
    """
    for _ in range(2):
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        if step.world.any(seconds > TIMED_SECONDS, step.device):
            break
    return seconds
