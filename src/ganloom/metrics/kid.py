"""Kernel distance (Binkowski et al. 2018): the squared maximum mean discrepancy of two sets of features."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import check_finite

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "KernelDistance", "kernel_distance", "measure"]

NEEDS = frozenset({"features"})
MIN_IMAGES = 50  # unbiased at any n, but with fewer the interval is wider than most differences
NUMBERS = ("kid",)
SUBSETS, SIZE = 100, 1000  # SIZE: images per subset


class KernelDistance(NamedTuple):
    """The distance, and the influence of each image on it."""

    value: float
    x: NDArray[np.float64]  # [N]
    y: NDArray[np.float64]  # [M]


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`kid`, with an interval over draws of equally many images (intervals.py).

    Papers print the standard deviation over the subsets. But the subsets overlap, so it says little about the error of
    their mean. This interval uses the influence of each image on that mean, over all subsets that contain the image.
    """
    found = kernel_distance(inputs.real.features, inputs.fake.features, inputs.seed)
    return {"kid": influence_interval(*found)}


def kernel_distance(
    x: NDArray[np.floating[Any]],  # [N, D]
    y: NDArray[np.floating[Any]],  # [M, D]
    seed: int,
    subsets: int = SUBSETS,
    size: int = SIZE,
) -> KernelDistance:
    """The mean over subsets of `size` images, or of all images if there are fewer. Unbiased, so it may be negative.

    The subsets are those that torch-fidelity draws with this seed. Raises `DataError` if a feature is not finite.
    """
    check_finite(x)
    check_finite(y)
    size = min(size, len(x), len(y))
    if len(x) == len(y) == size:
        subsets = 1  # every subset would be the same
    rng = np.random.RandomState(seed)
    values, x_influences, y_influences = [], np.zeros(len(x)), np.zeros(len(y))
    for _ in range(subsets):
        x_rows, y_rows = rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False)
        # Gretton et al. 2012, eq. 3: E k(x, x') + E k(y, y') - 2 E k(x, y)
        x_part, y_part = x[x_rows].astype(np.float64), y[y_rows].astype(np.float64)
        cross = _kernel(x_part, y_part)
        x_nearness = _others(x_part) - cross.mean(axis=1)
        y_nearness = _others(y_part) - cross.mean(axis=0)
        values.append(x_nearness.mean() + y_nearness.mean())
        x_influences[x_rows] += x_nearness - x_nearness.mean()
        y_influences[y_rows] += y_nearness - y_nearness.mean()
    weight = 2 / (size * subsets)
    return KernelDistance(float(np.mean(values)), x_influences * (weight * len(x)), y_influences * (weight * len(y)))


def _kernel(
    x: NDArray[np.float64],  # [N, D]
    y: NDArray[np.float64],  # [M, D]
) -> NDArray[np.float64]:  # [N, M]
    # (x.y / D + 1)^3
    k: NDArray[np.float64] = x @ y.T / x.shape[1] + 1
    return k * k * k


def _others(
    x: NDArray[np.float64],  # [N, D]
) -> NDArray[np.float64]:  # [N]
    """Mean kernel of each image with all others."""
    k = _kernel(x, x)
    np.fill_diagonal(k, 0)
    means: NDArray[np.float64] = k.sum(axis=1) / (len(x) - 1)
    return means
