"""StyleGAN2's rules for settings that a configuration leaves open: R1's weight, the batch, the EMA's half-life.

From "Training generative adversarial networks with limited data" (Karras et al. 2020, arXiv 2006.06676): the settings
that its authors derive for resolutions that they had not tuned by hand. Their rule for channels, min(16384 / size,
512), is the default of the network's `width` and `full`; from 512 pixels on they use twice as many: `full: 64`.
"""

from typing import Any

from ganloom.config import Config
from ganloom.core.lengths import Length
from ganloom.core.shapes import ImageShape

__all__ = ["batch_of", "gamma_of", "half_life_of", "opened"]

MAX_BATCH = 32


def opened(config: Config, shape: ImageShape) -> dict[str, Any]:
    """The nested values that set to `null` what the rules derived; empty if the configuration differs from the rules.

    `config` is resolved.
    """
    batch, r1 = batch_of(shape), config.penalties.get("r1")
    derived = gamma_of(shape, batch), half_life_of(batch), batch
    if r1 is None or (r1.weight, config.ema.half_life, config.train.batch) != derived:
        return {}
    return {"penalties": {"r1": {"weight": None}}, "ema": {"half_life": None}, "train": {"batch": None}}


def batch_of(shape: ImageShape) -> int:
    """Images per update, on one GPU."""
    return min(MAX_BATCH, 4096 // max(shape.height, shape.width))


def gamma_of(shape: ImageShape, batch: int) -> float:
    """The weight of R1: larger images have larger gradients, larger batches need less regularization."""
    return 0.0002 * shape.height * shape.width / batch


def half_life_of(batch: int) -> Length:
    """The half-life of the moving average: the same number of updates for every batch."""
    return Length(batch * 10 / 32, "kimg")
