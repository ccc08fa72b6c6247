"""Does a step fit into memory? Asked before a training, with a step that is thrown away."""

import contextlib
import os

import torch
from rich.console import Console as Terminal

from ganloom.config import Config
from ganloom.core.distributed import World
from ganloom.core.errors import ConfigError
from ganloom.core.memory import Limit, free_memory, is_out_of_memory
from ganloom.core.terminal import say
from ganloom.data.packed import PackedDataset
from ganloom.training.assembly import assemble

__all__ = ["fitted"]

COUNTED = 0.75  # of what is free: the rest is for what kernels need for themselves, which nobody counts


def fitted(config: Config, dataset: PackedDataset, device: torch.device, world: World, terminal: Terminal) -> Config:
    """With the largest micro-batches that fit, of those that halving makes; of networks that grow, at full size.

    A GPU says when memory does not suffice, and the training goes on with less: so does what is returned. A system
    that would kill the training instead is not asked: `ConfigError` says what does fit.
    """
    step = assemble(config.model_copy(update={"growth": None}), dataset, device, world, total=1)
    free = free_memory() if device.type == "cpu" and not config.train.compile else None
    share = int(os.environ.get("LOCAL_WORLD_SIZE", world.size))  # processes on this machine
    try:
        with contextlib.nullcontext() if free is None else Limit(int(COUNTED * free / share)):
            step.advance(measure=True)  # every penalty is due in the first step
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(
            f"not even a micro-batch of {step.least} fits into memory ({str(error).splitlines()[0]}): take smaller "
            "images (--size), or smaller networks (net.g.width, net.d.width)."
        ) from None
    if not step.halved:
        return config
    d, g = step.d.micro_batch, step.g.micro_batch
    if free is not None:
        raise ConfigError(
            f"micro-batches of {config.train.micro_batch} do not fit into memory, of which {free / 2**30:.3g} GiB are "
            f"free: set train.micro_batch={d} and train.micro_batch_g={g}. A batch stays {config.train.batch}, as "
            "gradients accumulate."
        )
    say(terminal, f"note: micro-batches of {config.train.micro_batch} do not fit into memory: on with {d} (G: {g})")
    return config.with_overrides({"train.micro_batch": d, "train.micro_batch_g": g})
