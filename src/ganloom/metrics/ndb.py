"""Number of statistically different bins (NDB, Richardson & Weiss 2018): kinds of images made too rarely or often."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import Z, influence_interval
from ganloom.metrics.moments import BLOCK, checked

__all__ = [
    "BINS",
    "MIN_IMAGES",
    "NEEDS",
    "NUMBERS",
    "Bins",
    "centres_of",
    "different",
    "divergence",
    "kmeans",
    "measure",
    "sort_into_bins",
]

NEEDS = frozenset({"features"})
BINS = 100
IMAGES_PER_BIN = 10  # real ones, on average: with fewer the test has no power
MIN_IMAGES = 10 * IMAGES_PER_BIN
NUMBERS = ("ndb", "ndb_js")
STEPS = 50  # of k-means, at most


class Bins(NamedTuple):
    """Images per bin; every bin has at least one real image."""

    real: NDArray[np.int64]  # [K]
    fake: NDArray[np.int64]  # [K]


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`ndb`: share of the bins that differ significantly. `ndb_js`: divergence of the shares of images per bin.

    New images of the same distribution have an `ndb` of about 0.04. With more images, smaller differences become
    significant. `ndb` is a count, so it has no interval.
    """
    real = inputs.real.features
    bins = sort_into_bins(real, inputs.fake.features, centres_of(real, BINS, inputs.seed))
    return {"ndb": Estimate(float(different(bins).mean())), "ndb_js": divergence(bins)}


def centres_of(
    real: NDArray[np.floating[Any]],  # [N, D]
    most: int,  # bins
    seed: int,
) -> NDArray[np.float64]:  # [K, D]
    """Centres of the bins, which are the clusters of k-means of the real images: at most one per ten images.

    Raises `DataError` if a feature is not finite.
    """
    return kmeans(checked(real), min(most, max(len(real) // IMAGES_PER_BIN, 1)), seed)


def sort_into_bins(
    real: NDArray[np.floating[Any]],  # [N, D]
    fake: NDArray[np.floating[Any]],  # [M, D]
    centres: NDArray[np.float64],  # [K, D]
) -> Bins:
    """Count the images nearest to each centre. Raises `DataError` if a feature is not finite."""
    x_counts, y_counts = (np.bincount(_nearest(rows, centres), minlength=len(centres)) for rows in (real, fake))
    return Bins(x_counts[x_counts > 0], y_counts[x_counts > 0])


def different(
    bins: Bins,
) -> NDArray[np.bool_]:  # [K]
    """Whether the two shares of a bin differ significantly: the two-proportion test at 5 %."""
    # |p - q| > z sqrt(P (1 - P) (1/n + 1/m)), P the share in both sets together
    n, m = bins.real.sum(), bins.fake.sum()
    pooled = (bins.real + bins.fake) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    apart: NDArray[np.bool_] = np.abs(bins.real / n - bins.fake / m) > Z * error
    return apart


def divergence(bins: Bins) -> Estimate:
    """Jensen-Shannon divergence of the shares in nats, from 0 to ln 2; for the interval the bins are fixed."""
    # KL(p || M)/2 + KL(q || M)/2, M = (p + q)/2: means over images of the log ratio of their bin, their influence
    p, q = bins.real / bins.real.sum(), bins.fake / bins.fake.sum()
    with np.errstate(divide="ignore"):  # log 0 in bins without generated images, which no image uses
        x = np.repeat(np.log(2 * p / (p + q)) / 2, bins.real)
        y = np.repeat(np.log(2 * q / (p + q)) / 2, bins.fake)
    return influence_interval(float(x.mean() + y.mean()), x, y, minimum=0.0)


def kmeans(
    x: NDArray[np.float64],  # [N, D]
    count: int,
    seed: int,
) -> NDArray[np.float64]:  # [K, D], K = count unless there are fewer distinct rows
    """Cluster centres by Lloyd's algorithm, initialised by k-means++ (Arthur & Vassilvitskii 2007)."""
    rng = np.random.default_rng(seed)
    norms = np.concatenate(list(Blocks(BLOCK).over(len(x), lambda rows: np.square(x[rows]).sum(axis=1))))
    centres = x[rng.integers(len(x), size=1)]
    squared = np.full(len(x), np.inf)
    for _ in range(count - 1):
        squared = np.minimum(squared, norms - x @ (2 * centres[-1]) + np.square(centres[-1]).sum()).clip(min=0)
        if not squared.any():
            break
        centres = np.vstack([centres, x[rng.choice(len(x), p=squared / squared.sum())]])
    bins = _nearest(x, centres)
    for _ in range(STEPS):
        for k in np.unique(bins):
            centres[k] = x[bins == k].mean(axis=0)
        before, bins = bins, _nearest(x, centres)
        if np.array_equal(before, bins):
            break
    return centres


def _nearest(
    x: NDArray[np.floating[Any]],  # [N, D]
    centres: NDArray[np.float64],  # [K, D]
) -> NDArray[np.int64]:  # [N]
    norms, doubled = np.square(centres).sum(axis=1), 2 * centres.T
    blocks = Blocks(BLOCK).over(len(x), lambda rows: (norms - checked(x[rows]) @ doubled).argmin(axis=1))
    return np.concatenate(list(blocks))
