"""A training for images that have all been inspected: the defaults, mirroring, memory and time."""

import math
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from ganloom.api.costs import Noise, free_bytes, in_bytes, step_of
from ganloom.config import Config, recipe_values
from ganloom.core.device import choose_device, device_name
from ganloom.core.phases import phase
from ganloom.core.shapes import ImageShape
from ganloom.core.words import counted, lasting, speed_of
from ganloom.data.inspect import Findings
from ganloom.data.prepare import MAX_SKIPPED
from ganloom.planning.defaults import Case, Defaults, Reason, derive
from ganloom.session.context import connected
from ganloom.session.memory import peak_memory
from ganloom.session.timing import images_per_minute

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
    noise = Noise(shape, findings.class_names, max(1, findings.splits["train"]))
    free = SHARE_OF_MEMORY * _free_memory(chosen)
    with connected(chosen, noise) as context:
        step = step_of(Config.build(values, settings), context)
        config, batch = step.config, step.d.batch
        needed = cache(lambda size: peak_memory(step, size, size))
        with phase("estimating peak memory"):
            micro_batch = next((n for n in range(batch, 1, -1) if batch % n == 0 and needed(n) <= free), 2)
        if micro_batch < batch:
            settings["train.micro_batch"] = micro_batch
            step = step_of(Config.build(values, settings), context)
        speed = images_per_minute(step)
    fits = "fits" if needed(batch) <= free else "would not fit"
    memory = f"{counted(batch, 'image')} need {in_bytes(needed(batch))}, which {fits} into half of the free memory"
    length = config.train.length
    whole = length.images(epoch=noise.count(), step=config.images_per_step) / speed if not length.is_time else 0
    lasts = f"; {length} take about {lasting(whole)}" if whole else ""
    measured = f"measured on {device_name(chosen)}: {speed_of(speed)}{lasts}"
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


def _free_memory(device: torch.device) -> float:
    """Bytes."""
    if (free := free_bytes(device)) is not None:
        return float(free)
    known = hasattr(os, "sysconf")  # half of the memory; Windows does not say
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 if known else ASSUMED_MEMORY
