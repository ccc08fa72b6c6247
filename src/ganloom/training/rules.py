"""What StyleGAN2 wants at a size, for what a configuration leaves open: `null` for a weight, a batch, a half-life.

From "Training generative adversarial networks with limited data" (Karras et al. 2020, arXiv 2006.06676), the settings
that its authors derive for sizes they had not tuned by hand. Its rule for channels is how `width` and `full` of the
network stand by themselves: min(16384 / size, 512).
"""

from ganloom.core.lengths import Length
from ganloom.core.shapes import ImageShape

__all__ = ["batch_of", "gamma_of", "half_life_of"]

LARGEST_BATCH, SMALLEST_BATCH = 32, 4


def batch_of(shape: ImageShape) -> int:
    """Images an update, on one GPU."""
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, 4096 // max(shape.height, shape.width)))


def gamma_of(shape: ImageShape, batch: int) -> float:
    """The weight of R1: larger images have a larger gradient, larger batches need less restraint."""
    return 0.0002 * shape.height * shape.width / batch


def half_life_of(batch: int) -> Length:
    """Of the moving average: as many updates whatever the batch."""
    return Length(batch * 10 / 32, "kimg")
