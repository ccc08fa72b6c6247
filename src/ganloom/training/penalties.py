"""The penalties of a training: which network each one teaches, in which updates, and with which weight."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ganloom import objectives
from ganloom.config import sections
from ganloom.training.buffers import NamedBuffers
from ganloom.training.schedules import BurnIn

__all__ = ["LastPenalties", "Penalties"]


class Penalties:
    """The configured penalties whose weight is not 0, by name.

    `d` and `g` are added to the loss of D and of G; `path` takes a pass through G of its own. A lazy penalty, with an
    interval of k, is due in every k-th update and then counts k times (Karras et al. 2020, section 3.1).
    """

    def __init__(self, settings: Mapping[str, sections.Penalty], burn_in: BurnIn) -> None:
        self.weights = {name: each.weight for name, each in settings.items() if each.weight}
        self.intervals = {name: settings[name].interval for name in self.weights}
        self.burn_in = burn_in
        penalties = {name: objectives.penalty(name) for name in self.weights}
        self.d = {name: penalty.d for name, penalty in penalties.items() if penalty.d is not None}
        self.g = {name: penalty.g for name, penalty in penalties.items() if penalty.g is not None}
        self.path = {name: penalty.path for name, penalty in penalties.items() if penalty.path is not None}
        self.per_image = {name for name, penalty in penalties.items() if penalty.per_image}
        self.differentiating = {name for name, penalty in penalties.items() if penalty.differentiates}

    def due(self, part: Collection[str], nimg: int, images: int) -> dict[str, float]:
        """Of the penalties of `d`, `g` or `path` those that are due, with their weights.

        The update is the one that follows `nimg` images; its network is updated every `images` images.
        """
        factor, update = self.burn_in.penalties(nimg), nimg // images
        return {
            name: self.weights[name] * self.intervals[name] * factor
            for name in part
            if update % self.intervals[name] == 0
        }

    def differentiate(self, due: Collection[str]) -> bool:
        """Whether one of these needs the derivative of D with respect to its images."""
        return not self.differentiating.isdisjoint(due)

    @property
    def columns(self) -> list[str]:
        """Their names in the log."""
        return [*(f"penalty_{name}" for name in (*self.d, *self.path)), *(f"penalty_{name}_g" for name in self.g)]


class LastPenalties(NamedBuffers):
    """The newest value of each penalty, for rows of the log that fall on updates in which a lazy one is not due.

    0 before the first update, in which all of them are due.
    """

    def __init__(self, penalties: Penalties, device: torch.device) -> None:
        super().__init__(dict.fromkeys(penalties.columns, 0.0), device=device)

    def observe(self, stats: Mapping[str, Tensor]) -> None:
        """Take over, from the statistics of an update, the values of the penalties that were due."""
        for name, last in self.named_buffers():
            if name in stats:
                last.copy_(stats[name])

    def copies(self) -> dict[str, Tensor]:
        """By their names in the log."""
        return {name: last.clone() for name, last in self.named_buffers()}
