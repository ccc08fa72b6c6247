"""95 % confidence intervals: how much a metric varies over other draws of images.

Most metrics are smooth functions of two sets of images. Their standard error is the infinitesimal jackknife's (Jaeckel
1972; Efron 1982, chapter 6): the influence of an image is the derivative of the metric by the weight of that image, and

    se^2 = sum over the sets of (variance of the influences) / (number of images).

It needs no second computation, no groups and no random numbers. Near the smallest possible value of a metric, as for
the Frechet distance of two equal distributions, the second order matters, and the interval is up to twice as wide as it
should be. Tests check with new draws of images that it is not much too narrow.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate

__all__ = ["Z", "influence_interval", "mean_interval", "pairs_interval", "proportion_interval"]

Z = 1.959963984540054  # 95 % of a standard normal lie within -Z and Z


def influence_interval(
    value: float,
    *influences: NDArray[np.floating[Any]],  # [N] for each set of images
    minimum: float = -math.inf,  # smallest possible value of the metric
) -> Estimate:
    """`value` with the interval of the infinitesimal jackknife."""
    variance = sum(float(np.var(values, dtype=np.float64, ddof=1)) / len(values) for values in influences)
    reach = Z * math.sqrt(variance)
    return Estimate(value, max(value - reach, minimum), value + reach)


def mean_interval(
    values: NDArray[np.floating[Any]],  # [N], one per image
) -> Estimate:
    """The mean of the values; no interval for a single value."""
    mean = float(np.mean(values, dtype=np.float64))
    return Estimate(mean) if len(values) < 2 else influence_interval(mean, values)


def pairs_interval(
    values: NDArray[np.floating[Any]],  # [P], one per pair of images
    one: NDArray[np.int64],  # [P], index of one image of each pair
    other: NDArray[np.int64],  # [P] of the same images; the two of a pair differ
) -> Estimate:
    """The mean of the values. Pairs that share an image are correlated (Aronow, Samii & Assenova 2015, eq. 6)."""
    mean = float(np.mean(values, dtype=np.float64))
    deviations = np.asarray(values, np.float64) - mean
    of_image = np.zeros(1 + max(one.max(), other.max()))
    np.add.at(of_image, one, deviations)
    np.add.at(of_image, other, deviations)
    alone = float(np.square(deviations).sum())
    # sum over images of (sum of the deviations of its pairs)^2, which counts the square of each pair twice
    variance = max(float(np.square(of_image).sum()) - alone, alone) / len(values) ** 2
    reach = Z * math.sqrt(variance)
    return Estimate(mean, mean - reach, mean + reach)


def proportion_interval(hits: int, total: int) -> Estimate:
    """The share hits / total with the score interval (Wilson 1927), which is valid at 0 and 1 too."""
    share = hits / total
    # (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)
    scale = 1 + Z**2 / total
    middle = (share + Z**2 / (2 * total)) / scale
    reach = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2)) / scale
    return Estimate(share, middle - reach if hits else 0.0, middle + reach if hits < total else 1.0)
