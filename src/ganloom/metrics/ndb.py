"""Statistically different bins (NDB, Richardson & Weiss 2018): kinds of images that come too rarely or too often."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import Z, influence_interval
from ganloom.metrics.moments import checked

__all__ = [
    "BINS",
    "GIVES",
    "LEAST",
    "NEEDS",
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
IMAGES_A_BIN = 10  # real ones, on average: with fewer the test knows nothing
LEAST = 10 * IMAGES_A_BIN
GIVES = ("ndb", "ndb_js")
STEPS = 50


class Bins(NamedTuple):
    """How many images fell into each bin; none is empty of real ones."""

    real: NDArray[np.int64]  # [K]
    fake: NDArray[np.int64]  # [K]


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`ndb`, the share of bins that are different, and `ndb_js`, the divergence of their shares of images.

    Other images of the same distribution have an `ndb` of about 0.04, and more images find smaller differences.
    `ndb` counts, so it has no interval.
    """
    real = comparison.real.features
    bins = sort_into_bins(real, comparison.fake.features, centres_of(real, BINS, comparison.seed))
    return {"ndb": Estimate(float(different(bins).mean())), "ndb_js": divergence(bins)}


def centres_of(
    real: NDArray[np.floating[Any]],  # [N, D]
    most: int,
    seed: int,
) -> NDArray[np.float64]:  # [K, D]
    """Of bins, the cells of k-means of the real images: at most so many, and at most one per ten images.

    Raises `DataError` if a feature is not finite.
    """
    return kmeans(checked(real), min(most, max(len(real) // IMAGES_A_BIN, 1)), seed)


def sort_into_bins(
    real: NDArray[np.floating[Any]],  # [N, D]
    fake: NDArray[np.floating[Any]],  # [M, D]
    centres: NDArray[np.float64],  # [K, D]
) -> Bins:
    """Raises `DataError` if a feature is not finite."""
    x, y = checked(real), checked(fake)
    x_counts, y_counts = (np.bincount(_nearest(rows, centres), minlength=len(centres)) for rows in (x, y))
    return Bins(x_counts[x_counts > 0], y_counts[x_counts > 0])


def different(
    bins: Bins,
) -> NDArray[np.bool_]:  # [K]
    """Whether the two shares of a bin differ, by the two-proportion test at 5 %."""
    # |p - q| > z sqrt(P (1 - P) (1/n + 1/m)), P the share in both sets together
    n, m = bins.real.sum(), bins.fake.sum()
    pooled = (bins.real + bins.fake) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    apart: NDArray[np.bool_] = np.abs(bins.real / n - bins.fake / m) > Z * error
    return apart


def divergence(bins: Bins) -> Estimate:
    """Jensen-Shannon divergence of the shares in nats, from 0 to ln 2; the interval takes the bins as given."""
    # KL(p || M)/2 + KL(q || M)/2, M = (p + q)/2: means over the images of their bin's log ratio, their influence
    p, q = bins.real / bins.real.sum(), bins.fake / bins.fake.sum()
    with np.errstate(divide="ignore"):  # log 0 in bins without generated images, of which no image asks
        x = np.repeat(np.log(2 * p / (p + q)) / 2, bins.real)
        y = np.repeat(np.log(2 * q / (p + q)) / 2, bins.fake)
    return influence_interval(float(x.mean() + y.mean()), x, y, least=0.0)


def kmeans(
    x: NDArray[np.float64],  # [N, D]
    count: int,
    seed: int,
) -> NDArray[np.float64]:  # [K, D], K = count unless fewer rows differ
    """Centres by Lloyd's algorithm from the seeds of k-means++ (Arthur & Vassilvitskii 2007)."""
    rng = np.random.default_rng(seed)
    norms = np.square(x).sum(axis=1)
    centres = x[rng.integers(len(x), size=1)]
    squared = np.full(len(x), np.inf)
    for _ in range(count - 1):
        squared = np.minimum(squared, norms - 2 * x @ centres[-1] + np.square(centres[-1]).sum()).clip(min=0)
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
    x: NDArray[np.float64],  # [N, D]
    centres: NDArray[np.float64],  # [K, D]
) -> NDArray[np.int64]:  # [N]
    nearest: NDArray[np.int64] = (np.square(centres).sum(axis=1) - 2 * x @ centres.T).argmin(axis=1)
    return nearest
