"""What StyleGAN2 wants at a size, for what a configuration leaves open: `null` for a weight, a batch, a half-life.

From "Training generative adversarial networks with limited data" (Karras et al. 2020, arXiv 2006.06676): the settings
that its authors derive for sizes they had not tuned by hand. Their rule for channels, min(16384 / size, 512), is what
`width` and `full` of the network are by themselves; from 512 pixels on theirs are twice as many: `full: 64`.
"""

from typing import Any

from ganloom.config import Config
from ganloom.core.lengths import Length
from ganloom.core.shapes import ImageShape

__all__ = ["batch_of", "gamma_of", "half_life_of", "opened"]

LARGEST_BATCH = 32


def opened(config: Config, shape: ImageShape) -> dict[str, Any]:
    """What of a resolved configuration to leave open again, nested, if all of it is as the rules have it."""
    batch, r1 = batch_of(shape), config.penalties.get("r1")
    derived = gamma_of(shape, batch), half_life_of(batch), batch
    if r1 is None or (r1.weight, config.ema.half_life, config.train.batch) != derived:
        return {}
    return {"penalties": {"r1": {"weight": None}}, "ema": {"half_life": None}, "train": {"batch": None}}


def batch_of(shape: ImageShape) -> int:
    """Images an update, on one GPU."""
    return min(LARGEST_BATCH, 4096 // max(shape.height, shape.width))


def gamma_of(shape: ImageShape, batch: int) -> float:
    """The weight of R1: larger images have a larger gradient, larger batches need less restraint."""
    return 0.0002 * shape.height * shape.width / batch


def half_life_of(batch: int) -> Length:
    """Of the moving average: as many updates whatever the batch."""
    return Length(batch * 10 / 32, "kimg")
