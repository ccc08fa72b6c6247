"""A network with its optimizer: the learning rate, clipping, and one update."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ganloom.config import sections
from ganloom.core.distributed import World
from ganloom.nets.layers import spectral
from ganloom.training.optimizers import make_optimizer
from ganloom.training.schedules import BurnIn, Schedule

__all__ = ["Learner"]


class Learner:
    """G or D while it learns.

    The set of trainable weights is fixed at construction: those that require gradients then.
    """

    def __init__(
        self,
        net: nn.Module,
        settings: sections.Optimizer,
        schedule: Schedule,
        burn_in: BurnIn,
        *,
        batch: int,
        micro_batch: int,
    ) -> None:
        """`net` is on its device already; `batch` images per update, `micro_batch` of them per forward pass."""
        self.net = net
        self.batch = batch
        self.micro_batch = micro_batch
        self.settings, self.schedule, self.burn_in = settings, schedule, burn_in
        self.weights: list[Tensor] = [weight for weight in net.parameters() if weight.requires_grad]
        self.spectral_norms = spectral.norms(net)
        self.optimizer = make_optimizer(self.weights, settings, self.weights[0].device)

    @property
    def micro_batches(self) -> int:
        """Forward passes per update, over all processes."""
        return self.batch // self.micro_batch

    @property
    def half(self) -> int:
        """The largest micro-batch of at most half the size that divides the batch; 0 if there is none."""
        return max((size for size in range(1, self.micro_batch // 2 + 1) if self.batch % size == 0), default=0)

    def rate(self, nimg: int) -> float:
        """The learning rate at `nimg` images."""
        return self.settings.lr * self.schedule.rate(nimg) * self.burn_in.lr(nimg)

    def update(self, loss: Tensor, before: int, after: int, measure: bool = False) -> dict[str, Tensor]:
        """Step on the gradients of the images from `before` to `after`, whose mean loss is `loss`, a scalar.

        With `measure`, returns two norms, scalars: of the `gradient` before it is clipped, and of the `update` relative
        to that of the weights.
        """
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
        if (bound := self.settings.clip_weights) is not None:
            with torch.no_grad():
                torch._foreach_clamp_max_(self.weights, bound)
                torch._foreach_clamp_min_(self.weights, -bound)
        if measure:
            moves["update"] = norm(torch._foreach_sub(self.weights, weights)) / norm(weights)
        for spectral_norm, weight in self.spectral_norms:
            spectral_norm.advance(weight)
        self.schedule.observe_loss(loss, before, after)
        return moves

    def reduce(self, world: World, stats: dict[str, Tensor]) -> None:
        """Add up gradients and statistics over all processes, each with any share of the micro-batches, or none."""
        if world.size == 1:
            return
        used = self.weights[0].new_tensor([weight.grad is not None for weight in self.weights])
        missing = [weight for weight in self.weights if weight.grad is None]
        for weight in missing:
            weight.grad = torch.zeros_like(weight)  # every process must reduce the same sizes
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        world.sum_in_place([used, *gradients, *stats.values()])
        # A weight that no process used, such as of layers yet to grow, has no gradient, as with one process.
        if missing:
            for weight, count in zip(self.weights, used.tolist(), strict=True):
                if not count:
                    weight.grad = None

    def track_gradients(self, on: bool) -> None:
        """Whether backward passes compute gradients of its weights: not needed while the other network learns."""
        for weight in self.weights:
            weight.requires_grad_(on)

    def reset_optimizer(self) -> None:
        """Clear the optimizer's state, as after a change of the network."""
        self.optimizer.state.clear()


@torch.no_grad()
def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The norm of all of them as one vector, a scalar."""
    total: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return total
