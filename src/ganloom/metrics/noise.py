"""Whether nearest neighbours can judge some images at all: real images with noise that nobody sees must stay precise.

Features of smooth or enlarged images are so much alike that a little noise, such as any generator leaves, moves even a
real image out of its neighbourhood. Then precision, recall, density, coverage and the Vendi score stay near 0 for
images that people find good.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Images, ImageSet
from ganloom.metrics.prdc import MIN_IMAGES, neighbourhoods

__all__ = ["AFFECTED", "SUSPICIOUS", "Reaction", "reaction_to_noise"]

AFFECTED = ("precision", "recall", "density", "coverage", "vendi")
SUSPICIOUS = 0.1  # precision below which the reason is looked for
LEVELS = 2  # standard deviation of the noise, of 255
MAX_IMAGES = 500  # that get noise, and as many that are compared with
BATCH = 64  # images that get noise at once
TOO_MUCH = 0.5  # of the precision without noise: the noise alone would make a perfect generator look bad


class Reaction(NamedTuple):
    """Precision of real images against other real ones."""

    clean: float
    noisy: float  # with noise that nobody sees

    @property
    def is_blinded(self) -> bool:
        """Whether low numbers say nothing about the generator."""
        return self.noisy < TOO_MUCH * self.clean

    @property
    def text(self) -> str:
        """The reason why numbers near 0 may be shown beside good pictures, and what to go by."""
        return (
            f"no guide here, as the extractor sees noise that people do not: with {LEVELS} levels of noise of 255, "
            f"even real images have precision {self.noisy:.2g} instead of {self.clean:.2g}. Go by fd, and by eye."
        )


def reaction_to_noise(real: ImageSet, features: Callable[[Images], NDArray[np.float32]]) -> Reaction | None:
    """Half of the real images, with and without noise, against the other half; None for too few images.

    The noise is always the same.
    """
    half = min(len(real) // 2, MAX_IMAGES)
    if half < MIN_IMAGES:
        return None
    reference, others = np.arange(half) * 2, np.arange(half) * 2 + 1
    draw = np.random.default_rng(0)
    parts = []
    for rows in np.array_split(others, -(-half // BATCH)):  # few at a time: as floats they take four times the memory
        pixels = real.images[rows].astype(np.float32)  # [N, H, W, C]
        pixels += LEVELS * draw.standard_normal(pixels.shape, np.float32)
        parts.append(features(Images.generated(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))))
    noisy = np.concatenate(parts)
    x = real.features[reference]
    clean, with_noise = (float(neighbourhoods(x, y).precise.mean()) for y in (real.features[others], noisy))
    return Reaction(clean, with_noise)
