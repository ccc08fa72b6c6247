"""Vendi score (Friedman & Dieng 2023): the effective number of different images in a set."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Estimate, Inputs
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import Moments, checked

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
    real, fake = checked(inputs.real.features), checked(inputs.fake.features)
    mean, W = whitening(real)
    scores = {"vendi": vendi((fake - mean) @ W), "vendi_real": vendi((real - mean) @ W)}
    return {name: influence_interval(*score, minimum=1.0) for name, score in scores.items()}


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
    x = checked(features)
    u = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    # exp H of the eigenvalues w of K/n, which has the same nonzero eigenvalues as C = U'U/n. H is the mean over
    # images of -u' log(C) u, which are therefore the influences on H
    n, d = u.shape
    w, V = np.linalg.eigh(u.T @ u / n if d < n else u @ u.T / n)
    w, V = w[w > NEGLIGIBLE], V[:, w > NEGLIGIBLE]
    entropies = -(np.square(u @ V) @ np.log(w) if d < n else n * np.square(V) @ (w * np.log(w)))
    score = float(np.exp(entropies.mean()))
    return Vendi(score, score * entropies)
