"""How far a number may be from its value over other draws of images: 95 % intervals.

Most metrics are smooth functions of two sets of images. Their standard error is the infinitesimal jackknife's (Jaeckel
1972; Efron 1982, chapter 6): each image has an influence, the derivative of the number by the image's weight, and

    se^2 = sum over the sets of (variance of its influences) / (number of its images).

It needs no second computation, no groups and no random numbers. Where a number is near the least that it can be, as the
Frechet distance of two equal distributions, the second order counts, and the interval is up to twice as wide as it
should be. Tests draw images anew to see that it is not much too narrow.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate

__all__ = ["Z", "influence_interval", "mean_interval", "pairs_interval", "proportion_interval"]

Z = 1.959963984540054  # of a standard normal, 95 % lie within


def influence_interval(
    value: float,
    *influences: NDArray[np.floating[Any]],  # [N] of each set of images
    least: float = -math.inf,  # no such number is smaller
) -> Estimate:
    variance = sum(float(np.var(values, dtype=np.float64, ddof=1)) / len(values) for values in influences)
    reach = Z * math.sqrt(variance)
    return Estimate(value, max(value - reach, least), value + reach)


def mean_interval(
    values: NDArray[np.floating[Any]],  # [N], one an image
) -> Estimate:
    """Their mean; without an interval where there is one value."""
    mean = float(np.mean(values, dtype=np.float64))
    return Estimate(mean) if len(values) < 2 else influence_interval(mean, values)


def pairs_interval(
    values: NDArray[np.floating[Any]],  # [P], one a pair of images
    one: NDArray[np.int64],  # [P]
    other: NDArray[np.int64],  # [P] of the same images, never the same in a pair
) -> Estimate:
    """Their mean. Pairs that share an image do not vary by themselves (Aronow, Samii & Assenova 2015, eq. 6)."""
    mean = float(np.mean(values, dtype=np.float64))
    deviations = np.asarray(values, np.float64) - mean
    of_image = np.zeros(1 + max(one.max(), other.max()))
    np.add.at(of_image, one, deviations)
    np.add.at(of_image, other, deviations)
    alone = float(np.square(deviations).sum())
    # sum over images of (sum of the deviations of its pairs)^2, in which each pair is twice beside itself
    variance = max(float(np.square(of_image).sum()) - alone, alone) / len(values) ** 2
    reach = Z * math.sqrt(variance)
    return Estimate(mean, mean - reach, mean + reach)


def proportion_interval(hits: int, total: int) -> Estimate:
    """The share, with the score interval (Wilson 1927), which holds at 0 and 1 too."""
    share = hits / total
    # (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)
    scale = 1 + Z**2 / total
    middle = (share + Z**2 / (2 * total)) / scale
    reach = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2)) / scale
    return Estimate(share, middle - reach if hits else 0.0, middle + reach if hits < total else 1.0)
