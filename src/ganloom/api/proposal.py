"""A training for images that have all been inspected: the defaults, mirroring, memory and time."""

import math
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganloom.config import Config, recipe_values
from ganloom.core.device import choose_device, device_name
from ganloom.core.memory import free_memory
from ganloom.core.shapes import ImageShape
from ganloom.data.dataset import Dataset
from ganloom.data.inspect import Findings
from ganloom.data.prepare import MAX_SKIPPED
from ganloom.planning.defaults import Case, Defaults, Reason, derive
from ganloom.session.context import connected
from ganloom.session.memory import peak_memory
from ganloom.session.preflight import full_size, trial_step
from ganloom.session.timing import images_per_minute
from ganloom.training.assembly import resolve

__all__ = ["propose"]

SYMMETRIC = 0.12  # asymmetry of the mean image below which mirror images look like real ones
MIN_FOR_MEAN = 20  # images whose average says something
FEW = 2000  # training images below which mirroring helps much
SHARE_OF_MEMORY = 0.5  # of the free memory, for a training
ASSUMED_MEMORY = 4.0 * 2**30  # bytes free, where the system does not say


def propose(findings: Findings, device: str = "auto", given: Mapping[str, Any] | None = None) -> Defaults:
    """Propose a training for what was found; its speed is measured on `device` for two seconds.

    `given` are settings of the user. Raises `ConfigError` if no network takes the images.
    """
    chosen = choose_device(device)
    given = dict(given or {})
    sizes = findings.summary()
    derived = derive(Case(sizes, findings.count, len(findings.class_names), chosen, given))
    settings = given | derived.settings
    if (mirror := _mirror(findings))[0]:
        settings["data.mirror"] = True
    if (share := len(findings.faults) / max(1, findings.count + len(findings.faults))) > MAX_SKIPPED:
        settings["data.max_skipped"] = math.ceil(100 * share) / 100
    values = recipe_values(derived.recipe)
    height, width = Config.build(values, settings).data.size or (64, 64)
    shape = ImageShape(1 if findings.is_grey else 3, height, width)
    noise = _Noise(shape, findings.class_names, max(1, findings.splits["train"]))
    config = resolve(Config.build(values, settings), shape, 1)
    batch = config.train.batch
    assert batch, "it is resolved"
    free = SHARE_OF_MEMORY * _free_memory(chosen)
    with connected(chosen, noise) as context:
        step = trial_step(config, context)
        full_size(step)
        needed = cache(lambda size: peak_memory(step, size, size))
        micro_batch = next((n for n in range(batch, 1, -1) if batch % n == 0 and needed(n) <= free), 2)
        if micro_batch < batch:
            settings["train.micro_batch"] = micro_batch
            step = trial_step(resolve(Config.build(values, settings), shape, 1), context)
            full_size(step)
        speed = images_per_minute(step)
    fits = "fits" if needed(batch) <= free else "would not fit"
    memory = f"{batch} images need {needed(batch) / 2**20:,.0f} MiB, which {fits} into half of the free memory"
    length = config.train.length
    whole = length.images(epoch=noise.count(), step=config.images_per_step) / speed if not length.is_time else 0
    lasts = f"; {length} take about {max(1, round(whole)):,} minutes" if whole else ""
    measured = f"measured on {device_name(chosen)}: {speed / 60:.0f} images/s{lasts}"
    reasons = [
        *derived.reasons,
        Reason("channels", str(shape.channels), "all images are grey" if findings.is_grey else "some are in colour"),
        Reason("micro-batch", str(micro_batch), memory),
        Reason("mirror", "on" if mirror[0] else "off", mirror[1]),
        Reason("time", f"{60_000 / speed:.1f} s per kimg", measured),
    ]
    return Defaults(derived.recipe, settings, reasons)


def _mirror(findings: Findings) -> tuple[bool, str]:
    """Whether mirror images would look like real ones, and why."""
    if findings.count < MIN_FOR_MEAN:
        return False, "too few images to tell whether left and right differ"
    part = f"the average image differs from its mirror image by {findings.asymmetry:.2f} standard deviations"
    if findings.asymmetry > SYMMETRIC:
        return False, f"{part}: left and right differ"
    if findings.is_grey:
        why = "but grey images are often medical, where the sides matter: to mirror yours, --set data.mirror=true"
        return False, f"{part}, {why}"
    if findings.splits["train"] >= FEW:
        return False, f"{part}, but there are enough images without mirroring: turn it on with --set data.mirror=true"
    return True, f"{part}, and there are few images"


class _Noise(Dataset):
    """Random images instead of prepared ones: a training on them is as fast."""

    name = content_hash = "noise"
    labelled = True

    def __init__(self, shape: ImageShape, class_names: list[str], count: int) -> None:
        self._shape = shape
        self._names = class_names
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


def _free_memory(device: torch.device) -> float:
    """Bytes."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if (free := free_memory()) is not None:
        return float(free)
    known = hasattr(os, "sysconf")  # half of the memory; Windows does not say
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 if known else ASSUMED_MEMORY
