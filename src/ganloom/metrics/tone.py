"""Brightness, contrast and saturation of the generated images, against the real ones.

They are the first things that people see, and a Fréchet distance, one number for everything, does not name them.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate, ImageSet, Inputs
from ganloom.metrics.intervals import influence_interval

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "Tone", "compared", "faults", "measure", "on_white", "tones"]

NEEDS: frozenset[str] = frozenset()
MIN_IMAGES = 50
NUMBERS = ("brightness", "contrast", "saturation")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
BATCH = 256
NEGLIGIBLE = 0.01  # of the full scale: a contrast or saturation of real images that nothing can be divided by

DARK, BRIGHT = -0.15, 0.15  # brightness beyond which anyone sees it
FLAT, HARSH = 0.75, 1.4  # contrast, likewise
GREY, GAUDY = 0.65, 1.6  # saturation, likewise

Tone = NDArray[np.float64]
"""[N, 3], as shares of the full scale: of each image the mean of its luma, the standard deviation of its luma, and the
mean difference between the largest and the smallest channel."""


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`brightness`: the mean of the generated images minus that of the real ones, as a share of the full scale.
    `contrast` and `saturation`: divided by those of the real images; missing where those are below 1 %.

    The contrast of an image is the standard deviation of its luma, the saturation the mean difference between its
    largest and its smallest channel.
    """
    return compared(*(_all_tones(each) for each in (inputs.fake, inputs.real)))


def tones(
    images: NDArray[np.uint8],  # [N, H, W, C]
) -> Tone:
    """The tone of each image."""
    x = on_white(images) / 255
    luma = x[..., 0] if x.shape[-1] == 1 else x @ LUMA
    colour = x.max(axis=-1) - x.min(axis=-1)
    axes = (1, 2)
    columns = luma.mean(axes, np.float64), luma.std(axes, np.float64), colour.mean(axes, np.float64)
    return np.stack(columns, axis=1)


def on_white(
    images: NDArray[np.uint8],  # [N, H, W, C]
) -> NDArray[np.float32]:  # [N, H, W, 1 or 3], from 0 to 255
    """The images as they are seen on a white page: without alpha, if they have it."""
    x = images.astype(np.float32)
    if images.shape[-1] in (1, 3):
        return x
    alpha = x[..., -1:] / 255
    return np.asarray(x[..., :-1] * alpha + 255 * (1 - alpha), np.float32)


def compared(fake: Tone, real: Tone) -> dict[str, Estimate]:
    """The numbers of `measure`, with 95 % intervals."""
    (a, b), wanted = (each.mean(axis=0) for each in (fake, real)), {}
    wanted["brightness"] = influence_interval(a[0] - b[0], fake[:, 0] - a[0], real[:, 0] - b[0])
    for column, name in enumerate(NUMBERS[1:], start=1):
        if b[column] > NEGLIGIBLE:
            ratio = a[column] / b[column]
            of_fake = (fake[:, column] - a[column]) / b[column]
            of_real = -ratio * (real[:, column] - b[column]) / b[column]
            wanted[name] = influence_interval(ratio, of_fake, of_real, minimum=0.0)
    return wanted


def faults(brightness: float, contrast: float, saturation: float) -> list[str]:
    """What is wrong with the tone, in words; a number may be NaN, for unknown.

    >>> faults(brightness=-0.2, contrast=0.6, saturation=1.0)
    ['too dark', 'washed out']
    """
    found = {
        "too dark": brightness < DARK,
        "too bright": brightness > BRIGHT,
        "washed out": contrast < FLAT,
        "too harsh": contrast > HARSH,
        "too grey": saturation < GREY,
        "too colourful": saturation > GAUDY,
    }
    return [words for words, is_so in found.items() if is_so]


def _all_tones(images: ImageSet) -> Tone:
    parts: Iterable[slice] = (slice(first, first + BATCH) for first in range(0, len(images), BATCH))
    return np.concatenate([tones(images.images[rows]) for rows in parts])
