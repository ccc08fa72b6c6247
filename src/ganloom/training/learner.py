"""A network with all that teaches it: optimizer, schedule, clipping, and the size of its batches."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ganloom.config import sections
from ganloom.core.distributed import World
from ganloom.core.lengths import Length
from ganloom.nets.layers import spectral
from ganloom.training.optimizers import make_optimizer
from ganloom.training.schedules import BurnIn, make_schedule

__all__ = ["Learner"]


class Learner:
    """G or D while it learns: those of its weights that require gradients now, at the start, are those that ever will.

    `batch` images an update, `micro_batch` of them a forward pass.
    """

    def __init__(
        self,
        net: nn.Module,
        settings: sections.Optimizer,
        *,
        batch: int,
        micro_batch: int,
        images: Callable[[Length], int],
        total: int,
        burn_in: BurnIn,
        device: torch.device,
    ) -> None:
        self.net = net
        self.batch = batch
        self.micro_batch = micro_batch
        self.settings, self.burn_in = settings, burn_in
        self.schedule = make_schedule(settings.schedule, images, total, device)
        self.weights: list[Tensor] = [weight for weight in net.parameters() if weight.requires_grad]
        self.spectral_norms = spectral.norms(net)
        self.optimizer = make_optimizer(self.weights, settings, device)

    @property
    def micro_batches(self) -> int:
        """Forward passes an update, over all processes."""
        return self.batch // self.micro_batch

    @property
    def half(self) -> int:
        """A micro-batch of half the size, or smaller where the batch wants it; 0 where there is none."""
        return max((size for size in range(1, self.micro_batch // 2 + 1) if self.batch % size == 0), default=0)

    def rate(self, nimg: int) -> float:
        """The learning rate at `nimg` images."""
        return self.settings.lr * self.schedule.rate(nimg) * self.burn_in.lr(nimg)

    def update(
        self, world: World, stats: dict[str, Tensor], loss: str, before: int, after: int, measure: bool = False
    ) -> dict[str, Tensor]:
        """Step on the gradients and average the statistics, over all processes, of the images `before` to `after`.

        With `measure`, says how far: the norms of the `gradient`, before it is clipped, and of the `update`, over that
        of the weights.
        """
        self.reduce(world, stats)
        moves = {}
        if measure:
            moves["gradient"] = norm([weight.grad for weight in self.weights if weight.grad is not None])
            weights = [weight.detach().clone() for weight in self.weights]
        if self.settings.clip is not None:
            clip_grad_norm_(self.weights, self.settings.clip)
        group = self.optimizer.param_groups[0]
        group["lr"] = self.rate(before)
        beta2 = self.burn_in.beta2(self.settings.beta2, before)
        group |= {"betas": (self.settings.beta1, beta2)} if "betas" in group else {"alpha": beta2}
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if (most := self.settings.clip_weights) is not None:
            with torch.no_grad():
                torch._foreach_clamp_max_(self.weights, most)
                torch._foreach_clamp_min_(self.weights, -most)
        if measure:
            moves["update"] = norm(torch._foreach_sub(self.weights, weights)) / norm(weights)
        for spectral_norm, weight in self.spectral_norms:
            spectral_norm.advance(weight)
        self.schedule.observe(stats[loss], before, after)
        return moves

    def reduce(self, world: World, stats: dict[str, Tensor]) -> None:
        """Add up gradients and statistics over all processes, which may have had any share of the batch, or none."""
        if world.size == 1:
            return
        used = self.weights[0].new_tensor([weight.grad is not None for weight in self.weights])
        missing = [weight for weight in self.weights if weight.grad is None]
        for weight in missing:
            weight.grad = torch.zeros_like(weight)  # they must reduce equal sizes
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        world.sum_in_place([used, *gradients, *stats.values()])
        if missing:  # a weight that no process has used, as of layers yet to grow, is left alone, as by one process
            for weight, count in zip(self.weights, used.tolist(), strict=True):
                if not count:
                    weight.grad = None

    def listen(self, on: bool) -> None:
        """Whether its weights gather gradients. One that is only asked need not."""
        for weight in self.weights:
            weight.requires_grad_(on)

    def forget(self) -> None:
        """The optimizer begins anew, as after a change of the network."""
        self.optimizer.state.clear()


@torch.no_grad()
def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Of all of them as one vector."""
    total: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return total
