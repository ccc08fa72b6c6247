"""A network with all that teaches it: optimizer, schedule, clipping, and the size of its batches."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ganloom.config import sections
from ganloom.core.distributed import World
from ganloom.core.lengths import Length
from ganloom.training.schedules import make_schedule

__all__ = ["Learner"]


class Learner:
    """G or D while it learns. `batch` images an update, `micro_batch` of them a forward pass."""

    def __init__(
        self,
        net: nn.Module,
        settings: sections.Optimizer,
        *,
        batch: int,
        micro_batch: int,
        images: Callable[[Length], int],
        total: int,
        device: torch.device,
    ) -> None:
        self.net = net
        self.batch = batch
        self.micro_batch = micro_batch
        self.settings = settings
        self.schedule = make_schedule(settings.schedule, images, total, device)
        kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
        self.optimizer = kind(
            net.parameters(),
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )

    @property
    def micro_batches(self) -> int:
        """Forward passes an update, over all processes."""
        return self.batch // self.micro_batch

    def rate(self, nimg: int) -> float:
        """The learning rate at `nimg` images."""
        return self.settings.lr * self.schedule.rate(nimg)

    def update(self, world: World, stats: dict[str, Tensor], loss: str, before: int, after: int) -> None:
        """Step on the gradients and average the statistics, over all processes, of the images `before` to `after`."""
        weights = list(self.net.parameters())
        for weight in weights:
            if weight.grad is None:  # processes must reduce equal sizes, whatever share of the batch they had
                weight.grad = torch.zeros_like(weight)
        world.sum_in_place([*(weight.grad for weight in weights if weight.grad is not None), *stats.values()])
        if self.settings.clip is not None:
            clip_grad_norm_(weights, self.settings.clip)
        self.optimizer.param_groups[0]["lr"] = self.rate(before)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.observe(stats[loss], before, after)
