"""The scorer and the guard of a training, with the features of its real images."""

import torch

from ganloom.config import Config
from ganloom.core.phases import phase
from ganloom.core.terminal import log
from ganloom.data.dataset import Dataset
from ganloom.guard import signals
from ganloom.guard.guard import Guard
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.session import scoring
from ganloom.session.intervals import NEVER
from ganloom.session.scoring import Scorer

__all__ = ["drop_infeasible", "make_guard", "make_scorer"]


def make_guard(config: Config, dataset: Dataset, device: torch.device) -> Guard:
    """With the features of the real images, from the cache or computed now."""
    with phase(f"features of {dataset.name}") as progress:
        extraction = Extraction(loomnet.load().to(device), device, progress)
        return Guard(config.guard, signals.Probe(dataset, extraction, config.guard.n, config.seed))


def make_scorer(config: Config, dataset: Dataset, device: torch.device) -> Scorer:
    """With the features of the real images, from the cache or computed now."""
    with phase(f"features of {dataset.name}") as progress:
        scorer = Scorer(config.evaluate, dataset, config.net.latent, config.seed, device)
        scorer.extraction.progress = progress
        scorer.prepare()
    return scorer


def drop_infeasible(config: Config, dataset: Dataset) -> Config:
    """Without the scores, and the guard, that need more images than there are; each with a line that says so."""
    settings, why = scoring.drop_infeasible(config.evaluate, dataset.count())
    if why and config.evaluate.every != NEVER:
        log.info(f"note: {why}")
        config = config.model_copy(update={"evaluate": settings})
    if config.guard.every == NEVER:
        return config
    if dataset.count() < signals.MIN_IMAGES:
        log.info(f"note: the guard is off: it needs at least {signals.MIN_IMAGES} training images")
        config = config.model_copy(update={"guard": config.guard.model_copy(update={"every": NEVER})})
    elif (most := max(dataset.count("val"), dataset.count("test"))) < signals.MIN_IMAGES:
        log.info(
            f"note: the guard cannot detect overfitting: it needs {signals.MIN_IMAGES} held-out images, and there are "
            f"{most}. If the data has no splits, data.holdout=20% holds out more."
        )
    return config
