"""Vendi score (Friedman & Dieng 2023): how many different images a set seems to hold."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganloom.metrics.contract import Comparison, Estimate
from ganloom.metrics.intervals import influence_interval
from ganloom.metrics.moments import Moments, checked

__all__ = ["GIVES", "LEAST", "NEEDS", "Vendi", "measure", "vendi", "whitening"]

NEEDS = frozenset({"features"})
LEAST = 50  # n images score n at most
GIVES = ("vendi", "vendi_real")
RIDGE = 0.005  # of the variances' sum, added to each
NEGLIGIBLE = 1e-12  # eigenvalues sum to 1


class Vendi(NamedTuple):
    """The score, and how much each image pulls it."""

    value: float
    influences: NDArray[np.float64]  # [N]


def measure(comparison: Comparison) -> dict[str, Estimate]:
    """`vendi` of the generated images, and beside it `vendi_real`: only the two together say something.

    Features of neural networks are rarely negative, so all their cosines are near one, and so is the plain score,
    whether the images are of ten classes or of one. Both sets are therefore whitened first, by the real images'
    moments. The score grows with n. The intervals take the whitening as given: what the choice of real images adds to
    them, about a third, is not in them.
    """
    real, fake = checked(comparison.real.features), checked(comparison.fake.features)
    mean, W = whitening(real)
    scores = {"vendi": vendi((fake - mean) @ W), "vendi_real": vendi((real - mean) @ W)}
    return {name: influence_interval(*score, least=1.0) for name, score in scores.items()}


def whitening(
    real: NDArray[np.floating[Any]],  # [N, D]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # [D] to subtract, then [D, D] to multiply with
    """Makes the real images' features nearly uncorrelated, of nearly equal variance.

    The ridge keeps directions small that only a few images decide: without it, held-out images would seem less diverse.
    """
    moments = Moments.of(real)
    w, V = np.linalg.eigh(moments.covariance)
    return moments.mean, V / np.sqrt(np.maximum(w, 0) + RIDGE * w.sum() + np.finfo(np.float64).tiny)


def vendi(
    features: NDArray[np.floating[Any]],  # [N, D]
) -> Vendi:
    """The score for cosine similarity. Raises `DataError` if a feature is not finite."""
    x = checked(features)
    u = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    # exp H of the eigenvalues w of K/n, which those of C = U'U/n are too. H is the mean over images of
    # -u' log(C) u: these are the influences on H
    n, d = u.shape
    w, V = np.linalg.eigh(u.T @ u / n if d < n else u @ u.T / n)
    w, V = w[w > NEGLIGIBLE], V[:, w > NEGLIGIBLE]
    entropies = -(np.square(u @ V) @ np.log(w) if d < n else n * np.square(V) @ (w * np.log(w)))
    score = float(np.exp(entropies.mean()))
    return Vendi(score, score * entropies)
