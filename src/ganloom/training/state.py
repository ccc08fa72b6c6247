"""What a checkpoint holds: every tensor of a training, by name; and what becomes of it under other settings.

Networks must be those that were saved. The rest of the state only serves the settings it was made with: where one has
changed that gives it another meaning, that part starts afresh.
"""

from collections.abc import Collection, Container, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganloom.config import is_within
from ganloom.nets.contract import Growing
from ganloom.training.learner import Learner
from ganloom.training.optimizers import slots
from ganloom.training.step import AdversarialStep

__all__ = ["HEALTH", "WITH_HEALTH", "pack_state", "restore", "restore_optimizer"]

WITH_HEALTH = 2  # the first format with the state of the guard
WITH_NAMES = 3  # the first format that holds scalars by name; before, a vector was read by position
# What those vectors held, in this order. It is history: names of later formats do not belong here.
PLATEAU = ("updates", "best", "waited", "factor")
VECTORS = {
    "health/signs": ("sum", "updates"),
    "health/counts": ("divergence", "collapse", "memorisation", "overfitting", "overpowering", "stalled"),
    "health/past": (
        "looks",
        "first_distance",
        "best_distance",
        "looks_without_improvement",
        "max_spread",
        "max_vendi",
    ),
    "schedule_g/memory": PLATEAU,
    "schedule_d/memory": PLATEAU,
}

HEALTH = "what the guard compares with"
IN_WORDS = {
    "schedule_g": "the schedule of G",
    "schedule_d": "the schedule of D",
    "augment": "the augmentation",
    "health": HEALTH,
    "penalties": "the newest values of penalties",
}


def pack_state(step: AdversarialStep) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the training; optimizer state by the name of its parameter."""
    for place, module in _modules(step).items():
        for name, tensor in module.state_dict().items():
            yield f"{place}/{name}", tensor
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        for name, weight in learner.net.named_parameters():
            for slot, value in learner.optimizer.state.get(weight, {}).items():
                yield f"{place}/{name}/{slot}", value


def restore(step: AdversarialStep, saved: Mapping[str, Tensor], format: int, edited: Collection[str] = ()) -> list[str]:
    """Load the tensors of a checkpoint of that format into `step`; returns the parts that start afresh, in words.

    `edited` are the dotted keys of settings that have changed since it was saved. Raises `RuntimeError` if it is of
    other networks.
    """
    saved = _migrated(saved, format)
    afresh = []
    for place, module in _modules(step).items():
        own = {key.removeprefix(f"{place}/"): saved[key] for key in saved if key.startswith(f"{place}/")}
        if place in IN_WORDS and (not own or not _keeps_meaning(step, place, edited)):
            if own and module.state_dict():
                afresh.append(IN_WORDS[place])
        elif place not in IN_WORDS or module.state_dict():
            module.load_state_dict(own)
    if step.growth is None:  # full size, also where the run was still growing
        for network in (step.g.net, step.d.net, step.ema.G):
            if isinstance(network, Growing):
                network.level.fill_(network.levels)
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        if not restore_optimizer(learner, place, saved):
            afresh.append(f"the optimizer of {place[-1].upper()}")
    return afresh


def restore_optimizer(
    learner: Learner, place: str, saved: Mapping[str, Tensor], names: Container[str] | None = None
) -> bool:
    """Load the optimizer's state of each weight, or of those in `names`, from `place` in a checkpoint's tensors.

    Returns False, and loads nothing, if it is the state of an optimizer of another kind.
    """
    learning, expected = set(learner.weights), slots(learner.settings)
    restored: dict[Tensor, Any] = {}
    for name, weight in learner.net.named_parameters():
        if weight not in learning or (names is not None and name not in names):
            continue
        prefix = f"{place}/{name}/"
        found = {key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)}
        if not found:  # no update has reached it yet
            continue
        if found.keys() != expected:
            return False
        # Moments must have the memory order of their weights: fused kernels read them in parallel, and need the
        # step count on the same device.
        device = weight.device if learner.optimizer.defaults.get("fused") else None
        restored[weight] = {
            slot: torch.empty_like(weight).copy_(value) if slot != "step" else value.to(device, copy=True)
            for slot, value in found.items()
        }
    learner.optimizer.state.update(restored)
    return True


def _modules(step: AdversarialStep) -> dict[str, nn.Module]:
    return {
        "G": step.g.net,
        "D": step.d.net,
        "ema": step.ema.G,
        "schedule_g": step.g.schedule,
        "schedule_d": step.d.schedule,
        "augment": step.augment,
        "health": step.health,
        "penalties": step.last_penalties,
    }


def _keeps_meaning(step: AdversarialStep, place: str, edited: Collection[str]) -> bool:
    """Whether no setting has changed without which the saved state of a part means something else."""
    settings: dict[str, tuple[str, ...]] = {
        **{
            f"schedule_{name}": (
                f"optimizer.{name}.schedule.name",
                f"optimizer.{name}.schedule.score",
                *learner.schedule.observes,
            )
            for name, learner in (("g", step.g), ("d", step.d))
        },
        "augment": ("augment.name", "augment.p"),
        "health": ("guard.n",),
    }
    return not any(is_within(key, settings.get(place, ())) for key in edited)


def _migrated(saved: Mapping[str, Tensor], format: int) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint of that format, as the present one names them."""
    if format >= WITH_NAMES:
        return saved
    kept = {name: tensor for name, tensor in saved.items() if name not in VECTORS}
    for vector in VECTORS.keys() & saved.keys():
        for name, value in zip(VECTORS[vector], saved[vector], strict=True):
            kept[f"{vector}.{name}"] = value
    return kept
