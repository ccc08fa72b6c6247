"""The optimizers, with a faster path to the fused kernels of CPUs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganloom.config import sections

__all__ = ["make_optimizer", "slots"]


def make_optimizer(
    weights: Sequence[Tensor], settings: sections.Optimizer, device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer of these settings for weights on `device`."""
    if settings.name == "rmsprop":
        return torch.optim.RMSprop(weights, settings.lr, alpha=settings.beta2, weight_decay=settings.weight_decay)
    own, cpus = (torch.optim.AdamW, _AdamW) if settings.name == "adamw" else (torch.optim.Adam, _Adam)
    return (cpus if device.type == "cpu" else own)(
        weights,
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def slots(settings: sections.Optimizer) -> set[str]:
    """The names of what an optimizer of these settings keeps for each weight."""
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.zeros(1)
    twin = make_optimizer([weight], settings, weight.device)
    twin.step()
    return set(twin.state[weight])


class _InOrderOfMemory:
    """Passes each weight to the fused kernel in the memory order that it has.

    The CPU kernel (torch 2.13) copies every channels-last gradient to the contiguous order and does not use the copy,
    which takes 2 to 3 % of a small step; the results are the same without. The kernel reads weight, gradient and
    moments in parallel, whatever their order: so a gradient in another order than its weight's is converted first.
    """

    def _init_group(
        self, group: Any, weights: list[Tensor], gradients: list[Tensor], *moments_and_steps: list[Tensor]
    ) -> Any:
        found = super()._init_group(group, weights, gradients, *moments_and_steps)  # type: ignore[misc]
        means, squares, *_ = moments_and_steps
        for index, weight in enumerate(weights):
            if not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last):
                for each in (weights, gradients, means, squares):
                    each[index] = each[index].permute(0, 2, 3, 1)
                gradients[index] = gradients[index].contiguous()
        return found


class _Adam(_InOrderOfMemory, torch.optim.Adam): ...


class _AdamW(_InOrderOfMemory, torch.optim.AdamW): ...
