"""Learning-rate schedules: the learning rate relative to the configured one, as a function of the image count.

Only plateaus depend on results; they keep what they have observed in buffers, and so in checkpoints.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganloom.config import sections
from ganloom.core.lengths import Length
from ganloom.training.buffers import NamedBuffers

__all__ = ["BurnIn", "Schedule", "make_schedule"]

Images = Callable[[Length], int]  # a length as a number of images


class Schedule(nn.Module):
    """Constant after the warm-up; the base of the others."""

    observes: tuple[str, ...] = ()  # the settings that define the numbers which it compares

    def __init__(self, warmup: int) -> None:
        super().__init__()
        self.warmup = warmup

    def rate(self, nimg: int) -> float:
        """The factor of the configured rate at `nimg` images, from 0 to 1."""
        return (min(1.0, nimg / self.warmup) if self.warmup else 1.0) * self.after_warmup(nimg)

    def after_warmup(self, nimg: int) -> float:
        return 1.0

    def observe_loss(self, loss: Tensor, before: int, after: int) -> None:
        """Take in the mean loss, a scalar, of an update on the images from `before` to `after`."""

    def observe_score(self, score: float) -> None:
        """Take in the score of an evaluation; lower is better."""


class Linear(Schedule):
    """Linearly from 1 to `final` over the run."""

    def __init__(self, warmup: int, final: float, total: int) -> None:
        super().__init__(warmup)
        self.final, self.total = final, total

    def after_warmup(self, nimg: int) -> float:
        return 1 - (1 - self.final) * min(1.0, nimg / self.total)


class Cosine(Schedule):
    """From 1 to `final` along half a cosine over the run (Loshchilov & Hutter 2017, eq. 5)."""

    def __init__(self, warmup: int, final: float, total: int) -> None:
        super().__init__(warmup)
        self.final, self.total = final, total

    def after_warmup(self, nimg: int) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, nimg / self.total)))


class Plateau(Schedule):
    """Multiplies the rate by `factor` when the mean loss has not improved for more than `patience` intervals."""

    observes: tuple[str, ...] = ("loss",)
    total: Tensor  # sum of losses in this interval, on the training device
    memory: NamedBuffers  # float32, on the CPU

    def __init__(
        self, warmup: int, factor: float, patience: int, interval: int, threshold: float, device: torch.device
    ) -> None:
        super().__init__(warmup)
        self.factor, self.patience, self.interval, self.threshold = factor, patience, interval, threshold
        self.register_buffer("total", torch.zeros((), device=device))
        initial = {
            "updates": 0.0,  # in this interval
            "best": math.inf,  # mean of an interval
            "waited": 0.0,  # intervals without improvement
            "factor": 1.0,  # of the rate, by now
        }
        self.memory = NamedBuffers(initial)

    def after_warmup(self, nimg: int) -> float:
        return float(self.memory["factor"])

    def observe_loss(self, loss: Tensor, before: int, after: int) -> None:
        self.total += loss
        self.memory["updates"].add_(1)
        if after // self.interval == before // self.interval:
            return
        self.end_interval(float(self.total) / float(self.memory["updates"]))
        self.total.zero_()

    def end_interval(self, mean: float) -> None:
        """Compare the mean of an interval with the best so far."""
        memory = self.memory.values()
        best, waited, factor = memory["best"], memory["waited"], memory["factor"]
        if mean < best - self.threshold * abs(best) or (math.isinf(best) and math.isfinite(mean)):
            best, waited = mean, 0.0
        else:
            waited += 1
        if waited > self.patience:
            factor, waited = factor * self.factor, 0.0
        self.memory.assign({"updates": 0.0, "best": best, "waited": waited, "factor": factor})


class ScorePlateau(Plateau):
    """The same for scores; an interval is from one evaluation to the next."""

    observes = ("evaluate.best", "evaluate.n")

    def observe_loss(self, loss: Tensor, before: int, after: int) -> None:
        """Ignore the loss."""

    def observe_score(self, score: float) -> None:
        self.end_interval(score)


class BurnIn:
    """Settings that start at other values and reach the configured ones along half a cosine.

    From "The GAN is dead; long live the GAN!" (Huang et al. 2024, section 4).
    """

    def __init__(self, settings: sections.BurnIn | None, total: int) -> None:
        self.settings = settings or sections.BurnIn()
        self.images = self.settings.share * total if settings else 0.0

    def lr(self, nimg: int) -> float:
        return self._factor(self.settings.lr, nimg)

    def penalties(self, nimg: int) -> float:
        return self._factor(self.settings.penalties, nimg)

    def half_life(self, nimg: int) -> float:
        return self._factor(self.settings.half_life, nimg)

    def augment(self, nimg: int) -> float:
        return self._factor(self.settings.augment, nimg)

    def beta2(self, own: float, nimg: int) -> float:
        start = own if self.settings.beta2 is None else self.settings.beta2
        return own + (start - own) * self._left(nimg)

    def _factor(self, start: float, nimg: int) -> float:
        return 1 + (start - 1) * self._left(nimg)

    def _left(self, nimg: int) -> float:
        """From 1 at the first image to 0 where the burn-in ends."""
        return 0.5 * (1 + math.cos(math.pi * nimg / self.images)) if 0 <= nimg < self.images else 0.0


def make_schedule(
    settings: sections.Constant | sections.Linear | sections.Cosine | sections.Plateau,
    images: Images,
    total: int,
    device: torch.device,
) -> Schedule:
    """The schedule of an optimizer's settings, for a run of `total` images."""
    warmup = images(settings.warmup)
    match settings:
        case sections.Linear():
            return Linear(warmup, settings.final, total)
        case sections.Cosine():
            return Cosine(warmup, settings.final, total)
        case sections.Plateau():
            interval = max(1, images(settings.interval))
            kind = ScorePlateau if settings.score else Plateau
            return kind(warmup, settings.factor, settings.patience, interval, settings.threshold, device)
        case sections.Constant():
            return Schedule(warmup)
