"""What only a clock can tell, asked once at the start and then written down: no training is steered by one."""

import math
import time

import torch

from ganloom.augment import Adaptive
from ganloom.config import Config
from ganloom.core.distributed import World
from ganloom.core.terminal import log, progress_bar
from ganloom.data.dataset import Dataset
from ganloom.guard import signals
from ganloom.guard.guard import Guard
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.session.scoring import NEVER, Scorer, fitting
from ganloom.training.assembly import assemble
from ganloom.training.step import AdversarialStep

__all__ = ["images_per_minute", "make_guard", "make_scorer", "timed"]

TIMED_SECONDS = 2.0  # spent on measuring the speed
USUAL_P = 0.2  # of ADA, in the middle of a training


def timed(
    config: Config, dataset: Dataset, device: torch.device, world: World, speed: float | None
) -> tuple[Config, float | None]:
    """With the speed of the training, where its length is in minutes, and with the images between two evaluations, and
    between two looks of the guard, where they are to take a share of the time.
    """
    settings, why = fitting(config.evaluate, dataset.count())
    if why and config.evaluate.every != NEVER:
        log.info(f"note: {why}")
        config = config.model_copy(update={"evaluate": settings})
    if dataset.count() < signals.MIN_IMAGES and config.guard.every != NEVER:
        log.info(f"note: no guard: of fewer than {signals.MIN_IMAGES} images it could say nothing")
        config = config.model_copy(update={"guard": config.guard.model_copy(update={"every": NEVER})})
    most = max(dataset.count("val"), dataset.count("test"))
    if config.guard.every != NEVER and most < signals.MIN_IMAGES:
        log.info(
            f"note: the guard cannot see D learn its images by heart: that takes {signals.MIN_IMAGES} held-out images, "
            f"and there are {most}. With no splits of their own, data.holdout=20% holds out more.",
        )
    unknown = [name for name in ("evaluate", "guard") if getattr(config, name).every is None]
    if speed is None and (config.train.length.is_time or unknown):
        speed = images_per_minute(config, dataset, device, world)
    if not unknown:
        return config, speed
    assert speed is not None, "measured above"
    step = assemble(config.model_copy(update={"growth": None}), dataset, device, world, total=1)  # as `speed` is
    for name in unknown:
        seconds = time_evaluation(config, step) if name == "evaluate" else time_look(config, step)
        images = seconds * speed / 60 / getattr(config, name).budget
        every = torch.tensor(max(1, math.ceil(images / 1000)), device=device)
        world.broadcast([every])
        config = config.with_overrides({f"{name}.every": f"{int(every)} kimg"})
    return config, speed


def time_evaluation(config: Config, step: AdversarialStep) -> float:
    """Seconds."""
    scorer = make_scorer(config, step.stream.dataset, step.device)
    began = time.monotonic()
    scorer.measure(step.ema.G, step.stream.labels(0, config.evaluate.n))
    return time.monotonic() - began


def time_look(config: Config, step: AdversarialStep) -> float:
    """Seconds, with what a measured step takes more than others."""
    guard = make_guard(config, step.stream.dataset, step.device)
    stats = step.advance(measure=True)
    guard.look(step, stats)  # the first pays for everything that is set up once
    began = time.monotonic()
    stats = step.advance(measure=False)
    between = time.monotonic()
    guard.look(step, step.advance(measure=True))
    return time.monotonic() - between - (between - began)


def make_guard(config: Config, dataset: Dataset, device: torch.device) -> Guard:
    """With the features of the real images, from the cache or computed now."""
    extraction = Extraction(loomnet.load().to(device), device)
    with progress_bar("features of", dataset.name) as progress:
        extraction.progress = progress
        return Guard(config.guard, signals.Probe(dataset, extraction, config.guard.n, config.seed))


def make_scorer(config: Config, dataset: Dataset, device: torch.device) -> Scorer:
    """With the features of the real images, from the cache or computed now."""
    scorer = Scorer(config.evaluate, dataset, config.net.latent, config.seed, device)
    with progress_bar("features of", dataset.name) as progress:
        scorer.extraction.progress = progress
        scorer.prepare()
    return scorer


def images_per_minute(config: Config, dataset: Dataset, device: torch.device, world: World) -> float:
    """The speed of this training on this machine, measured on a throw-away copy; the same answer in every process.

    Of networks that grow it is that of their full size, at which they are in the end, and slowest; of an augmentation
    that adapts, that of one that has found its p: few images changed take less time.
    """
    step = assemble(config.model_copy(update={"growth": None}), dataset, device, world, total=1)
    if isinstance(step.augment, Adaptive) and step.augment.target is not None:
        step.augment.p.fill_(USUAL_P)
    step.advance(measure=False)  # the first step pays for everything that is set up once
    began, first = time.monotonic(), step.nimg
    while not world.any(time.monotonic() - began > TIMED_SECONDS, device):
        step.advance(measure=False)
    speed = torch.tensor((step.nimg - first) / (time.monotonic() - began) * 60, device=device)
    world.broadcast([speed])
    return round(float(speed), 1)
