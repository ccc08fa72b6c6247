"""Does a step fit into memory? Asked before a training, with a step that is thrown away."""

import os

import torch
from torch._subclasses import fake_tensor

from ganloom.config import Config
from ganloom.core.distributed import World
from ganloom.core.errors import ConfigError
from ganloom.core.memory import Counter, free_memory, is_out_of_memory
from ganloom.core.terminal import log
from ganloom.data.dataset import Dataset
from ganloom.training.assembly import assemble

__all__ = ["fitted", "needed"]

COUNTED = 0.75  # of what a step takes: the rest is what kernels need for themselves, which nobody counts
NOT_RECKONED = (  # what a network does that wants real numbers
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedFakeTensorException,
)


def fitted(config: Config, dataset: Dataset, device: torch.device, world: World) -> Config:
    """With micro-batches that fit. Raises `ConfigError` where there are none, and on a CPU with those that do.

    A GPU says when memory does not suffice, and is asked. A CPU's system would kill the training instead: what it
    would take is reckoned.
    """
    if device.type == "cpu":
        refuse_too_much(config, dataset, device, world)
        return config
    return halved(config, dataset, device, world)


def halved(config: Config, dataset: Dataset, device: torch.device, world: World) -> Config:
    """With the largest micro-batches that fit, of those that halving makes."""
    step = assemble(config.model_copy(update={"growth": None}), dataset, device, world, total=1)
    try:
        step.advance(measure=True)  # every penalty is due in the first step
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise too_large(step.min_micro_batch, str(error).splitlines()[0], ", or --device cpu, which is slow") from None
    if not step.halved:
        return config
    d, g = step.d.micro_batch, step.g.micro_batch
    log.info(f"note: micro-batches of {config.train.micro_batch} do not fit into memory: on with {d} (G: {g})")
    return config.with_overrides({"train.micro_batch": d, "train.micro_batch_g": g})


def refuse_too_much(config: Config, dataset: Dataset, device: torch.device, world: World) -> None:
    """Raises `ConfigError` for micro-batches beyond the memory that is free."""
    free = free_memory()
    if free is None:
        return  # no Linux: others say so, or make room
    share = free / int(os.environ.get("LOCAL_WORLD_SIZE", world.size))  # of the processes on this machine
    train = config.train
    assert train.batch and train.batch_g and train.micro_batch and train.micro_batch_g, "it is resolved"
    asked = needed(config, dataset, device)
    if asked <= share:
        return
    gib = f"{asked / 2**30:.3g} GiB, where {share / 2**30:.3g} GiB are free"
    likely = int(1.5 * train.micro_batch * share / asked)  # a step has a part of its own beside the images' part
    for size in range(min(likely, train.micro_batch - 1), 0, -1):
        size_g = next(n for n in range(min(size, train.micro_batch_g), 0, -1) if train.batch_g % n == 0)
        smaller = {"train.micro_batch": size, "train.micro_batch_g": size_g}
        if train.batch % size == 0 and needed(config.with_overrides(smaller), dataset, device) <= share:
            raise ConfigError(
                f"micro-batches of {train.micro_batch} need about {gib}: set train.micro_batch={size} and "
                f"train.micro_batch_g={size_g} (to resume a run, in its config.yaml). A batch stays {train.batch}, as "
                "gradients accumulate."
            )
    raise too_large(1, f"micro-batches of {train.micro_batch} need about {gib}")


def needed(config: Config, dataset: Dataset, device: torch.device) -> int:
    """Bytes that a step takes on top of fresh networks; 0 where that is not known before it is made.

    The step is made with tensors that have a shape and no content: in no memory, and without arithmetic.
    """
    train = config.train
    assert train.batch and train.batch_g and train.micro_batch and train.micro_batch_g, "it is resolved"
    # Two micro-batches take what many take; one takes more than half of it, as it may be kept for G.
    few = {
        "train.batch": min(train.batch, 2 * train.micro_batch),
        "train.batch_g": min(train.batch_g, 2 * train.micro_batch_g),
        "train.d_updates": 1,
        "train.compile": False,
        "growth": None,
    }
    step = assemble(config.with_overrides(few), dataset, device, World(), total=1)
    try:
        with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True), Counter() as counter:
            step.advance(measure=True)
    except NOT_RECKONED:
        return 0
    return int(counter.most / COUNTED)


def too_large(least: int, why: str, elsewhere: str = "") -> ConfigError:
    return ConfigError(
        f"not even a micro-batch of {least} fits into memory ({why}): take smaller images (--size), or smaller "
        f"networks (net.g.width, net.d.width){elsewhere}."
    )
