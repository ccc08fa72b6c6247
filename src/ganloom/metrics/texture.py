"""Energy at the highest spatial frequencies, against the real images: dots and checkerboards, or blur.

Strided transposed convolutions leave a checkerboard (Odena, Dumoulin & Olah 2016, "Deconvolution and checkerboard
artifacts"), which a Fréchet distance does not name. It alternates from pixel to pixel. That is the highest frequency
there is, of which images have next to nothing; blurred images have less than real ones.
"""

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate, ImageSet, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.tone import on_white

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "energies", "measure"]

NEEDS: frozenset[str] = frozenset()
MIN_IMAGES = 50
NUMBERS = ("texture",)
BATCH = 256
FILTER = (1 / 16, -4 / 16, 6 / 16, -4 / 16, 1 / 16)  # passes sin^4(w / 2): all at the highest frequency, 1/4 at half
FLOOR = 0.01  # grey levels squared, less than rounding adds: images without any fine texture have a ratio too


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`texture`: mean energy of the generated images at the highest frequencies, divided by that of the real ones.

    Images of fewer than 5 pixels have none.
    """
    if min(inputs.real.images[:1].shape[1:3]) < len(FILTER):
        return {}
    fake, real = (_of_all(each) for each in (inputs.fake, inputs.real))
    scale = float(real.mean()) + FLOOR
    ratio = (float(fake.mean()) + FLOOR) / scale
    influences = (fake - fake.mean()) / scale, -ratio * (real - real.mean()) / scale
    return {"texture": influence_interval(ratio, *influences, minimum=0.0)}


def energies(
    images: NDArray[np.uint8],  # [N, H, W, C], of at least 5 pixels a side
) -> NDArray[np.float64]:  # [N], in grey levels squared
    """The variance at the highest frequencies of each image's channel mean, along its rows and its columns."""
    grey = on_white(images).mean(axis=-1, dtype=np.float64)
    along = [np.square(_filtered(grey, axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    found: NDArray[np.float64] = along[0] + along[1]
    return found


def _filtered(grey: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Where the whole filter fits: a border would be an edge that the image does not have."""
    length = grey.shape[axis] - len(FILTER) + 1
    parts = (factor * np.take(grey, range(place, place + length), axis) for place, factor in enumerate(FILTER))
    return np.asarray(sum(parts), np.float64)


def _of_all(images: ImageSet) -> NDArray[np.float64]:
    return np.concatenate([energies(images.images[first : first + BATCH]) for first in range(0, len(images), BATCH)])
