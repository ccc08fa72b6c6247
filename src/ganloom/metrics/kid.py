"""Kernel distance (Binkowski et al. 2018): the squared maximum mean discrepancy of two sets of features."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import checked

__all__ = ["GIVES", "LEAST", "NEEDS", "KernelDistance", "kernel_distance", "measure"]

NEEDS = frozenset({"features"})
LEAST = 50  # it has no bias at any n, but with fewer its interval is wider than most differences
GIVES = ("kid",)
SUBSETS, SIZE = 100, 1000


class KernelDistance(NamedTuple):
    """The distance, and how much each image pulls it."""

    value: float
    x: NDArray[np.float64]  # [N]
    y: NDArray[np.float64]  # [M]


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`kid`, with an interval over draws of as many images (intervals.py).

    The subsets overlap, so their standard deviation, which the field prints, says little of how sure their mean is.
    The interval comes from each image's influence on that mean instead, over all subsets that hold the image.
    """
    found = kernel_distance(comparison.real.features, comparison.fake.features, comparison.seed)
    return {"kid": influence_interval(*found)}


def kernel_distance(
    x: NDArray[np.floating[Any]],  # [N, D]
    y: NDArray[np.floating[Any]],  # [M, D]
    seed: int,
    subsets: int = SUBSETS,
    size: int = SIZE,
) -> KernelDistance:
    """The mean over subsets of `size` images, or of all where there are fewer; without bias, so it may be negative.

    The subsets are those that torch-fidelity draws with this seed. Raises `DataError` if a feature is not finite.
    """
    x, y = checked(x), checked(y)
    size = min(size, len(x), len(y))
    if len(x) == len(y) == size:
        subsets = 1  # all would be the same
    rng = np.random.RandomState(seed)
    values, x_pulls, y_pulls = [], np.zeros(len(x)), np.zeros(len(y))
    for _ in range(subsets):
        x_rows, y_rows = rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False)
        # Gretton et al. 2012, eq. 3: E k(x, x') + E k(y, y') - 2 E k(x, y)
        cross = _kernel(x[x_rows], y[y_rows])
        x_nearness = _others(x[x_rows]) - cross.mean(axis=1)
        y_nearness = _others(y[y_rows]) - cross.mean(axis=0)
        values.append(x_nearness.mean() + y_nearness.mean())
        x_pulls[x_rows] += x_nearness - x_nearness.mean()
        y_pulls[y_rows] += y_nearness - y_nearness.mean()
    weight = 2 / (size * subsets)
    return KernelDistance(float(np.mean(values)), x_pulls * (weight * len(x)), y_pulls * (weight * len(y)))


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
    """Each image's mean kernel with the others."""
    k = _kernel(x, x)
    np.fill_diagonal(k, 0)
    means: NDArray[np.float64] = k.sum(axis=1) / (len(x) - 1)
    return means
