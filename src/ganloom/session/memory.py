"""Does a step fit into memory? Found out before a training, with a step that is thrown away."""

import contextlib
import os
from collections.abc import Iterator

from torch._subclasses import fake_tensor

from ganloom.config import Config
from ganloom.core.allocations import AllocationCounter
from ganloom.core.distributed import World
from ganloom.core.errors import ConfigError
from ganloom.core.memory import free_memory, is_out_of_memory
from ganloom.core.operations import OperationCounter
from ganloom.core.terminal import log
from ganloom.training.buffers import snapshot
from ganloom.training.step import AdversarialStep

__all__ = ["fit_memory", "peak_memory"]

COUNTED = 0.75  # of what a step takes: the rest is scratch memory of kernels, which nobody counts
NOT_ESTIMATED = (  # raised by networks whose operations depend on the values of tensors
    fake_tensor.DataDependentOutputException,
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.UnsupportedFakeTensorException,
)


def fit_memory(step: AdversarialStep) -> Config:
    """The configuration of a step, with micro-batches that fit into memory. `step` is spent afterwards.

    A GPU reports when its memory is exhausted, so smaller micro-batches are tried on it. The system of a CPU would kill
    the training instead, so its peak memory is estimated. Raises `ConfigError` where nothing fits and, on a CPU, for
    micro-batches that are too large, with some that are not.
    """
    if step.device.type == "cpu":
        refuse_too_large(step)
        return step.config
    return retried_smaller(step)


def retried_smaller(step: AdversarialStep) -> Config:
    """With the largest micro-batches that fit, among those that halving gives."""
    try:
        step.advance(measure=True)  # every penalty is due in the first step
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise nothing_fits(
            step.min_micro_batch, str(error).splitlines()[0], ", or --device cpu, which is slow"
        ) from None
    if not step.halved:
        return step.config
    d, g = step.d.micro_batch, step.g.micro_batch
    log.info(f"note: micro-batches of {step.config.train.micro_batch} do not fit into memory; now {d} (G: {g})")
    return step.config.with_overrides({"train.micro_batch": d, "train.micro_batch_g": g})


def refuse_too_large(step: AdversarialStep) -> None:
    """Raises `ConfigError` for micro-batches beyond the free memory."""
    free = free_memory()
    if free is None:
        return  # not Linux: other systems report it, or make room
    share = free / int(os.environ.get("LOCAL_WORLD_SIZE", step.world.size))  # of the processes on this machine
    batch, micro, batch_g, micro_g = step.d.batch, step.d.micro_batch, step.g.batch, step.g.micro_batch
    peak = peak_memory(step, micro, micro_g)
    if peak <= share:
        return
    gib = f"{peak / 2**30:.3g} GiB, where {share / 2**30:.3g} GiB are free"
    likely = int(1.5 * micro * share / peak)  # besides the part of the images a step has a fixed part
    for size in range(min(likely, micro - 1), 0, -1):
        size_g = next(n for n in range(min(size, micro_g), 0, -1) if batch_g % n == 0)
        if batch % size == 0 and peak_memory(step, size, size_g) <= share:
            raise ConfigError(
                f"micro-batches of {micro} need about {gib}: use --set train.micro_batch={size} --set "
                f"train.micro_batch_g={size_g}. A batch stays {batch}, as gradients accumulate."
            )
    raise nothing_fits(1, f"micro-batches of {micro} need about {gib}")


def peak_memory(
    step: AdversarialStep, micro_batch: int, micro_batch_g: int, operations: OperationCounter | None = None
) -> int:
    """Bytes that a step of these micro-batches takes on top of new networks; 0 where that cannot be known beforehand.

    Estimated by a step of fake tensors (no storage), which takes neither memory nor arithmetic. `operations` counts
    those of the step, which has two micro-batches at most.
    """
    with _shortened(step, micro_batch, micro_batch_g):
        try:
            with (
                fake_tensor.FakeTensorMode(allow_non_fake_inputs=True),
                operations or contextlib.nullcontext(),
                AllocationCounter() as counter,
            ):
                step.advance(measure=True)
        except NOT_ESTIMATED:
            return 0
    return int(counter.peak / COUNTED)


@contextlib.contextmanager
def _shortened(step: AdversarialStep, micro_batch: int, micro_batch_g: int) -> Iterator[None]:
    """A step of two micro-batches, by this process alone: more take no more memory. One takes more than half, as it may
    be kept for G.

    Compiled networks are left out: they would compile for tensors without content. Afterwards the step is as before.
    """
    names = ("G", "D", "nimg", "images_per_step")
    before = {name: getattr(step, name) for name in names}
    sizes = [(learner, learner.batch, learner.micro_batch) for learner in (step.d, step.g)]
    world, together = step.world, (step, step.fakes, step.retry)
    modules = (step.g.net, step.d.net, step.augment, step.health, step.last_penalties)
    restore = snapshot([buffer for module in modules for buffer in module.buffers()])
    for learner, micro in ((step.d, micro_batch), (step.g, micro_batch_g)):
        learner.micro_batch = micro
        learner.batch = min(learner.batch, 2 * micro)
    step.G, step.D, step.nimg = step.g.net, step.d.net, 0
    step.images_per_step = step.d.batch * step.config.train.d_updates
    for part in together:
        part.world = World()
    try:
        yield
    finally:
        restore()  # a number is added to a buffer with content even while fake tensors are made
        step.fakes.clear()
        for learner, batch, micro in sizes:
            learner.batch, learner.micro_batch = batch, micro
            learner.reset_optimizer()  # its moments have no content
            learner.optimizer.zero_grad(set_to_none=True)
        for name, value in before.items():
            setattr(step, name, value)
        for part in together:
            part.world = world


def nothing_fits(least: int, why: str, elsewhere: str = "") -> ConfigError:
    return ConfigError(
        f"not even a micro-batch of {least} fits into memory ({why}): start a run with smaller images (data.size) or "
        f"smaller networks (net.g.width, net.d.width){elsewhere}."
    )
