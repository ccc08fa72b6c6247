"""What a training costs on this machine: time and memory, at its own size of images and at others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganloom.config import Config
from ganloom.core.device import device_name
from ganloom.core.errors import ConfigError
from ganloom.core.memory import free_memory
from ganloom.core.operations import OperationCounter
from ganloom.core.phases import phase
from ganloom.core.shapes import ImageShape
from ganloom.core.words import counted, lasting, speed_of
from ganloom.data.dataset import Dataset
from ganloom.data.inspect import look_at_sizes
from ganloom.data.sources import Source
from ganloom.planning.defaults import Reason
from ganloom.session.context import Context, connected
from ganloom.session.memory import peak_memory
from ganloom.session.preflight import full_size, trial_step
from ganloom.session.timing import images_per_minute
from ganloom.training.assembly import resolve
from ganloom.training.step import AdversarialStep

__all__ = ["Noise", "costs", "free_bytes", "in_bytes", "step_of"]

SIZES = (32, 64, 128, 256)  # pixels: those of the recipes
SLOW_STEP = 4.0  # seconds: longer steps are not timed, but estimated from those of smaller images
MANY = 100_000  # images, where nobody knows how many there are


class Noise(Dataset):
    """Random images instead of prepared ones: a training on them is as fast."""

    name = content_hash = "noise"
    labelled = True

    def __init__(self, shape: ImageShape, class_names: Sequence[str], count: int) -> None:
        self._shape = shape
        self._names = list(class_names)
        self._count = count

    @property
    def splits(self) -> list[str]:
        return ["train"]

    @property
    def shape(self) -> ImageShape:
        return self._shape

    @property
    def class_names(self) -> list[str]:
        return self._names

    def count(self, split: str = "train") -> int:
        return self._count

    def images(self, index: NDArray[np.int64], split: str = "train") -> NDArray[np.uint8]:
        shape = len(index), self._shape.height, self._shape.width, self._shape.channels
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def labels(self, index: NDArray[np.int64], split: str = "train") -> NDArray[Any]:
        return index % len(self._names)


@dataclass(frozen=True)
class Cost:
    """What a training takes at one size of images."""

    shape: ImageShape
    batch: int  # images of a micro-batch
    memory: int  # bytes; 0 where it cannot be known beforehand
    images_per_minute: float
    is_measured: bool  # otherwise estimated from its arithmetic and the speed of smaller images
    images_per_step: int


def costs(config: Config, source: Source, device: torch.device) -> Iterator[Reason]:
    """Rows on time and memory, then one for each further size that the network takes.

    Steps are timed for some seconds. Raises `ConfigError`.
    """
    own = config.data.size or look_at_sizes(source).common
    sizes = {own} if config.start else {own, *((side, side) for side in SIZES)}
    found = dict(_measured(config, source, device, sorted(sizes, key=lambda size: size[0] * size[1]), own))
    mine = found.pop(own)
    how = f"measured on {device_name(device)}" if mine.is_measured else f"estimated for {device_name(device)}"
    value, why = _time(config, source, mine)
    yield Reason("time", value, f"{why}, {how}")
    yield Reason("memory", in_bytes(mine.memory), _fits(mine, device))
    for (height, width), cost in found.items():
        value, why = _time(config, source, cost)
        yield Reason(f"at {height}x{width}", value, f"about {why}, {in_bytes(cost.memory)}; --size {height} chooses it")


def _measured(
    config: Config, source: Source, device: torch.device, sizes: Sequence[tuple[int, int]], own: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Cost]]:
    """The costs by size, from the smallest to the largest. The smallest one is timed, and that of the training."""
    pace = 0.0  # operations per minute
    for size in sizes:
        shape = ImageShape(config.data.channels or 3, *size)
        noise = Noise(shape, source.class_names, source.count or MANY)
        with connected(device, noise) as context:
            try:
                step = step_of(config.with_overrides({"data.size": size}), context)
            except ConfigError:
                if size == own:
                    raise
                continue  # a size that the network does not take
            with phase(f"estimating the cost at {shape.height}x{shape.width}"):
                operations, micro_batch = OperationCounter(), step.d.micro_batch
                memory = peak_memory(step, micro_batch, step.g.micro_batch, operations)
                work = operations.total / min(step.d.batch, 2 * micro_batch) / config.train.d_updates
            estimated = pace / work if work else 0.0
            is_quick = estimated and step.images_per_step / estimated * 60 < SLOW_STEP
            is_measured = not estimated or (size == own and is_quick)
            speed = images_per_minute(step) if is_measured else estimated
            pace = speed * work
            yield size, Cost(shape, micro_batch, memory, speed, bool(is_measured), step.images_per_step)


def step_of(config: Config, context: Context) -> AdversarialStep:
    """A step to be measured and thrown away, with everything that follows from the size of its images."""
    with phase("building the networks"):
        step = trial_step(resolve(config, context.dataset.shape, context.world.size), context)
    full_size(step)
    return step


def _time(config: Config, source: Source, cost: Cost) -> tuple[str, str]:
    """How long the training takes or, for a length in time, how many images it sees; and the speed."""
    length, speed = config.train.length, cost.images_per_minute
    per_second = speed_of(speed)
    limit = "" if config.growth is None else "at most "
    if length.is_time:
        return str(length), f"{counted(round(length.minutes * speed), 'image')} at {per_second}"
    if length.unit == "epochs" and source.count is None:
        return f"{limit}{60_000 / speed:.3g} s per kimg", f"{length} of an unknown number of images at {per_second}"
    images = length.images(epoch=source.count or 0, step=cost.images_per_step)
    return f"{limit}{lasting(images / speed)}", f"{length} at {per_second}"


def _fits(cost: Cost, device: torch.device) -> str:
    free = free_bytes(device)
    needed = f"for micro-batches of {cost.batch}"
    if not cost.memory:
        return "it depends on the values that the networks compute"
    if free is None:
        return needed
    fits = (
        "are free" if cost.memory <= free else "are free: too little, so make the micro-batch smaller (--micro-batch)"
    )
    return f"{needed}; {in_bytes(free)} {fits}"


def in_bytes(count: int) -> str:
    if not count:
        return "unknown"
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:.3g} GiB"


def free_bytes(device: torch.device) -> int | None:
    """The memory that a training could take; None where the system does not say."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()
