"""What a set of images calls for when all of them have been looked at: the defaults, mirroring, memory and time."""

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
from ganloom.data.prepare import MOST_SKIPPED
from ganloom.planning.defaults import Case, Plan, derive
from ganloom.session import memory as fitting
from ganloom.session import session, timing
from ganloom.training.assembly import resolve

__all__ = ["plan"]

SYMMETRIC = 0.12  # asymmetry of the mean image below which mirror images look like the others
FEWEST = 20  # images of which an average says something
FEW = 2000  # images; with fewer, mirroring is worth a great deal
SHARE_OF_MEMORY = 0.5  # that a training may take of what is free
LEAST_MEMORY = 4.0 * 2**30  # bytes that any machine of today is taken to have free


def plan(findings: Findings, device: str = "auto", given: Mapping[str, Any] | None = None) -> Plan:
    """Propose a training for what was found; its speed is measured on `device` for two seconds.

    `given` are settings that are decided already.
    """
    chosen = choose_device(device)
    given = dict(given or {})
    sizes = findings.summary()
    derived = derive(Case(sizes, findings.count, len(findings.class_names), chosen, given))
    settings = given | derived.settings
    if (mirror := _mirror(findings))[0]:
        settings["data.mirror"] = True
    if (share := len(findings.faults) / max(1, findings.count + len(findings.faults))) > MOST_SKIPPED:
        settings["data.max_skipped"] = math.ceil(100 * share) / 100
    values = recipe_values(derived.recipe)
    height, width = Config.build(values, settings).data.size or (64, 64)
    shape = ImageShape(1 if findings.is_grey else 3, height, width)
    noise = _Noise(shape, findings.class_names, max(1, findings.splits["train"]))
    config = resolve(Config.build(values, settings), shape, 1)
    free = SHARE_OF_MEMORY * _free_memory(chosen)

    @cache
    @cache  # it takes a second
    def needed(micro_batch: int) -> int:  # bytes
        sizes = {"train.micro_batch": micro_batch, "train.micro_batch_g": micro_batch}
        return fitting.needed(config.with_overrides(sizes), noise, chosen)

    batch = config.train.batch
    assert batch, "it is resolved"
    micro_batch = next((n for n in range(batch, 1, -1) if batch % n == 0 and needed(n) <= free), 2)
    if micro_batch < batch:
        settings["train.micro_batch"] = micro_batch
    config = resolve(Config.build(values, settings), shape, 1)
    with session.connected(chosen) as world:
        speed = timing.images_per_minute(config, noise, chosen, world)
    fits = "fits" if needed(batch) <= free else "would not fit"
    memory = f"{batch} need {needed(batch) / 2**20:,.0f} MiB, which {fits} in half of what is free"
    length = config.train.length
    whole = length.images(epoch=noise.count(), step=config.images_per_step) / speed if not length.is_time else 0
    lasts = f"; {length} take about {max(1, round(whole)):,} minutes" if whole else ""
    measured = f"measured on {device_name(chosen)}: {speed / 60:.0f} images/s{lasts}"
    reasons = [
        *derived.reasons,
        ("channels", str(shape.channels), "all images are grey" if findings.is_grey else "there is colour"),
        ("micro-batch", str(micro_batch), memory),
        ("mirror", "on" if mirror[0] else "off", mirror[1]),
        ("time", f"{60_000 / speed:.1f} s a kimg", measured),
    ]
    return Plan(derived.recipe, settings, reasons)


def _mirror(findings: Findings) -> tuple[bool, str]:
    """Whether mirror images would look like the others, and why."""
    if findings.count < FEWEST:
        return False, "too few images to say whether left and right are alike"
    part = f"the average image differs from its mirror image by {findings.asymmetry:.2f} standard deviations"
    if findings.asymmetry > SYMMETRIC:
        return False, f"{part}: left and right are not alike"
    if findings.is_grey:
        return (
            False,
            f"{part}, but grey images are often medical, and a heart has a side: turn it on if yours have none",
        )
    if findings.splits["train"] >= FEW:
        return False, f"{part}, but there are enough images: turn it on with --set data.mirror=true"
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
    known = hasattr(os, "sysconf")  # half of all there is; Windows does not say
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 if known else LEAST_MEMORY
