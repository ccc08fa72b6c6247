"""Vendi score (Friedman & Dieng 2023): the effective number of different images in a set."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.core.memory import Blocks
from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import BLOCK, Moments, checked

__all__ = ["MIN_IMAGES", "NEEDS", "NUMBERS", "Vendi", "measure", "vendi", "whitening"]

NEEDS = frozenset({"features"})
MIN_IMAGES = 50  # the score of n images is at most n
NUMBERS = ("vendi", "vendi_real")
RIDGE = 0.005  # share of the sum of the variances that is added to each variance
NEGLIGIBLE = 1e-12  # smaller eigenvalues are rounding errors; all eigenvalues sum to 1


class Vendi(NamedTuple):
    """The score, and the influence of each image on it."""

    value: float
    influences: NDArray[np.float64]  # [N]


def measure(inputs: Inputs) -> dict[str, Estimate]:
    """`vendi` of the generated images and `vendi_real` of the real ones; only their comparison is meaningful.

    Features of neural networks are rarely negative. So all their cosines are near one, and so is the score of the plain
    features, whether the images show ten classes or one. Both sets are therefore whitened first, with the moments of
    the real images. The score grows with n. For the intervals the whitening is fixed; with its dependence on the choice
    of real images they would be about a third wider.
    """
    real, fake = inputs.real.features, inputs.fake.features
    mean, W = whitening(real)
    scores = {}
    for name, features in (("vendi", fake), ("vendi_real", real)):
        whitened = _by_blocks(lambda rows: (checked(rows) - mean) @ W, features)
        scores[name] = influence_interval(*vendi(whitened), minimum=1.0)
    return scores


def whitening(
    real: NDArray[np.floating[Any]],  # [N, D]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [D] to subtract, then [D, D] to multiply by
    """The transform that makes the features of the real images nearly uncorrelated, with nearly equal variance.

    The ridge limits directions that depend on a few images: without it, held-out images would seem less diverse.
    """
    moments = Moments.of(real)
    w, V = np.linalg.eigh(moments.covariance)
    return moments.mean, V / np.sqrt(np.maximum(w, 0) + RIDGE * w.sum() + np.finfo(np.float64).tiny)


def vendi(
    features: NDArray[np.floating[Any]],  # [N, D]
) -> Vendi:
    """The Vendi score with cosine similarity. Raises `DataError` if a feature is not finite."""
    u = _by_blocks(_normalised, features)
    # exp H of the eigenvalues w of K/n, which has the same nonzero eigenvalues as C = U'U/n. H is the mean over
    # images of -u' log(C) u, which are therefore the influences on H
    n, d = u.shape
    w, V = np.linalg.eigh(u.T @ u / n if d < n else u @ u.T / n)
    w, V = w[w > NEGLIGIBLE], V[:, w > NEGLIGIBLE]
    if d < n:
        entropies = _by_blocks(lambda rows: -np.square(rows @ V) @ np.log(w), u)
    else:
        entropies = -n * np.square(V) @ (w * np.log(w))
    score = float(np.exp(entropies.mean()))
    return Vendi(score, score * entropies)


def _normalised(rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:  # [N, D], of unit length
    x = checked(rows)
    found: NDArray[np.float64] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return found


def _by_blocks(
    work: Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]], rows: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """What `work` makes of the rows, a block of them at a time."""
    return np.concatenate(list(Blocks(BLOCK).over(len(rows), lambda block: work(rows[block]))))
